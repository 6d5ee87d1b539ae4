"""From an old configuration to a new one, and to the text of its file."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

import mmswin
from mmswin.errors import RunError, printable
from mmswin.upgrade.check import check_settings
from mmswin.upgrade.data import DataUpgrade
from mmswin.upgrade.delta import differences
from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.model import scope_of, upgrade_model
from mmswin.upgrade.old_files import read_old
from mmswin.upgrade.render import UNBROKEN, WIDTH, Name, assignment
from mmswin.upgrade.runtime import upgrade_runtime
from mmswin.upgrade.schedule import upgrade_learning_rate, upgrade_length, upgrade_loop, upgrade_optimizer

_GPUS = 8
_CHAPTERS = {'model': 'model', 'train_pipeline': 'data', 'train_cfg': 'schedule', 'default_hooks': 'runtime'}


@dataclass
class Upgraded:
    """A translated configuration: what the new file says, without helper variables, and what became of the old one."""

    settings: dict[str, Any]
    report: Report
    source: Path


def upgrade_config(path: str | Path, pretrained: str | None = None) -> Upgraded:
    """Translate a configuration of mmdet 2.x or mmseg 0.x.

    Args:
        path: The old file, where it can find its bases.
        pretrained: Path or URL of the weights that the backbone starts from, in place of the file's.

    Raises:
        RunError: The file, or one that it inherits from, is missing, cannot be read or is no old configuration.
    """
    source = Path(path)
    values = read_old(source)
    report = Report()
    try:
        settings = translate(values, report, pretrained)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f'{source} has an entry that cannot be translated because it is not as mmdet 2.x and mmseg 0.x take it '
            f'({type(error).__name__}: {error})'
        ) from error
    check_settings(settings, report)
    return Upgraded(settings, report, source)


def translate(values: dict[str, Any], report: Report, pretrained: str | None = None) -> dict[str, Any]:
    """The new settings for the old ones; findings go to ``report``."""
    old = Section(values, '', report)
    scope = scope_of(values['model'])
    evaluation = old.section('evaluation')
    unit, length = upgrade_length(old)
    upgrade = DataUpgrade(old, scope, report)
    data = upgrade.upgrade(evaluation, unit == 'iters')
    new: dict[str, Any] = {'default_scope': scope}
    new['model'] = upgrade_model(old, upgrade.pipelines.preprocessor(), pretrained)
    semantic = (new['model'].get('roi_head') or {}).get('semantic_head')
    if semantic and upgrade.pipelines.map_scale:
        semantic['seg_scale_factor'] = upgrade.pipelines.map_scale
    new.update(data)
    if upgrade.pipelines.tta_pipeline is not None:
        new['tta_pipeline'] = upgrade.pipelines.tta_pipeline
        if scope == 'mmseg':
            new['tta_model'] = {'type': 'SegTTAModel'}
    new['train_cfg'] = upgrade_loop(unit, length, evaluation)
    new['val_cfg'], new['test_cfg'] = {'type': 'ValLoop'}, {'type': 'TestLoop'}
    new['optim_wrapper'] = upgrade_optimizer(old)
    new['param_scheduler'] = upgrade_learning_rate(old, unit, length)
    scaling = old.section('auto_scale_lr')
    # Images of a GPU; the authors, like mmdet and mmseg, trained on 8.
    loader = data.get('train_dataloader') or {'batch_size': (values.get('data') or {}).get('samples_per_gpu')}
    batch = scaling.take('base_batch_size') or (loader['batch_size'] and _GPUS * loader['batch_size'])
    if batch is not None:
        new['auto_scale_lr'] = {'enable': scaling.take('enable', False), 'base_batch_size': batch}
        report.remark(f'the learning rate is taken to be for {batch} images a step (8 GPUs): auto_scale_lr')
    scaling.close('it does not say how many images a step the learning rate is for; set auto_scale_lr.base_batch_size')
    new.update(upgrade_runtime(old, scope, unit, evaluation, data.get('val_evaluator')))
    evaluation.close('no option of the new evaluators; see CocoMetric of mmdet or IoUMetric of mmseg')
    _name_the_rest(old, values)
    return new


def _name_the_rest(old: Section, values: dict[str, Any]) -> None:
    """Variables whose value stands elsewhere in the configuration have served; others may have meant something."""
    used = [value for name, value in values.items() if name not in old]
    left_out = [name for name, value in old.items() if value is None or _stands_in(value, used)]
    old.drop(*left_out)
    old.close('nothing known reads it; see what it was for')
    if left_out:
        old.report.done(f'variables that helped to write the old file, left out: {", ".join(left_out)}')


def _stands_in(value: Any, node: Any) -> bool:
    if type(value) is type(node) and value == node:
        return True
    if isinstance(value, str) and isinstance(node, str) and value and node.startswith(value):
        return True
    if isinstance(node, dict):
        if isinstance(value, dict) and value and all(key in node and node[key] == v for key, v in value.items()):
            return True
        return any(_stands_in(value, entry) for entry in node.values())
    return isinstance(node, (list, tuple)) and any(_stands_in(value, entry) for entry in node)


def render(upgraded: Upgraded, base: str | None = None, target: Path | None = None) -> str:
    """The text of the new file.

    Args:
        upgraded: The translated configuration.
        base: A configuration to inherit from; the text then says only what differs.
        target: Where the file will stand, to write the way to ``base`` from there; the current directory by default.

    Raises:
        RunError: ``base`` is missing or cannot be read.
    """
    lines = [comment for line in _header(upgraded) for comment in _comment(printable(line, 2000))]
    if base is None:
        chapters = _named(upgraded.settings)
    else:
        where = (target or Path('.') / 'new.py').resolve().parent
        if not Path(base).is_file():
            raise RunError(f'--base {base} does not exist')
        try:
            found = Config.fromfile(base)
        except Exception as error:  # The file is a program: anything may go wrong in it.
            raise RunError(f'--base {base} cannot be read: {type(error).__name__}: {error}') from error
        if found.get('default_scope') != upgraded.settings['default_scope']:
            raise RunError(
                f'--base {base} is for {found.get("default_scope")}, and {upgraded.source} for '
                f'{upgraded.settings["default_scope"]}: name a configuration of the same library'
            )
        chapters = {'_base_': os.path.relpath(Path(base).resolve(), where), **differences(found, upgraded.settings)}
    for name, value in chapters.items():
        if name in _CHAPTERS and base is None:
            lines += ['', f'# {_CHAPTERS[name]}']
        lines.append(assignment(name, value))
    return '\n'.join(lines) + '\n'


def _header(upgraded: Upgraded) -> list[str]:
    report = upgraded.report
    lines = [f'Upgraded from {upgraded.source.name} by mmswin upgrade, {mmswin.__version__}.']
    if report.untranslated:
        lines += ['', 'NOT TRANSLATED, to be looked at:', *(f'- {entry}' for entry in report.untranslated)]
    if report.remarks:
        lines += ['', 'To be known:', *(f'- {entry}' for entry in report.remarks)]
    return [*lines, '', 'Translated:', *(f'- {entry}' for entry in report.translated)]


def _comment(line: str) -> list[str]:
    rest = '#   ' if line.startswith('- ') else '# '
    return textwrap.wrap(line, WIDTH, initial_indent='# ', subsequent_indent=rest, **UNBROKEN) or ['#']


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with variables for what they say more than once, and for the pipelines."""
    new: dict[str, Any] = {}
    pipelines: dict[str, Any] = {}
    for name, value in settings.items():
        if name.endswith('_dataloader'):
            value = _with_names(value, 'train_pipeline' if name.startswith('train') else 'test_pipeline', pipelines)
            new.update(pipelines)
        new[name] = value
    for first, second in (('val_dataloader', 'test_dataloader'), ('val_evaluator', 'test_evaluator')):
        if first in new and new.get(second) == new[first]:
            new[second] = Name(first)
    if 'vis_backends' in new:
        new['visualizer'] = {**new['visualizer'], 'vis_backends': Name('vis_backends')}
    return new


def _with_names(node: Any, stem: str, pipelines: dict[str, Any]) -> Any:
    """A loader whose pipelines are names; the pipelines go to ``pipelines``."""
    if isinstance(node, (list, tuple)):
        return type(node)(_with_names(entry, stem, pipelines) for entry in node)
    if not isinstance(node, dict):
        return node
    new = {key: _with_names(value, stem, pipelines) for key, value in node.items() if key != 'pipeline'}
    if 'pipeline' in node:
        name = next((name for name, steps in pipelines.items() if steps == node['pipeline']), None)
        if name is None:
            count = sum(name.startswith(stem) for name in pipelines)
            name = f'{stem}_{count + 1}' if count else stem
            pipelines[name] = node['pipeline']
        new['pipeline'] = Name(name)
    return {key: new[key] for key in node}
