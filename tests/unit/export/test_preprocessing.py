"""What a configuration does with a picture: read, put into a program, and refused where a program cannot do it."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from predictors import detection, segmentation
from torch import nn

from mmswin.errors import RunError
from mmswin.export.preprocessing import Deployed, Preprocessing, read_config

MEAN, STD = (1.0, 2.0, 3.0), (2.0, 4.0, 8.0)


class Sides(nn.Module):
    """A graph that gives what it is given, and the size that it is told."""

    output_names, dynamic = ('seen', 'size'), {0: 'batch', 2: 'height', 3: 'width'}

    def features(self, image):
        return (image,)

    def heads(self, features, size):
        return features[0], torch.tensor(size)


def test_a_configuration_is_read():
    found = read_config(Config(detection()), inside=True)
    assert (found.mean, found.std, found.pad_divisor) == ((120.0,) * 3, (60.0,) * 3, 32)
    assert (found.scale, found.keep_ratio, found.to_rgb) == ((96, 64), True, False)
    found = read_config(Config(segmentation()), inside=False)
    assert (found.scale, found.pad_divisor, found.inside) == (None, 1, False)


def test_the_middle_of_a_picture_by_its_short_side_is_read():
    config = Config(detection())
    edge = dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic')
    config.test_dataloader.dataset.pipeline[1:2] = [edge, dict(type='CenterCrop', crop_size=224)]
    config.model.data_preprocessor = dict(mean=MEAN, std=STD, to_rgb=True)
    found = read_config(config, inside=True)
    assert (found.short_side, found.crop, found.scale) == (256, (224, 224), None)
    assert (found.backend, found.interpolation, found.to_rgb) == ('pillow', 'bicubic', True)


def test_one_number_is_a_square_and_borders_are_of_boxes():
    config = Config(detection())
    config.test_dataloader.dataset.pipeline[1] = dict(
        type='Resize', scale=384, scale_factor=None, clip_object_border=False
    )
    found = read_config(config, inside=True)
    assert (found.scale, found.keep_ratio) == ((384, 384), False)


@pytest.mark.parametrize('step', [
    dict(type='Pad', size_divisor=32), dict(type='Resize', scale_factor=0.5), dict(type='TestTimeAug', transforms=[]),
    dict(type='ResizeEdge', scale=96, edge='long'), dict(type='CenterCrop', crop_size=32, auto_pad=True),
])  # fmt: skip
def test_other_steps_are_refused(step):
    config = Config(detection())
    config.test_dataloader.dataset.pipeline[1] = step
    with pytest.raises(RunError, match=step['type']):
        read_config(config, inside=True)


def test_other_preprocessors_are_refused():
    config = Config(detection())
    config.model.data_preprocessor.type = 'MyPreprocessor'
    with pytest.raises(RunError, match='MyPreprocessor'):
        read_config(config, inside=True)


@pytest.mark.parametrize('to_rgb', [False, True])
def test_inside_and_outside_are_the_same(to_rgb):
    options = dict(to_rgb=to_rgb, mean=MEAN, std=STD, pad_divisor=16, pad_value=5.0)
    picture = np.random.default_rng(0).integers(0, 255, (20, 33, 3), np.uint8)
    seen = []
    for inside in (True, False):
        preprocessing = Preprocessing(inside, **options)
        deployed = Deployed(Sides(), preprocessing)
        assert deployed.dynamic == (
            {0: 'batch', 1: 'height', 2: 'width'} if inside else {0: 'batch', 2: 'height', 3: 'width'}
        )
        given = picture[None]
        if not inside:
            turned = picture[..., ::-1] if to_rgb else picture
            given = ((turned - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]
        image, size = deployed(torch.from_numpy(given.copy()))
        assert image.shape == (1, 3, 32, 48) and size.tolist() == [20, 33]
        seen.append(image)
    torch.testing.assert_close(*seen)
    first = picture[0, 0, ::-1] if to_rgb else picture[0, 0]
    np.testing.assert_allclose(seen[0][0, :, 0, 0], (first - np.array(MEAN)) / STD, rtol=1e-6)
    assert (seen[0][..., 20:, :] == 5).all() and (seen[0][..., 33:] == 5).all()
