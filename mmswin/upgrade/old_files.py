"""Reading a configuration of mmdet 2.x or mmseg 0.x with everything that it inherits."""

import ast
import contextlib
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmswin.errors import RunError

# Only mmdet 3.x and mmseg 1.x have these at the top.
_NEW_KEYS = ('optim_wrapper', 'train_dataloader', 'test_dataloader', 'param_scheduler', 'default_hooks')
_NOTHING = 'there is nothing to upgrade'
# Only mmdet 2.x and mmseg 0.x have these.
_OLD_KEYS = ('data', 'optimizer', 'lr_config', 'runner', 'total_epochs', 'optimizer_config')


def read_old(path: Path) -> dict[str, Any]:
    """The whole configuration, bases included, as plain dicts.

    Raises:
        RunError: A file is missing or cannot be read, or this is no configuration of the old kind.
    """
    _check_bases(path)
    try:
        cfg = Config.fromfile(path, lazy_import=False, import_custom_modules=False)
    except (Exception, SystemExit) as error:  # The file is a program of somebody else's: anything may go wrong in it.
        raise RunError(f'{path} cannot be read: {type(error).__name__}: {error}') from error
    values = cfg.to_dict()
    new = [key for key in _NEW_KEYS if key in values]
    if new:
        raise RunError(
            f'{path} has {new[0]}, which only files for mmdet 3.x and mmseg 1.x have: {_NOTHING}; to use this '
            "package's backbone, set type='mmswin.SwinTransformer' in it"
        )
    if not isinstance(values.get('model'), dict) or 'type' not in values['model']:
        raise RunError(
            f'{path} holds no model: give the configuration that one trains with, not one of the files in '
            '_base_ that it is made of'
        )
    if not any(key in values for key in _OLD_KEYS):
        raise RunError(
            f'{path} has a model and none of {", ".join(_OLD_KEYS)}: this is no configuration of mmdet 2.x or mmseg 0.x'
        )
    return values


def _check_bases(path: Path, *heirs: Path) -> None:
    """Make sure that all files exist before mmengine reads them: its own message does not say who wants the file."""
    if not path.is_file():
        raise RunError(f'config {path} does not exist')
    if path.resolve() in heirs:
        raise RunError(f'{path} inherits from itself by its _base_: take that out')
    for base in _bases_of(path):
        said = f'{path}: its _base_ {base!r}'
        if '::' in base:
            raise RunError(
                f'{said} names an installed library, as only files for mmdet 3.x and mmseg 1.x do: {_NOTHING}'
            )
        inherited, asked = path.parent / base, [*heirs, path][0].name
        if not inherited.is_file() and '.py' in base[:-3]:
            raise RunError(f'{said} is two names in one: put a comma between them')
        if not inherited.is_file():
            raise RunError(
                f'{said} is missing (looked for {inherited.resolve()}); give {asked} where it stands in the old '
                'repository, or copy the folders that it inherits from next to it'
            )
        _check_bases(inherited, *heirs, path.resolve())


def _bases_of(path: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except (OSError, SyntaxError, ValueError) as error:
        raise RunError(f'{path} cannot be read: {error}') from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == '_base_' for t in node.targets):
            with contextlib.suppress(TypeError, ValueError):  # computed; mmengine will find what it names
                value = ast.literal_eval(node.value)
                return [base for base in ([value] if isinstance(value, str) else value) if isinstance(base, str)]
    return []
