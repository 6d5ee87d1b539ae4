"""mmdet's own Swin class, also where mmcv's compiled operators are missing."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType

# The class needs mmcv.cnn, which mmcv-lite has too, but importing its package pulls in every detector and with them
# mmcv.ops. These packages are entered without running their __init__.
_PACKAGES = (
    'mmdet',
    'mmdet.models',
    'mmdet.models.backbones',
    'mmdet.models.layers',
    'mmdet.models.layers.transformer',
)


def swin_class() -> type:
    """``mmdet.models.backbones.swin.SwinTransformer``, installed in full or beside mmcv-lite.

    With mmcv-lite, stand-ins for the packages above the module are in ``sys.modules`` while it is imported, and taken
    out again.

    Raises:
        ImportError: mmdet or mmcv is not installed.
    """
    try:
        from mmdet.models.backbones.swin import SwinTransformer
    except (ImportError, AssertionError):  # mmdet asserts mmcv's version
        return _behind_stand_ins()
    return SwinTransformer


def _behind_stand_ins() -> type:
    before = {name: module for name, module in sys.modules.items() if name.split('.')[0] == 'mmdet'}
    for name in before:
        del sys.modules[name]
    try:
        for name in _PACKAGES:
            _enter(name)
        # Type aliases, and a registry that registers nothing: the class is called by itself.
        utils = sys.modules['mmdet.utils'] = ModuleType('mmdet.utils')
        utils.OptConfigType = utils.OptMultiConfig = utils.ConfigType = utils.MultiConfig = object
        registry = sys.modules['mmdet.registry'] = ModuleType('mmdet.registry')
        registry.MODELS = _NoRegistry()
        layers = sys.modules['mmdet.models.layers']
        parts = importlib.import_module('mmdet.models.layers.transformer.utils')
        layers.PatchEmbed, layers.PatchMerging = parts.PatchEmbed, parts.PatchMerging
        return importlib.import_module('mmdet.models.backbones.swin').SwinTransformer
    finally:
        for name in [name for name in sys.modules if name.split('.')[0] == 'mmdet']:
            del sys.modules[name]
        sys.modules.update(before)


class _NoRegistry:
    def register_module(self) -> Callable[[type], type]:
        return lambda kind: kind


def _enter(name: str) -> None:
    """Put an empty package of this name into sys.modules, with the real one's place for its submodules."""
    parent, _, child = name.rpartition('.')
    places = sys.modules[parent].__path__ if parent else None
    spec = importlib.machinery.PathFinder.find_spec(name, places)
    if spec is None:
        raise ImportError(f'{name} is not installed', name=name)
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package
    if parent:
        setattr(sys.modules[parent], child, package)
