"""Pictures of a classifier's test."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmswin.engine.saving import unwrapped
from mmswin.registry import HOOKS


@HOOKS.register_module()
class ClassPicturesHook(Hook):
    """Draws every tested picture with mmpretrain's visualizer, as the network got it but larger, with its class.

    mmpretrain's own hook takes BGR for RGB, and pictures of one name in several folders for one.

    Args:
        out_dir: Where they go, below it in the folders in which the data set has them.
        options: Of ``visualize_cls``, such as ``draw_gt``.
    """

    def __init__(self, out_dir: str, **options: Any) -> None:
        self.out_dir, self.options = Path(out_dir), options

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draw a batch."""
        swapped = getattr(unwrapped(runner.model).data_preprocessor, 'to_rgb', False)
        for index, (image, sample) in enumerate(zip(data_batch['inputs'], outputs or ())):
            image = (image.flip(0) if swapped else image).permute(1, 2, 0).cpu().numpy().astype(np.uint8)
            path = sample.get('img_path', f'{batch_idx}_{index}')
            name = os.path.relpath(path, getattr(runner.test_dataloader.dataset, 'img_prefix', None) or os.curdir)
            name = os.path.basename(path) if name.startswith(os.pardir) else name
            options = {'resize': max(256, min(image.shape[:2])), **self.options}
            runner.visualizer.visualize_cls(image, sample, out_file=str(self.out_dir / f'{name}.png'), **options)
