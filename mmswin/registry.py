"""Registry nodes of scope ``mmswin``, children of mmengine's.

mmengine imports this module by itself when a config names a type as ``mmswin.Name``; each node then imports the
packages in its ``locations``, so that no ``custom_imports`` is needed.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

from mmswin.checkpoints import safe_globals


def _node(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mmswin', locations=list(locations))


MODELS = _node(MMENGINE_MODELS, 'mmswin.backbones')
DATASETS = _node(MMENGINE_DATASETS, 'mmswin.datasets')
TRANSFORMS = _node(MMENGINE_TRANSFORMS, 'mmswin.datasets')
HOOKS = _node(MMENGINE_HOOKS, 'mmswin.hooks')
METRICS = _node(MMENGINE_METRICS, 'mmswin.datasets')
OPTIM_WRAPPER_CONSTRUCTORS = _node(MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmswin.optimizers')
VISUALIZERS = _node(MMENGINE_VISUALIZERS, 'mmswin.visualization')
LOOPS = _node(MMENGINE_LOOPS, 'mmswin.runner')
OPTIM_WRAPPERS = _node(MMENGINE_OPTIM_WRAPPERS, 'mmswin.runner')
RUNNERS = _node(MMENGINE_RUNNERS, 'mmswin.runner')

# A run that uses mmswin must be able to resume from its own checkpoints on torch >= 2.6.
safe_globals.allow()
