"""Registry nodes of scope ``mmswin``, children of mmengine's.

mmengine imports this module by itself when a config names a type as ``mmswin.Name``; each node then imports the
packages in its ``locations``, so that no ``custom_imports`` is needed.
"""

from importlib import import_module

try:
    from mmengine import registry as mmengine_registry
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.registry import Registry
except ModuleNotFoundError as error:
    from mmswin.errors import explain_missing

    raise explain_missing(error, 'mmswin.registry') from error

from mmswin.checkpoints import mmengine_loader

# `_base_ = 'mmswin::swin/NAME.py'` names a config that comes with mmswin. mmengine looks the value up among installed
# distributions, then among modules, and takes the module's folder: unlike the distribution's, it is right for editable
# installs and plain checkouts too.
MODULE2PACKAGE.setdefault('mmswin', __name__)


# Parts of detectors that are built on mmdet's classes, and their rooms. They are imported when they are asked for: mmdet
# takes seconds, and whoever asks for a backbone alone may not have it.
ON_MMDET = {
    'AuxiliaryMaskHead': 'mmswin.dense_heads',
    'BiFPN': 'mmswin.necks',
    'GlobalBlock': 'mmswin.necks',
    'InclusiveGIoULoss': 'mmswin.losses',
    'MaskRepPointsV2': 'mmswin.detectors.mask_reppoints_v2',
    'MaskRepPointsV2Head': 'mmswin.dense_heads',
    'NormalizedFocalLoss': 'mmswin.losses',
    'RepPointsV2Head': 'mmswin.dense_heads',
}


class _Models(Registry):
    def get(self, key: str) -> type | None:
        if key in ON_MMDET:
            try:
                import_module(ON_MMDET[key])
            except ModuleNotFoundError as error:
                from mmswin.errors import explain_missing

                raise explain_missing(error, f'mmswin.{key}') from error
        return super().get(key)


def _node(parent: Registry, *locations: str, kind: type[Registry] = Registry) -> Registry:
    return kind(parent.name, parent=parent, scope='mmswin', locations=list(locations))


MODELS = _node(mmengine_registry.MODELS, 'mmswin.backbones', 'mmswin.detectors', kind=_Models)
TASK_UTILS = _node(mmengine_registry.TASK_UTILS, 'mmswin.assigners')
DATASETS = _node(mmengine_registry.DATASETS, 'mmswin.data')
TRANSFORMS = _node(mmengine_registry.TRANSFORMS, 'mmswin.data')
HOOKS = _node(mmengine_registry.HOOKS, 'mmswin.engine')
METRICS = _node(mmengine_registry.METRICS, 'mmswin.data')
OPTIM_WRAPPER_CONSTRUCTORS = _node(mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'mmswin.engine')
LOOPS = _node(mmengine_registry.LOOPS, 'mmswin.engine')
OPTIMIZERS = _node(mmengine_registry.OPTIMIZERS, 'mmswin.engine')
OPTIM_WRAPPERS = _node(mmengine_registry.OPTIM_WRAPPERS, 'mmswin.engine')
RUNNERS = _node(mmengine_registry.RUNNERS, 'mmswin.engine')
# There is none here: without a node mmengine would warn of what a config with `_scope_='mmswin'` names.
VISUALIZERS = _node(mmengine_registry.VISUALIZERS, 'mmswin')

# Nothing in a checkpoint runs, whichever Runner loads it; and a run can resume from its own on any torch.
mmengine_loader.register()
