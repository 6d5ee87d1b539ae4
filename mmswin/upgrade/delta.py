"""What a configuration says differently from another one."""

from typing import Any

from mmengine.config import Config

from mmswin.engine.options import top_level_names

_MISSING = object()


def differences(base: Config, settings: dict[str, Any]) -> dict[str, Any]:
    """What has to stand in a file that inherits from ``base`` to say what ``settings`` say.

    Lists are taken as a whole. A dict that lacks an entry of the base, or is of another type, is written out with
    ``_delete_``. Settings of the base that ``settings`` lack at the top stay: they are the base's additions.
    """
    read = top_level_names()
    found = {
        name: _difference(_bare(base[name]) if name in base else _MISSING, value)
        for name, value in settings.items()
        if name in read
    }
    return {name: difference for name, difference in found.items() if difference is not _MISSING}


def _difference(base: Any, value: Any) -> Any:
    if base is not _MISSING and base == _bare(value):
        return _MISSING
    if base is _MISSING or not isinstance(value, dict):
        return value
    # mmengine merges a dict into nothing but a dict, and refuses a None or a list.
    if not isinstance(base, dict) or set(base) - set(value) or base.get('type') != value.get('type'):
        return {'_delete_': True, **value}
    parts = {key: _difference(base.get(key, _MISSING), entry) for key, entry in value.items()}
    return {key: part for key, part in parts.items() if part is not _MISSING}


def _bare(value: Any) -> Any:
    """A value without what changes nothing: the library that a dict was inherited from, a storage that is none, tuples."""
    if isinstance(value, dict):
        return {
            key: _bare(entry)
            for key, entry in value.items()
            if key != '_scope_' and (key, entry) != ('backend_args', None)
        }
    return [_bare(entry) for entry in value] if isinstance(value, (list, tuple)) else value
