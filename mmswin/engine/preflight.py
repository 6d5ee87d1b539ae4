"""What is looked at before the work dir is touched: data, checkpoints, and whether the model can be built.

Everything here reads only. A finding that makes the run wrong is a :class:`RunError` or ``CheckpointError``.
"""

import copy
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmswin.checkpoints import CheckpointError, load_file
from mmswin.checkpoints.loading import is_pretrained
from mmswin.data.config_facts import dicts_in
from mmswin.engine.configure import quiet
from mmswin.errors import RunError, plain_message, printable, say

# A test with less would report the AP of a partly random network; resuming needs every tensor.
MIN_MATCH_TEST = 0.9
# Fine-tuning replaces heads, but a file that fills less than half is another model's.
MIN_MATCH_LOAD = 0.5

_SHOWN_FINDINGS = 20


class AbsentDataError(RunError):
    """Data that are not there: no run can go on without them, whatever is not checked."""


@dataclass
class Match:
    """How a state dict fits a model."""

    total: int = 0
    matched: int = 0
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def fraction(self) -> float:
        """Part of the model's tensors that the file fills."""
        return self.matched / self.total if self.total else 1.0

    def summary(self) -> str:
        """One line with counts and names; those of another shape by module: new heads."""
        parts = [f'{self.matched} of {self.total} tensors of the model match']
        random = 'of another shape, which keep their random initialisation'
        for what, tensors, names, shown in (
            ('missing', self.missing, self.missing, 3),
            (random, self.mismatched, _by_module(self.mismatched), 16),
            ('in the file only', self.unexpected, self.unexpected, 3),
        ):
            if names:
                listed = [printable(name, 200) for name in names[:shown]] + ['...'] * (len(names) > shown)
                parts.append(f'{len(tensors)} {what} ({", ".join(listed)})')
        return ', '.join(parts)

    def outcome(self) -> str:
        """The summary, of weights that are taken all the same."""
        return self.summary() + '; what is missing stays random' * bool(self.missing)


def _by_module(names: list[str]) -> list[str]:
    """Tensor names with those of one module in one entry: ``head.fc.weight/bias``."""
    modules: dict[str, list[str]] = {}
    for name in names:
        module, _, tensor = name.rpartition('.')
        modules.setdefault(module, []).append(tensor)
    return [f'{module}.{"/".join(tensors)}'.lstrip('.') for module, tensors in modules.items()]


def check_data(cfg: Config, splits: Iterable[str]) -> list[str]:
    """Check the data sets of a config; returns the warnings, one line each.

    Raises:
        RunError: All errors found, a line each.
        AbsentDataError: All of them are files that are not there.
    """
    from mmswin.data.checks import inspect_config

    findings = inspect_config(cfg, tuple(splits)).findings
    faults = [f for f in findings if f.level == 'error']
    errors = list(dict.fromkeys(f.message for f in faults))
    if errors:
        shown = errors[:_SHOWN_FINDINGS]
        if len(errors) > len(shown):
            shown.append(f'and {len(errors) - len(shown)} more (see mmswin check)')
        if all(f.absent for f in faults):
            raise AbsentDataError('\n       '.join(shown))
        shown.append('If the data are as they should be, go on all the same with --skip-data-check')
        raise RunError('\n       '.join(shown))
    return list(dict.fromkeys(f.message for f in findings))


def check_pretrained(cfg: Config) -> None:
    """Make sure that every file or URL named by an ``init_cfg`` of the model is a complete checkpoint.

    A URL is downloaded now, into the cache from which the model takes it later.

    Raises:
        CheckpointError: It is not.
    """
    for node in dicts_in(cfg.model):
        source = node.get('checkpoint') if is_pretrained(node.get('type')) else node.get('pretrained')
        if isinstance(source, str) and re.match(r'https?:|(?![\w-]+:)', source):
            try:
                load_file(source)
            except CheckpointError as error:
                raise CheckpointError(
                    f'the pretrained weights: {error}. To start a Swin from random weights instead: --cfg-options '
                    'model.backbone.init_cfg=None; to take the files from a directory: export '
                    'MMSWIN_PRETRAINED_DIR=DIR'
                ) from error


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config on the CPU, without loading weights.

    Raises:
        RunError: A value that the model's classes refuse, in their words.
    """
    scope = cfg.get('default_scope') or 'mmengine'
    model_cfg = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', copy.deepcopy(cfg.data_preprocessor))
    try:
        with quiet(), DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(model_cfg)
    except (ValueError, KeyError, AssertionError, ImportError, TypeError) as error:
        if isinstance(error, TypeError) and 'argument' not in str(error):
            raise
        raise RunError(f'the model cannot be built: {plain_message(error)}') from error


def state_dict_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of a whole model's checkpoint, without the prefix of a distributed wrapper."""
    inner = (checkpoint.get(name) for name in ('state_dict', 'model'))
    state = next((part for part in inner if isinstance(part, Mapping)), checkpoint)
    return {re.sub(r'^module\.', '', key): value for key, value in state.items()}


