"""``strategy`` in a config: what the processes of a run share instead of each holding all of it.

=======  ==================================================  ============================================
kind     shared among the processes                          by
=======  ==================================================  ============================================
'ddp'    nothing (as without a ``strategy``)                 mmengine's ``MMDistributedDataParallel``
'zero'   the optimizer's state                               mmengine's ``ZeroRedundancyOptimizer``
'fsdp'   parameters, gradients and the optimizer's state,    torch's ``fully_shard``, one unit for each block
         gathered block by block while they are needed
=======  ==================================================  ============================================

Checkpoints are the same files in all three: any of them resumes a run of another, with other numbers of processes too.
Here is what concerns the config; :mod:`mmswin.engine.sharding` does it.
"""

from dataclasses import dataclass

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmswin.data.config_facts import dicts_in, short_name
from mmswin.engine.types import resolve_type
from mmswin.errors import RunError

KINDS = ('ddp', 'zero', 'fsdp')
ZERO = 'ZeroRedundancyOptimizer'
_NAMES = ('type', 'wrap')


@dataclass(frozen=True)
class Strategy:
    """What a config asks for: a kind, and the classes of which each module is a unit of 'fsdp', as is the rest."""

    kind: str = 'ddp'
    wrap: tuple[str, ...] = ('SwinBlock',)


def strategy_of(cfg: Config) -> Strategy:
    """Read ``cfg.strategy``: absent, a kind, or ``dict(type=KIND, wrap=[NAMES OF CLASSES])``.

    Raises:
        RunError: Another kind or another entry.
    """
    given = cfg.get('strategy') or {}
    given = {'type': given} if isinstance(given, str) else dict(given)
    kind, wrap = given.get('type', 'ddp'), given.get('wrap', Strategy.wrap)
    if kind not in KINDS:
        raise RunError(
            f"strategy is {kind!r}; known are {', '.join(KINDS)}. (The strategies of mmengine's "
            "FlexibleRunner are other things: what is saved and resumed here needs mmswin's Runner)"
        )
    unknown = [name for name in given if name not in _NAMES]
    if unknown:
        raise RunError(f'strategy has no entry {unknown[0]!r}; it has: {", ".join(_NAMES)}')
    wrap = (wrap,) if isinstance(wrap, str) else tuple(wrap)
    if not wrap or not all(isinstance(name, str) for name in wrap):
        raise RunError(f'strategy.wrap is {list(wrap)}; it takes names of classes, such as ["SwinBlock"]')
    return Strategy(kind, wrap)


def check(cfg: Config) -> None:
    """Refuse a strategy that the rest of the config or this torch rules out, before anything is written.

    Raises:
        RunError: It does.
    """
    strategy = strategy_of(cfg)
    wrapper = (cfg.get('model_wrapper_cfg') or {}).get('type', 'MMDistributedDataParallel')
    if 'FullyShardedDataParallel' in short_name(wrapper):
        raise RunError(
            f"model_wrapper_cfg.type is {wrapper}, the first FSDP of torch: it needs GPUs, and mmengine's "
            'Runner saves from one process, which would wait for ever for the parts of the others. Leave '
            'model_wrapper_cfg out and set strategy.type=fsdp'
        )
    if strategy.kind == 'ddp':
        return
    if 'runner_type' in cfg and not str(cfg.runner_type).startswith('mmswin.'):
        raise RunError(
            f"strategy.type={strategy.kind} needs mmswin's Runner, and runner_type is {cfg.runner_type!r}: "
            'leave runner_type out'
        )
    _check_optimizer(cfg, strategy)
    if strategy.kind == 'fsdp':
        _check_fsdp(cfg)


