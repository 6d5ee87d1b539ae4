"""Optimizer, mixed precision, learning rate and length of the training."""

from typing import Any

from mmswin.upgrade.findings import Section

_OPTIMIZER_HOOKS = (
    None, 'OptimizerHook', 'DistOptimizerHook', 'Fp16OptimizerHook', 'GradientCumulativeOptimizerHook',
    'GradientCumulativeFp16OptimizerHook',
)  # fmt: skip
# Words of the old `lr_config`, next to those of a policy.
_WARM_UPS = {'linear': ('LinearLR', 'start_factor'), 'constant': ('ConstantLR', 'factor')}


def upgrade_optimizer(old: Section) -> dict[str, Any]:
    """``optim_wrapper`` from ``optimizer``, ``optimizer_config`` and ``fp16``."""
    report = old.report
    optimizer = old.section('optimizer')
    hook = old.section('optimizer_config')
    paramwise, constructor = optimizer.take('paramwise_cfg'), optimizer.take('constructor')
    plain = constructor in (None, 'DefaultOptimizerConstructor')
    if 'type' not in optimizer:
        report.failed(
            'optimizer', dict(optimizer), 'it names no type, and no run is without; set optim_wrapper.optimizer'
        )
    new: dict[str, Any] = {
        **_precision(old, hook),
        'constructor': 'mmswin.OptimWrapperConstructor' if plain else constructor,
        'optimizer': dict(optimizer),
    }
    steps = hook.take('update_interval') or hook.take('cumulative_iters') or 1
    options = {
        'paramwise_cfg': paramwise,
        'clip_grad': hook.take('grad_clip'),
        'accumulative_counts': None if steps == 1 else steps,
    }
    new |= {name: value for name, value in options.items() if value}
    if hook.get('type') not in _OPTIMIZER_HOOKS:
        hook.fail('type', 'not known what it does; see OptimWrapper of mmengine')
    hook.drop('type', 'coalesce', 'bucket_size_mb', 'distributed', 'detect_anomalous_params')  # DDP sees to them
    hook.close('no option of the new optimizer wrapper; see OptimWrapper of mmengine')
    report.done(
        'optimizer, optimizer_config -> optim_wrapper' + (', paramwise_cfg next to the optimizer' if paramwise else '')
    )
    return new


def _precision(old: Section, hook: Section) -> dict[str, Any]:
    """The type of ``optim_wrapper`` and its scaling of the loss. Apex by the authors' hook, or mmcv's own fp16."""
    fp16, apex = old.take('fp16'), hook.take('use_fp16', False)
    if str(hook.get('type')).endswith('Fp16OptimizerHook'):
        if fp16:
            old.report.failed('fp16', fp16, 'optimizer_config has the loss scale; set optim_wrapper.loss_scale')
        fp16 = {'loss_scale': hook.take('loss_scale', 512.0)}
    if apex:
        old.report.done('mixed precision by apex -> AmpOptimWrapper of torch')
        return {'type': 'AmpOptimWrapper'}
    if not isinstance(fp16, dict):
        return {'type': 'OptimWrapper'}
    options = Section(fp16, 'fp16', old.report)
    scale = options.take('loss_scale', 512.0)
    options.close('no option of AmpOptimWrapper; leave it out, or set loss_scale')
    old.report.done('fp16 -> AmpOptimWrapper')
    return {'type': 'AmpOptimWrapper'} | ({} if scale == 'dynamic' else {'loss_scale': scale})


def upgrade_length(old: Section) -> tuple[str, int]:
    """Unit (``'epochs'`` or ``'iters'``) and length of the training, from ``runner`` or ``total_epochs``."""
    runner = old.section('runner')
    name = runner.take('type') or ''
    epochs = runner.take('max_epochs') or old.take('total_epochs')
    iterations = runner.take('max_iters') or old.take('total_iters')
    old.drop('total_epochs', 'total_iters')
    runner.drop('meta')
    runner.close(f'no option of the new training loop ({name}); see the loops of mmengine')
    if (epochs is None) == (iterations is None):
        said = {'type': name, 'max_epochs': epochs, 'max_iters': iterations}
        old.report.failed(
            'runner', said, 'it does not say how long to train; the new file trains 12 epochs: set train_cfg'
        )
        epochs, iterations = 12, None
    if name.endswith('Amp'):
        old.report.done(f'runner {name} (apex) -> the usual loop')
    return ('epochs', epochs) if iterations is None else ('iters', iterations)


