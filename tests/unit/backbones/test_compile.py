"""torch.compile takes the whole backbone: no graph breaks, two compilations over many sizes, results as uncompiled."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from mmswin.backbones import SwinTransformer

SMALL = dict(
    embed_dims=32, depths=(2,), num_heads=(1,), strides=(4,), out_indices=(0,), window_size=4, drop_path_rate=0.0
)
TWO_STAGES = dict(SMALL, depths=(2, 1), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1))
# Whole windows, padded ones, and sides that are no multiples of the patch.
SIZES = [(64, 96), (96, 64), (61, 45), (33, 130), (80, 80), (100, 76)]


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def build(train: bool, **arguments) -> SwinTransformer:
    torch.manual_seed(0)
    model = SwinTransformer(**arguments)
    model.init_weights()
    for parameter in model.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return model.train(train)


def results(forward, model: SwinTransformer, image: Tensor) -> list[Tensor]:
    """The maps, and in training the gradients of the parameters that are not frozen."""
    torch.manual_seed(1)
    if not model.training:
        with torch.no_grad():
            return list(forward(image))
    maps = forward(image)
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [*maps, *torch.autograd.grad(sum(out.square().mean() for out in maps), wanted)]


def compare(model: SwinTransformer, backend: str, sizes: list[tuple[int, int]]) -> int:
    """Compare compiled with uncompiled at every size; returns the number of graphs. A graph break is an error."""
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for size in sizes:
        image = torch.randn(2, 3, *size)
        for found, expected in zip(results(compiled, model, image), results(model, model, image), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    return counter.frame_count


def test_inference_over_six_sizes_compiles_twice():
    # The second compilation is for sizes as symbols.
    assert compare(build(False, **SMALL), 'eager', SIZES) == 2


@pytest.mark.parametrize('change', [
    dict(with_cp=True), dict(drop_path_rate=0.5), dict(use_rel_pos_bias=False, window_size=(3, 5)),
    dict(frozen_stages=1, out_indices=(1,), depths=(1, 1), num_heads=(1, 2), strides=(4, 2)),
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_options_break_no_graph(change):
    assert compare(build(True, **{**SMALL, **change}), 'eager', SIZES[2:3]) == 1


def test_autocast_reaches_compiled_blocks():
    model = build(False, **SMALL)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    image = torch.randn(1, 3, 32, 32)
    with torch.autocast('cpu', torch.bfloat16):
        expected, found = results(model, model, image), results(compiled, model, image)
    assert found[0].dtype == expected[0].dtype
    exact = results(model, model, image)[0]
    errors = [(out[0] - exact).abs().max() for out in (found, expected)]
    assert 1e-4 < errors[0] < 2 * errors[1]


def test_hooks_are_called_and_break_no_graph():
    model = build(False, **SMALL)
    seen = []
    model.layers[0].blocks[0].attn.register_forward_hook(lambda module, given, out: seen.append(out.shape) or 2 * out)
    image = torch.randn(1, 3, 32, 32)
    expected = results(model, model, image)[0]
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    torch.testing.assert_close(results(compiled, model, image)[0], expected)
    assert seen == [(1, 8, 8, 32)] * 2


@pytest.mark.slow
def test_training_over_six_sizes_compiles_twice():
    assert compare(build(True, **TWO_STAGES), 'eager', SIZES) == 2


@pytest.mark.slow
@pytest.mark.parametrize('train', [False, True])
def test_inductor(train):
    assert compare(build(train, **SMALL), 'inductor', SIZES[2:3]) == 1
