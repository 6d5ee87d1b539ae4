"""The arithmetic of a benchmark: order of turns, medians, ratios, sizes, bytes."""

import pytest
import torch

from mmswin.benchmark.floor import BACKWARD, FORWARD, least_bytes
from mmswin.benchmark.memory import saved_by
from mmswin.benchmark.timing import Summary, interleave, ratio
from mmswin.benchmark.work import MIXED, Work, parse_size


def test_turns_alternate_their_order():
    order = []
    measured = interleave({name: lambda name=name: order.append(name) or len(order) for name in 'abc'}, 3)
    assert ''.join(order) == 'abccbaabc'
    assert measured == {'a': [1, 6, 7], 'b': [2, 5, 8], 'c': [3, 4, 9]}


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match='rounds=0'):
        interleave({'a': lambda: 1.0}, 0)


def test_a_summary_has_median_and_middle_half():
    assert Summary.of([5.0, 1.0, 3.0, 2.0, 4.0]) == Summary(3.0, 1.0, 5.0, (2.0, 4.0), 5)
    assert Summary.of([2.0]).quartiles == (2.0, 2.0)
    with pytest.raises(ValueError, match='no values'):
        Summary.of([])


def test_a_ratio_is_taken_round_by_round():
    # The machine was twice as slow in the second round; the ratio is 2 in both.
    assert ratio([2.0, 4.0], [1.0, 2.0]).quartiles == (2.0, 2.0)


@pytest.mark.parametrize('text', ['800x1344', '2x800', '0x800x1344', '2X800x1344', 'mixed', ''])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError, match='IMAGESxHEIGHTxWIDTH'):
        parse_size(text)
    with pytest.raises(ValueError):
        Work(sizes=(text,))


def test_work_survives_json():
    work = Work('small', 12, 'training', 'bfloat16', MIXED)
    assert Work.from_dict(work.as_dict()) == work
    assert work.label == 'Swin-S w12 5 sizes in turn bfloat16 training'


@pytest.mark.parametrize(
    'values, message',
    [
        ({'mode': 'train'}, "mode 'train' is unknown"),
        ({'precision': 'fp16'}, "precision 'fp16' is unknown"),
        ({'sizes': ()}, 'no sizes'),
    ],
)
def test_other_work_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Work(**values)


def test_saved_bytes_are_those_of_the_formula():
    layer = torch.nn.Linear(6, 5)
    x = torch.randn(10, 6, requires_grad=True)
    # The layer saves its input and weight; the square saves the layer's output. The weight is a parameter.
    assert saved_by(lambda: layer(x).square(), layer.parameters()) == 4 * (10 * 6 + 10 * 5)
    # One storage is counted once, however many saved tensors look at it.
    assert saved_by(lambda: (x * x.sum(), x.exp() * x)) <= 4 * (60 + 60 + 1) + 4 * 60


def test_recomputation_saves_less():
    from torch.utils.checkpoint import checkpoint

    layers = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU()) for _ in range(4)))
    x = torch.randn(50, 8, requires_grad=True)
    kept = saved_by(lambda: layers(x), layers.parameters())
    recomputed = saved_by(lambda: checkpoint(layers, x, use_reentrant=False), layers.parameters())
    assert recomputed < kept / 4


def test_the_floor_is_that_of_the_blocks_and_a_little():
    forward, training = (least_bytes(Work(mode=mode)) for mode in ('inference', 'training'))
    tokens = [2 * 200 * 336 // 4**stage for stage in range(4)]
    numbers = [depth * count * 96 * 2**stage for stage, (depth, count) in enumerate(zip((2, 2, 6, 2), tokens))]
    blocks = sum(numbers)
    assert FORWARD * blocks < forward < 1.15 * FORWARD * blocks
    assert (FORWARD + BACKWARD) * blocks < training < 1.15 * (FORWARD + BACKWARD) * blocks