def _check_optimizer(cfg: Config, strategy: Strategy) -> None:
    optimizer = cfg.optim_wrapper.get('optimizer')
    if not optimizer:
        raise RunError(
            f'strategy.type={strategy.kind} shares the state of one optimizer, optim_wrapper.optimizer, and '
            'this optim_wrapper has none or several'
        )
    name = short_name(optimizer['type'])
    # mmengine builds it again by its name alone; mmswin's Muon is another than torch's.
    of_torch = getattr(torch.optim, name, None) in resolve_type(optimizer['type'], cfg.get('default_scope'))
    if strategy.kind == 'zero' and name != ZERO and not of_torch:
        raise RunError(
            'strategy.type=zero takes the optimizers of torch.optim, and optim_wrapper.optimizer.type is '
            f'{optimizer["type"]!r}'
        )
    if strategy.kind == 'fsdp' and name == ZERO:
        raise RunError(
            f"strategy.type=fsdp shares the optimizer's state already: set optim_wrapper.optimizer.type="
            f'{optimizer.get("optimizer_type", "AdamW")} instead of {ZERO}'
        )


def _check_fsdp(cfg: Config) -> None:
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError as error:
        raise RunError(
            f'strategy.type=fsdp needs torch 2.6 or newer, here is {torch.__version__}; strategy.type=zero '
            "shares the optimizer's state on any"
        ) from error
    if cfg.get('model_wrapper_cfg'):
        raise RunError('strategy.type=fsdp and model_wrapper_cfg exclude each other: leave model_wrapper_cfg out')
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)]
    averaging = [name for hook in hooks if 'EMAHook' in (name := short_name(hook.get('type')))]
    if averaging:
        raise RunError(
            f'strategy.type=fsdp and {averaging[0]} exclude each other: the average is a copy of the whole '
            'model, which no process has. Use strategy.type=zero'
        )
    for loader in ('val_dataloader', 'train_dataloader'):
        if any(node.get('round_up') is False for node in dicts_in(cfg.get(loader))):
            raise RunError(
                f'strategy.type=fsdp needs as many batches in each process, and {loader}.sampler.round_up is '
                'False: set it to True'
            )


def check_model(cfg: Config, model: nn.Module) -> None:
    """Refuse a model that cannot be shared as the config asks.

    Raises:
        RunError: No module has a name in ``strategy.wrap``, or a parameter is a single number.
    """
    strategy = strategy_of(cfg)
    if strategy.kind != 'fsdp':
        return
    present = {type(module).__name__ for module in model.modules()}
    missing = [name for name in strategy.wrap if name not in present]
    if missing:
        blocks = sorted(name for name in present if 'Block' in name or 'Layer' in name)
        raise RunError(
            f'strategy.wrap names {missing[0]}, and the model has no such module; set strategy.wrap to '
            f'what it repeats{", of: " + ", ".join(blocks[:12]) if blocks else ""}'
        )
    numbers = [name for name, parameter in model.named_parameters() if parameter.ndim == 0]
    if numbers:
        raise RunError(
            f'strategy.type=fsdp cannot share a parameter that is a single number, and the model has '
            f'{len(numbers)} (such as {numbers[0]}): use strategy.type=zero'
        )


def apply(cfg: Config) -> list[str]:
    """Put the strategy into the config, whose launcher is settled; returns lines for the banner."""
    strategy, optimizer = strategy_of(cfg), cfg.optim_wrapper.get('optimizer')
    name = short_name(optimizer.get('type')) if optimizer else ''  # none: of several, a part each
    if cfg.get('launcher', 'none') == 'none':
        if strategy.kind == 'ddp' and name != ZERO:
            return []
        cfg.pop('strategy', None)
        if name == ZERO:  # it cannot be built without a group of processes
            optimizer.type = optimizer.pop('optimizer_type')
        return [f'one process shares with nobody, so the strategy {strategy.kind} does nothing']
    if strategy.kind == 'zero':
        if name != ZERO:
            cfg.optim_wrapper.optimizer = ConfigDict({**optimizer, 'type': ZERO, 'optimizer_type': name})
        return ["strategy zero: each process keeps its part of the optimizer's state"]
    if strategy.kind == 'fsdp':
        return [
            "strategy fsdp: each process keeps its part of parameters, gradients and the optimizer's state, by "
            f'{", ".join(strategy.wrap)}'
        ]
    return []
