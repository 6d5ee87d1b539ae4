"""Hooks, logging, environment, and where weights come from."""

from typing import Any

from mmswin.engine.types import resolve_type
from mmswin.upgrade.findings import Section

_BACKENDS = {
    'TensorboardLoggerHook': 'TensorboardVisBackend',
    'WandbLoggerHook': 'WandbVisBackend',
    'MMDetWandbHook': 'WandbVisBackend',
    'MMSegWandbHook': 'WandbVisBackend',
    'MlflowLoggerHook': 'MLflowVisBackend',
    'ClearMLLoggerHook': 'ClearMLVisBackend',
    'NeptuneLoggerHook': 'NeptuneVisBackend',
    'DvcliveLoggerHook': 'DVCLiveVisBackend',
}
_OWN_HOOKS = ('mmswin.RunBannerHook', 'mmswin.NonFiniteLossHook')
# At the top in both.
_KEPT = ('find_unused_parameters', 'work_dir', 'custom_imports')
_WORKFLOW = [('train', 1)]
_BY_EPOCH = {'type': 'LogProcessor', 'window_size': 50, 'by_epoch': True}


def upgrade_runtime(
    old: Section, scope: str, unit: str, evaluation: Section, evaluator: dict[str, Any] | None
) -> dict[str, Any]:
    """Everything of the new configuration that is neither model, data nor schedule."""
    # Figures have the name of their metric in front now, where it has one (coco, lvis, pascal_voc).
    metrics = resolve_type(evaluator['type'], scope) if evaluator else []
    prefix = ''.join(f'{metric.default_prefix}/' for metric in metrics if getattr(metric, 'default_prefix', None))
    iterations = unit == 'iters'
    kind = 'Det' if scope == 'mmdet' else 'Seg'
    interval, backends = _logging(old)
    logger = {'type': 'LoggerHook', 'interval': interval}
    processes = old.section('dist_params')
    load, resume = old.take('load_from'), old.take('resume_from')
    new: dict[str, Any] = {
        'default_hooks': {
            'timer': {'type': 'IterTimerHook'},
            'logger': {**logger, 'log_metric_by_epoch': False} if iterations else logger,
            'param_scheduler': {'type': 'ParamSchedulerHook'},
            'checkpoint': _checkpoints(old, iterations, evaluation, prefix),
            'sampler_seed': {'type': 'DistSamplerSeedHook'},
            'visualization': {'type': f'{kind}VisualizationHook'},
        },
        'custom_hooks': [{'type': name} for name in _OWN_HOOKS] + _custom_hooks(old),
        'env_cfg': {
            'cudnn_benchmark': old.take('cudnn_benchmark', False),
            'mp_cfg': {
                'mp_start_method': old.take('mp_start_method', 'fork'),
                'opencv_num_threads': old.take('opencv_num_threads', 0),
            },
            'dist_cfg': {'backend': processes.take('backend', 'nccl'), **processes},
        },
        'vis_backends': backends,
        'visualizer': {'type': f'{kind}LocalVisualizer', 'vis_backends': backends, 'name': 'visualizer'},
        'log_processor': {'by_epoch': False} if iterations else {**_BY_EPOCH},
        'log_level': old.take('log_level', 'INFO'),
        'load_from': resume or load,
        'resume': bool(old.take('auto_resume', False)),
    }
    old.report.done('dist_params, cudnn_benchmark -> env_cfg')
    if resume:
        why = 'a run of the old libraries cannot go on here; load_from names the file now: a new run starts from its weights'
        old.report.failed('resume_from', resume, why)
    new |= {name: old[name] for name in _KEPT if old.get(name) is not None}
    if 'custom_imports' in new:
        why = 'these modules are written for the old libraries; bring them up to mmengine, or leave the line out'
        old.report.failed('custom_imports', new['custom_imports'], why)
    if [tuple(part) for part in old.get('workflow') or _WORKFLOW] != _WORKFLOW:
        why = 'validation is set in train_cfg and val_cfg now; the loss on its set is no longer computed in between'
        old.fail('workflow', why)
    if old.get('seed') is not None:
        old.fail('seed', f'a seed is given to a run; call mmswin train with --seed {old["seed"]}')
    old.drop(*_KEPT, 'workflow', 'seed', 'gpus', 'gpu_ids', 'device')
    return new


def _logging(old: Section) -> tuple[int, list[dict[str, Any]]]:
    """Interval of the log lines, and where the curves go."""
    log = old.section('log_config')
    interval = log.take('interval', 50)
    backends: list[dict[str, Any]] = [{'type': 'LocalVisBackend'}]
    for index, hook in enumerate(log.take('hooks') or []):
        name = hook['type']
        if name in _BACKENDS:
            options = {key: hook[key] for key in ('init_kwargs', 'log_dir', 'save_dir') if key in hook}
            if 'log_dir' in options:
                options['save_dir'] = options.pop('log_dir')
            backends.append({'type': _BACKENDS[name], **options})
            old.report.done(f'{name} -> {_BACKENDS[name]}')
        elif name != 'TextLoggerHook':
            old.report.failed(f'log_config.hooks.{index}', name, 'no counterpart; add a backend to vis_backends')
            continue
        for key in hook.keys() - {'type', 'by_epoch', 'init_kwargs', 'log_dir', 'save_dir'}:
            why = 'no option of the new logger; see LoggerHook and LogProcessor of mmengine'
            old.report.failed(f'log_config.hooks.{index}.{key}', hook[key], why)
    log.close('no translation for it; see LoggerHook of mmengine')
    old.report.done('log_config -> default_hooks.logger, vis_backends')
    return interval, backends


def _checkpoints(old: Section, iterations: bool, evaluation: Section, prefix: str) -> dict[str, Any]:
    config = old.section('checkpoint_config')
    new: dict[str, Any] = {'type': 'CheckpointHook', 'interval': config.take('interval', 1)}
    if not config.take('by_epoch', not iterations):
        new['by_epoch'] = False
    config.drop('meta', 'create_symlink')
    new |= config
    best, rule = evaluation.take('save_best'), evaluation.take('rule')
    if best is not None:
        new['save_best'] = best if best == 'auto' else prefix + best
        old.report.done('evaluation.save_best -> default_hooks.checkpoint')
    if rule is not None:
        new['rule'] = rule
    old.report.done('checkpoint_config -> default_hooks.checkpoint')
    return new


def _custom_hooks(old: Section) -> list[dict[str, Any]]:
    kept = []
    for hook in map(dict, old.take('custom_hooks') or []):
        if hook.get('type') == 'NumClassCheckHook':
            old.report.done('NumClassCheckHook: left out, mmswin train checks classes before a run')
            continue
        if hook.get('type') == 'ExpMomentumEMAHook':
            hook.update(type='EMAHook', ema_type='ExpMomentumEMA', update_buffers=not hook.pop('skip_buffers', False))
            if 'total_iter' in hook:
                hook['gamma'] = hook.pop('total_iter')
            old.report.done('ExpMomentumEMAHook -> EMAHook, total_iter -> gamma, skip_buffers -> update_buffers')
        kept.append(hook)
    return kept
