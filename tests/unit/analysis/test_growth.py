"""Time and memory of a backbone over growing images: sizes, what is measured, what is left out, and the picture."""

import json
import os
import re

import cv2
import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn

from mmswin.analysis import growth
from mmswin.analysis.growth import Growth, Order, Point, image_sizes, measure, measure_growth
from mmswin.analysis.reports import growth_text
from mmswin.errors import RunError
from mmswin.registry import MODELS
from mmswin.visualization.scaling import draw_growth

TINY = dict(
    type='mmswin.SwinTransformer',
    embed_dims=8,
    depths=(2, 1),
    num_heads=(1, 2),
    strides=(4, 2),
    out_indices=(0, 1),
    window_size=(2, 4),
    drop_path_rate=0.0,
)
BYTES_PER_PIXEL = 256


@MODELS.register_module()
class OneMap(nn.Module):
    """Allocates a known number of bytes for each pixel, or ends its process."""

    def __init__(self, mortal: bool = False) -> None:
        super().__init__()
        self.mortal = mortal

    def forward(self, image):
        if self.mortal and image.shape[-1] > 64:
            os._exit(9)
        return (image.new_ones(BYTES_PER_PIXEL // 4, image.shape[2] * image.shape[3]),)


def point(side: int, mode: str = 'inference') -> Point:
    pixels = side * side
    times = [1e-7 * pixels, 2e-7 * pixels, 9e-7 * pixels]
    return Point(side, side, times, times, 100 * pixels, pixels**2 if mode == 'training' else None, 2**20)


def invented(order: Order) -> Point:
    return point(order.height, order.mode)


@pytest.mark.parametrize('step', [(224, 224), (384, 384), (32, 32), (96, 160)])
def test_sizes_are_whole_steps_near_what_was_asked_for(step):
    sizes = image_sizes(step, growth.SIZES)
    assert sizes == sorted(sizes, key=lambda size: size[0] * size[1])
    assert len(sizes) == len(growth.SIZES)
    for (height, width), wanted in zip(sizes, growth.SIZES):
        assert height % step[0] == width % step[1] == 0
        assert height <= width <= 2 * height
        assert height * width / 1e6 == pytest.approx(wanted, rel=0.22 if wanted < 2 else 0.11)


def test_small_wishes_get_one_step():
    assert image_sizes((224, 224), [0.001, 0.01]) == [(224, 224)]


def test_memory_kept_for_backward_grows_exactly_as_the_pixels():
    sizes = [(16, 64), (32, 64), (32, 128)]  # whole windows in both stages
    first, second, third = (measure(Order(TINY, *size, 'training', repetitions=1)).saved for size in sizes)
    assert third - second == 2 * (second - first) > 0
    assert first > 0


def test_resident_memory_is_that_of_the_pass():
    found = measure(Order(dict(type='mmswin.OneMap'), 512, 1024, 'inference', repetitions=2))
    assert found.saved is None and len(found.seconds) == 2
    # The image is there too.
    assert found.memory == pytest.approx((BYTES_PER_PIXEL + 12) * found.pixels, rel=0.05)


def test_powers_are_fitted_to_what_was_measured():
    found = measure_growth(TINY, (32, 32), (0.01, 0.1, 1.0), run=invented)
    powers = found.exponents()
    assert powers.keys() == {
        (mode, quantity) for mode in ('inference', 'training') for quantity in ('seconds', 'memory', 'saved')
    } - {('inference', 'saved')}
    assert powers['inference', 'seconds'] == powers['training', 'memory'] == pytest.approx(1)
    assert powers['training', 'saved'] == pytest.approx(2)
    assert found.points['inference'][0].value('seconds') == 2e-7 * found.points['inference'][0].pixels
    text = growth_text(found)
    assert text.count('pixels^1.000') == 4 and 'pixels^2.000' in text
    values = json.loads(json.dumps(found.as_dict()))
    assert values['exponents']['training']['saved'] == pytest.approx(2)
    assert [one['height'] for one in values['points']['training']] == [p.height for p in found.points['training']]


def test_sizes_beyond_the_memory_are_left_out_and_said():
    lines = []
    found = measure_growth(
        TINY, (32, 32), (0.1, 0.2, 0.4), ['inference'], memory=30 * 2**20, run=invented, progress=lines.append
    )
    assert len(found.points['inference']) == 2 and len(lines) == 3
    assert 'would need about' in found.ends['inference'] and '0.0 GiB may be used' in found.ends['inference']
    assert found.ends['inference'] in growth_text(found) and 'these powers say little' in growth_text(found)

    def full(order: Order) -> Point:
        if order.pixels > 150000:
            raise MemoryError('the process was killed')
        return invented(order)

    found = measure_growth(TINY, (32, 32), (0.1, 0.2, 0.4), ['inference'], run=full)
    assert len(found.points['inference']) == 1
    assert found.ends['inference'].endswith('did not fit into memory: the process was killed')
    assert not found.exponents() and re.search(r'\ninference +- +- +-\n', growth_text(found))


@pytest.mark.slow
def test_a_process_of_its_own():
    order = Order(TINY, 64, 128, 'training', repetitions=1)
    found = growth.in_own_process(order)
    assert found.saved == measure(order).saved
    assert found.seconds[0] > 0 and found.before > 50 * 2**20


def test_a_process_that_is_killed_is_out_of_memory(monkeypatch):
    # Forked, so that it knows this file's backbone.
    context = growth.multiprocessing.get_context('fork')
    monkeypatch.setattr(growth.multiprocessing, 'get_context', lambda method: context)
    with pytest.raises(MemoryError, match='the process was killed'):
        growth.in_own_process(Order(dict(type='mmswin.OneMap', mortal=True), 128, 128, 'inference'))


def test_picture(tmp_path):
    found = measure_growth(TINY, (32, 32), (0.01, 0.1, 1.0), run=invented)
    draw_growth(found, 'a backbone', tmp_path / 'growth.png')
    picture = cv2.imread(str(tmp_path / 'growth.png')).astype(int)
    assert picture.shape[0] > 400 and picture.shape[1] > 900
    for blue, green, red in ((180, 119, 31), (40, 39, 214)):  # inference, training
        assert (abs(picture - (blue, green, red)).max(-1) < 30).sum() > 100
    draw_growth(Growth((32, 32), {'inference': [point(64)]}), 'one size', tmp_path / 'one.png')


def test_the_backbone_of_a_config():
    head = dict(type='FCNHead', in_channels=16, channels=4, num_classes=2)
    swin = {**TINY, 'init_cfg': dict(type='Pretrained', checkpoint='not_there.pth')}
    cfg = ConfigDict(default_scope='mmseg', model=dict(type='EncoderDecoder', backbone=swin, decode_head=head))
    backbone, step = growth.backbone_of(cfg)
    assert backbone == TINY and step == (16, 32)
    resnet = dict(type='ResNetV1c', depth=18, num_stages=4)
    cfg = ConfigDict(
        default_scope='mmseg',
        model=dict(type='EncoderDecoder', backbone=resnet, decode_head={**head, 'in_channels': 512}),
    )
    backbone, step = growth.backbone_of(cfg)
    assert backbone['type'] == 'mmseg.ResNetV1c' and step == (32, 32)
    assert measure(Order(backbone, 64, 64, 'inference', repetitions=1)).memory >= 0


@pytest.mark.parametrize(
    ('check', 'value', 'said'),
    [
        (growth.check_sizes, [1.0, 0.0], '--megapixels 0: expected a positive number'),
        (growth.check_device, 'gpu', '--device gpu: '),
        (growth.check_device, 'meta', '--device meta: memory can be measured on cpu and cuda'),
    ],
)
def test_bad_values_are_named(check, value, said):
    with pytest.raises(RunError) as error:
        check(value)
    assert str(error.value).startswith(said)


def test_unknown_modes_are_refused_before_any_work():
    with pytest.raises(ValueError, match="mode 'testing' is unknown"):
        measure_growth(TINY, (32, 32), (0.1,), ['testing'], run=lambda order: pytest.fail('measured'))
    assert torch.get_num_threads() == 1