def upgrade_loop(unit: str, length: int, evaluation: Section) -> dict[str, Any]:
    """``train_cfg``; the interval and start of validation come from ``evaluation``."""
    loop = 'EpochBasedTrainLoop' if unit == 'epochs' else 'IterBasedTrainLoop'
    interval, start = evaluation.take('interval', 1), evaluation.take('start')
    if evaluation.get('by_epoch') not in (None, unit == 'epochs'):
        evaluation.fail('by_epoch', f'validation counts what training counts, {unit}; set train_cfg.val_interval')
    evaluation.drop('by_epoch')
    new = {'type': loop, f'max_{unit}': length, 'val_interval': interval}
    if start is not None:
        new['val_begin'] = start
    evaluation.report.done('runner, evaluation.interval -> train_cfg')
    return new


def upgrade_learning_rate(old: Section, unit: str, length: int) -> list[dict[str, Any]]:
    """``param_scheduler`` from ``lr_config``: a warm-up, if any, and the policy."""
    rates = old.section('lr_config')
    old.report.done('lr_config -> param_scheduler')
    warm_up = _warm_up(rates)
    end = warm_up[0]['end'] if warm_up and not warm_up[0]['by_epoch'] else 0
    policy = str(rates.take('policy', 'fixed'))
    by_epoch = rates.take('by_epoch', unit == 'epochs')
    if by_epoch and unit == 'iters':
        old.report.failed('lr_config.by_epoch', True, 'the run is counted in iterations; set by_epoch=False')
    # Counted in epochs, followed in every iteration.
    spread = unit == 'epochs' and not by_epoch and policy.lower() in ('poly', 'cosineannealing')
    by_epoch = by_epoch or spread
    new = _policy(rates, policy.lower(), by_epoch, length, 0 if by_epoch else end)
    if new is None:
        why = 'no translation; write a scheduler of mmengine into param_scheduler, until then the rate is constant'
        old.report.failed('lr_config', {'policy': policy, **rates}, why)
        return warm_up
    new = [{**one, 'convert_to_iter_based': True} for one in new] if spread else new
    rates.close(f'no translation for it with the policy {policy!r}; adjust param_scheduler')
    if new and policy.lower() in ('poly', 'cosineannealing') and end:
        old.report.remark(
            f'the {policy} decay starts when the warm-up ends, as in all files for mmdet 3.x and mmseg '
            f'1.x; it used to run from iteration 0, at most {end / max(length, 1):.1%} of the rate lower'
            if not by_epoch
            else f'the {policy} decay runs from the first epoch, during the warm-up too, as it did'
        )
    return warm_up + new


def _warm_up(rates: Section) -> list[dict[str, Any]]:
    kind, length = rates.take('warmup'), rates.take('warmup_iters', 0)
    ratio, by_epoch = rates.take('warmup_ratio', 0.1), rates.take('warmup_by_epoch', False)
    if kind is None or not length:
        return []
    if kind not in _WARM_UPS:
        why = f'mmengine has no such warm-up, only {" and ".join(_WARM_UPS)}; this file warms up linearly'
        rates.report.failed(rates.key('warmup'), kind, why)
    scheduler, factor = _WARM_UPS.get(kind, _WARM_UPS['linear'])
    new = {'type': scheduler, factor: ratio, 'by_epoch': by_epoch, 'begin': 0, 'end': length}
    return [{**new, 'convert_to_iter_based': kind != 'constant'} if by_epoch else new]


def _policy(rates: Section, policy: str, by_epoch: bool, length: int, begin: int) -> list[dict[str, Any]] | None:
    """Schedulers of a policy in the words of mmcv 1, or None if there is no counterpart."""
    if policy == 'fixed':
        return []
    if policy == 'step':
        steps, gamma = rates.take('step'), rates.take('gamma', 0.1)
        if isinstance(steps, int):
            return [{'type': 'StepLR', 'by_epoch': by_epoch, 'step_size': steps, 'gamma': gamma}]
        return [{'type': 'MultiStepLR', 'by_epoch': by_epoch, 'milestones': list(steps), 'gamma': gamma}]
    span = {'by_epoch': by_epoch, 'begin': begin, 'end': length}
    if policy == 'poly':
        return [{'type': 'PolyLR', 'power': rates.take('power', 1.0), 'eta_min': rates.take('min_lr', 0.0), **span}]
    if policy == 'cosineannealing':
        ratio, rate = rates.take('min_lr_ratio'), rates.take('min_lr') or 0.0
        lowest = {'eta_min': rate} if ratio is None else {'eta_min_ratio': ratio}
        return [{'type': 'CosineAnnealingLR', 'T_max': length - begin, **lowest, **span}]
    if policy == 'exp':
        return [{'type': 'ExponentialLR', 'gamma': rates.take('gamma'), 'by_epoch': by_epoch}]
    return None
