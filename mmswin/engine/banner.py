"""A few lines at the start of training: what will train on what, and what about it may surprise."""

from itertools import chain
from typing import Any

import mmengine
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim.scheduler.param_scheduler import INF
from mmengine.runner import Runner
from torch import nn

import mmswin
from mmswin.checkpoints.loading import is_pretrained
from mmswin.data.config_facts import dicts_in, short_name
from mmswin.engine.configure import SYNC_NORMS
from mmswin.engine.saving import unwrapped
from mmswin.errors import printable
from mmswin.registry import HOOKS


@HOOKS.register_module()
class RunBannerHook(Hook):
    """Logs the banner before the first iteration, and a warning for each thing that makes the run another than the
    configuration's recipe: another batch size at the same learning rate, pretrained weights that are missing.

    The tool sets ``precision``, what it settled on, and ``notes``, more lines.
    """

    # After checkpoints are loaded and before the first line of the training log.
    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.precision: str | None = None
        self.notes: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Log the banner."""
        warnings: list[str] = []
        rows = [
            ('model', _model_row(runner)),
            ('data', _data_row(runner)),
            ('device', _device_row(runner)),
            ('batch', _batch_row(runner, warnings)),
            ('precision', self.precision or f'that of {type(runner.optim_wrapper).__name__}'),
            ('norm', _norm_row(runner)),
            ('pretrained', _pretrained_row(runner, warnings)),
            ('schedule', _schedule_row(runner, warnings)),
            ('results', runner.work_dir),
        ]
        versions = f'mmswin {mmswin.__version__}, mmengine {mmengine.__version__}, torch {torch.__version__}'
        rows += [('note', note) for note in self.notes]
        lines = [f'{name:<11}{printable(text, 4000)}' for name, text in rows if text]
        runner.logger.info('\n'.join([f'This run ({versions})', *(f'  {line}' for line in lines)]))
        for warning in warnings:
            runner.logger.warning(printable(warning, 4000))


def _model_cfg(runner: Runner) -> dict:
    """The model's config; empty for a Runner that was given a built model."""
    cfg = runner.cfg.get('model')
    return cfg if isinstance(cfg, dict) else {}


def _model_row(runner: Runner) -> str:
    model = unwrapped(runner.model)
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    backbone = getattr(model, 'backbone', None)
    name = type(model).__name__
    if backbone is not None:
        name += f', backbone {_backbone_name(runner, backbone)}'
    frozen = f', {(total - trainable) / 1e6:.1f} M of them frozen' if trainable < total else ''
    return f'{name}, {total / 1e6:.1f} M parameters{frozen}'


def _backbone_name(runner: Runner, backbone: nn.Module) -> str:
    cfg = _model_cfg(runner).get('backbone') or {}
    kind, arch = cfg.get('type', type(backbone)), cfg.get('arch')
    named = isinstance(arch, str) and not cfg.get('embed_dims') and not cfg.get('depths')
    return f'{kind if isinstance(kind, str) else kind.__name__}{f" ({arch})" if named else ""}'


def _data_row(runner: Runner) -> str:
    dataset = runner.train_dataloader.dataset
    inner = dataset
    while hasattr(inner, 'dataset'):
        inner = inner.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    repeated = f' (with repeats, from {len(inner)})' if len(inner) != len(dataset) else ''
    text = f'{type(inner).__name__}: {len(dataset)} images{repeated}'
    return f'{text}, {len(classes)} classes' if classes else text


