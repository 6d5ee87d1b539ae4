"""Attention by position alone, softmax(bias) V (paper, table 4): against the formula written per token."""

import pytest
import torch
from torch import Tensor

from mmswin.backbones import SwinTransformer
from mmswin.backbones.swin import WindowAttention
from mmswin.ops.window_attention import BACKENDS

TINY = dict(embed_dims=12, depths=(2, 2), num_heads=(2, 3), strides=(4, 2), out_indices=(0, 1), window_size=4)
# Triton's kernels need a GPU.
NAMES = sorted(set(BACKENDS) - {'triton'})


def build(**changes: object) -> SwinTransformer:
    torch.manual_seed(0)
    model = SwinTransformer(**{**TINY, 'use_content_term': False, **changes})
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.double().eval()


def by_position(attention: WindowAttention, x: Tensor) -> Tensor:
    """One map ``H x W x C``, token by token: pad, shift, and weigh the values of the window by the bias alone."""
    height, width, dim = x.shape
    side, shift = attention.window[0], attention.shift[0]
    rows, columns = (-(-length // side) * side for length in (height, width))
    padded = x.new_zeros(rows, columns, dim)
    padded[:height, :width] = x
    values = attention.qkv(padded)[..., 2 * dim :].unflatten(-1, (attention.num_heads, -1))
    table = attention.relative_position_bias_table

    def region(place: int, length: int) -> int:
        return (place >= length - side) + (place >= length - shift) if shift else 0

    out = torch.zeros_like(values)
    for r in range(rows):
        for c in range(columns):
            corner = r // side * side, c // side * side
            scores, gathered = [], []
            for rr in range(corner[0], corner[0] + side):
                for cc in range(corner[1], corner[1] + side):
                    apart = (region(r, rows), region(c, columns)) != (region(rr, rows), region(cc, columns))
                    offset = (r - rr + side - 1) * (2 * side - 1) + c - cc + side - 1
                    scores.append(table[offset] - 100.0 * apart)
                    gathered.append(values[(rr + shift) % rows, (cc + shift) % columns])
            weights = torch.stack(scores).softmax(dim=0)  # tokens x heads
            out[(r + shift) % rows, (c + shift) % columns] = (weights[..., None] * torch.stack(gathered)).sum(0)
    return attention.proj(out[:height, :width].flatten(2))


@pytest.mark.parametrize('backend', NAMES)
@pytest.mark.parametrize('block', [0, 1])
@pytest.mark.parametrize('size', [(8, 4), (5, 6)])
def test_equals_the_formula(backend: str, block: int, size: tuple[int, int]) -> None:
    """In regular and shifted windows, on whole and on padded maps; values and gradients."""
    attention = build(attn_backend=backend).layers[0].blocks[block].attn
    assert attention.shift == ((2, 2) if block else (0, 0))
    x = torch.randn(1, *size, 12, dtype=torch.float64)
    gradients = []
    for found in (attention(x), by_position(attention, x[0])[None]):
        attention.zero_grad()
        found.square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in attention.parameters()])
    torch.testing.assert_close(attention(x)[0], by_position(attention, x[0]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('backend', NAMES)
def test_queries_and_keys_are_of_no_effect_and_get_no_gradient(backend: str) -> None:
    model = build(attn_backend=backend)
    image = torch.randn(1, 3, 40, 52, dtype=torch.float64)
    before = model(image)
    sum(out.square().sum() for out in before).backward()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, WindowAttention):
                width = module.proj.out_features
                assert torch.equal(module.qkv.weight.grad[: 2 * width], torch.zeros(2 * width, width).double())
                assert module.qkv.weight.grad[2 * width :].abs().sum() > 0
                assert module.relative_position_bias_table.grad.abs().sum() > 0
                module.qkv.weight[: 2 * width].normal_()
                module.qkv.bias[: 2 * width].normal_()
    for old, new in zip(before, model(image)):
        assert torch.equal(old, new)
    assert not torch.allclose(build(use_content_term=True)(image)[0], before[0])


def test_the_same_weights_fit() -> None:
    build().load_state_dict(build(use_content_term=True).state_dict(), strict=True)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(use_rel_pos_bias=False), 'leaves attention nothing to go by'),
        (dict(qk_scale=0.5), 'qk_scale=0.5 has no effect with use_content_term=False: leave it out'),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        SwinTransformer(**TINY, use_content_term=False, **arguments)
    assert message in str(error.value)
