"""What mmengine lacks for the recipes' optimizers."""

from mmswin.optimizers.constructor import OptimWrapperConstructor
from mmswin.optimizers.layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['LayerDecayOptimWrapperConstructor', 'OptimWrapperConstructor']