def _device_row(runner: Runner) -> str:
    device = next(unwrapped(runner.model).parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type.upper()
    world = get_world_size()
    return f'{name}, {world} process{"es" if world > 1 else ""}'


def _batch_row(runner: Runner, warnings: list[str]) -> str:
    loader, world = runner.train_dataloader, get_world_size()
    batch = loader.batch_size or loader.batch_sampler.batch_size
    batch = sum(batch) if isinstance(batch, (list, tuple)) else batch  # one for each of several data sets
    accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    images = world * batch * accumulated
    factors = f'{world} x {batch}' + (f' x {accumulated} accumulated' if accumulated > 1 else '')
    text = f'{factors} = {images} image{"s" if images > 1 else ""}'
    optimizer = (runner.cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    scaling = runner.cfg.get('auto_scale_lr') or {}
    lr, base = optimizer.get('lr'), scaling.get('base_batch_size')
    if lr is None:
        return text
    if not base:
        return f'{text} at learning rate {lr:g}'
    if scaling.get('enable'):
        # mmengine scales by the images of one iteration, whether gradients are accumulated or not.
        scaled = lr * world * batch / base
        if accumulated > 1:
            warnings.append(
                f'auto_scale_lr does not count accumulated gradients: the learning rate is {scaled:g}, '
                f'in proportion to {images} images it would be {lr * images / base:g}.'
            )
        return f'{text}, learning rate {scaled:g} (auto_scale_lr: {lr:g} x {world * batch} / {base})'
    if images != base:
        warnings.append(
            f'The learning rate {lr:g} of this config is for {base} images per step; this run takes '
            f'{images} and does not scale it. In proportion it would be {lr * images / base:g}: '
            'add --auto-scale-lr, or set optim_wrapper.optimizer.lr.'
        )
    return f'{text} at learning rate {lr:g}, which is for {base}'


def _norm_row(runner: Runner) -> str:
    layers = [m for m in unwrapped(runner.model).modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return ''
    synchronised = sum('Sync' in type(layer).__name__ for layer in layers)
    types = {short_name(node.get('type')) for node in dicts_in(_model_cfg(runner))}
    in_config = runner.cfg.get('sync_bn') or not types.isdisjoint(SYNC_NORMS)
    text = f'{synchronised} SyncBN, ' * bool(synchronised) + f'{len(layers) - synchronised} BN layers'
    if in_config and not synchronised:
        text += ' (the config has SyncBN; in one process that is BN)'
    return text


def _pretrained_row(runner: Runner, warnings: list[str]) -> str:
    if runner.cfg.get('resume') and runner.iter > 0:
        return "none needed: the weights are the checkpoint's"
    backbone = getattr(unwrapped(runner.model), 'backbone', None)
    nodes = dicts_in(_model_cfg(runner).get('backbone') or {})
    named = [node.get('checkpoint') for node in nodes if is_pretrained(node.get('type'))]
    report: Any = getattr(backbone, 'load_report', None)
    if report is not None:
        return report.summary()
    if runner.cfg.get('load_from'):
        return f'from {runner.cfg.load_from}'
    if not named:
        return 'none: the backbone starts from random weights'
    if hasattr(backbone, 'load_report'):
        warnings.append(
            f'The config names the pretrained weights {named[0]}, but the backbone has loaded none: it '
            'starts from random weights.'
        )
        return 'none'
    return f'{named[0]} (this backbone does not report what it loaded)'


def _schedule_row(runner: Runner, warnings: list[str]) -> str:
    by_epoch = runner.train_loop._max_epochs > 1 or hasattr(runner.train_loop, 'run_epoch')
    length = f'{runner.max_iters} iterations' + (f' in {runner.max_epochs} epochs' if by_epoch else '')
    if runner.iter > 0:
        length += f', resumed after iteration {runner.iter}'
    given = runner.param_schedulers
    for scheduler in chain.from_iterable(given.values()) if isinstance(given, dict) else given or ():
        end, last, unit = scheduler.end, runner.max_iters, 'iteration'
        if scheduler.by_epoch:
            last, unit = runner.max_epochs, 'epoch'
        if last < end < INF:
            warnings.append(
                f'{type(scheduler).__name__} of param_scheduler goes on to {unit} {end}, and the run ends with {unit} {last}: '
                'what it sets stays where it is then. For a shorter run set its end (and T_max), too.'
            )
    return length
