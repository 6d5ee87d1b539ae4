"""Pictures of a classifier's test: their colours, sizes and places."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mmswin.engine import ClassPicturesHook


@pytest.mark.parametrize('to_rgb', [False, True])
def test_each_picture_in_its_colours_and_folder(to_rgb: bool) -> None:
    drawn = []
    model = nn.Module()
    model.data_preprocessor = SimpleNamespace(to_rgb=to_rgb)
    runner = SimpleNamespace(
        model=model,
        test_dataloader=SimpleNamespace(dataset=SimpleNamespace(img_prefix='data/test')),
        visualizer=SimpleNamespace(visualize_cls=lambda image, sample, **options: drawn.append((image, options))),
    )
    blue = torch.zeros(3, 8, 300, dtype=torch.uint8)
    blue[0 if to_rgb else 2] = 200  # as OpenCV reads, or as the network takes it
    samples = [{'img_path': 'data/test/cat/0.png'}, {'img_path': 'data/test/dog/0.png'}, {'img_path': 'x/0.png'}, {}]
    hook = ClassPicturesHook('out', draw_gt=False)
    hook.after_test_iter(runner, 7, {'inputs': [blue] * 4}, samples)
    assert all(image.shape == (8, 300, 3) and (image == np.array([0, 0, 200])).all() for image, _ in drawn)
    files = [options.pop('out_file') for _, options in drawn]
    assert files == [str(Path('out', name)) for name in ('cat/0.png.png', 'dog/0.png.png', '0.png.png', '7_3.png')]
    assert all(options == {'draw_gt': False, 'resize': 256} for _, options in drawn)
