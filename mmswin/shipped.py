"""The configurations that come with mmswin: where they are, and what their names are. Needs Python alone."""

import re
from pathlib import Path

# Where an installed mmswin has its configurations; `_base_ = 'mmswin::swin/NAME.py'` finds them there.
FOLDER = 'swin'
_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / '.mim' / 'configs' / FOLDER
_REFERENCE = re.compile(rf'mmswin::{FOLDER}/(.+)')
_BASES = re.compile(r'(?m)^_base_ = (?:\[[^\]]*\]|.*)$')
_RELATIVE = re.compile(r"'(?:\./)?((?:_base_/)?\w+(?:/\w+)*\.py)'")


def directory() -> Path:
    """The directory of the configurations: ``configs/`` of a checkout, or what an installation holds."""
    return _INSTALLED.resolve() if _INSTALLED.is_dir() else _PACKAGE.parent / 'configs'


def is_installed() -> bool:
    """Whether mmengine finds ``mmswin::``, as it does once this package was installed (``pip install -e .`` will do)."""
    return _INSTALLED.is_dir()


def names() -> list[str]:
    """All names, sorted: the files' without ``.py``."""
    return sorted(path.stem for path in directory().glob('*.py'))


def resolve(config: str) -> str:
    """The file that a user means by a path, or by the name of a configuration that comes with mmswin.

    Args:
        config: A path; or a name, ``mask_rcnn_swin_t_coco``, with or without ``.py`` and ``mmswin::swin/``. A file that
            is there wins over a name.

    Returns:
        The path of the file, or ``config`` as it is where there is no such name.
    """
    if Path(config).is_file():
        return config
    found = _REFERENCE.fullmatch(config)
    name = (found.group(1) if found else config).removesuffix('.py')
    return str(directory() / f'{name}.py') if name in names() else config


def editable_copy(name: str) -> str:
    """The text of a configuration that works from any directory: what it inherits from is named, not pathed.

    Args:
        name: One of :func:`names`.
    """
    text = (directory() / f'{name}.py').read_text(encoding='utf-8')
    where = f'mmswin::{FOLDER}' if is_installed() else directory()
    return _BASES.sub(lambda bases: _RELATIVE.sub(rf"'{where}/\1'", bases.group()), text, count=1)