def match_weights(model: nn.Module, weights: Mapping[str, Any]) -> Match:
    """Load ``weights`` into ``model`` as mmengine does, and report what fits instead of raising.

    The modules' own hooks run, so formats that they translate count as what they become.
    """
    state = dict(weights)
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []

    def load(module: nn.Module, prefix: str = '') -> None:
        module._load_from_state_dict(state, prefix, {}, True, missing, unexpected, errors)
        for name, child in module.named_children():
            load(child, f'{prefix}{name}.')

    with torch.no_grad():
        load(model)
    # Modules judge only the names under their own prefix; a name of no module at all is found here.
    expected = model.state_dict()
    # The second: what is no tensor, or cannot be copied.
    told = (re.search(r'size mismatch for (\S+):|parameter named "([^"]+)"', error) for error in errors)
    mismatched = [match[1] or match[2] for match in told if match and not match[0].endswith('num_batches_tracked"')]
    unknown = [name for name, value in state.items() if name not in expected and torch.is_tensor(value)]
    unexpected = list(dict.fromkeys([*unexpected, *unknown]))
    missing = [name for name in dict.fromkeys(missing) if name in expected and not name.endswith('num_batches_tracked')]
    total = sum(not name.endswith('num_batches_tracked') for name in expected)
    return Match(total, total - len(missing) - len(mismatched), missing, mismatched, unexpected)


def check_weights(model: nn.Module, checkpoint: Mapping[str, Any], source: str, purpose: str) -> Match:
    """Make sure that a checkpoint is for a model, which holds its weights afterwards.

    Args:
        model: The built model.
        checkpoint: The loaded file.
        source: Its name, for messages.
        purpose: ``'test'``, ``'resume'`` or ``'load'``.

    Raises:
        CheckpointError: Too little matches for the purpose.
    """
    try:
        match = match_weights(model, state_dict_of(checkpoint))
    except CheckpointError as error:  # a backbone that judges for itself; it does not know the file's name
        raise CheckpointError(f'checkpoint {source} is not for this model: {error}') from error
    enough = {'test': MIN_MATCH_TEST, 'resume': 1.0, 'load': MIN_MATCH_LOAD}[purpose]
    # A layer of another shape would stay random, and a large model has few of them: those of the classes.
    if match.fraction >= enough and not (purpose == 'test' and match.mismatched):
        return match
    raise CheckpointError(f'checkpoint {source} is not for this model: {match.summary()}; {_cause(match, purpose)}')


def model_with_weights(cfg: Config, checkpoint: Mapping[str, Any], source: str) -> nn.Module:
    """The model of a config with a checkpoint's weights, to predict with; standard error says what stays random.

    Raises:
        RunError, CheckpointError: As by :func:`build_model` and :func:`check_weights`.
    """
    model = build_model(cfg)
    match = check_weights(model, checkpoint, source, 'test')
    if match.missing:
        say(f'{source}: {match.outcome()}', sys.stderr)
    return model


def _cause(match: Match, purpose: str) -> str:
    if match.matched == 0 and not match.mismatched:
        return (
            'none of its names is one of the model: perhaps it is a backbone alone, which belongs in '
            'model.backbone.init_cfg=dict(type="Pretrained", checkpoint=...)'
        )
    if match.mismatched and len(match.mismatched) >= len(match.missing):
        heads = all(re.search('head', name) for name in match.mismatched)
        what = 'the number of classes' if heads else 'the size of the model (arch, embed_dims, ...)'
        hint = f'the shapes differ, so {what} is probably another than in the config it was trained with'
    else:
        hint = 'it was probably trained with another config'
    return hint + ('; to start from its weights use --load-from' if purpose == 'resume' else '')
