"""Attention with gradients on a CPU: the reference's values and gradients, of the first and the second order."""

import pytest
import torch

from mmswin.ops.cpu import attention
from mmswin.ops.window_attention import reference
from mmswin.ops.windows import window_plan

HEADS, WIDTH = 2, 8


def _inputs(dtype=torch.float64):
    torch.manual_seed(0)
    shapes = [(2, 5, 6, 3 * WIDTH), (3 * WIDTH,), (HEADS, 12, 12)]
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def _mine(qkv, value, bias, shift):
    return attention.attend(qkv, value, bias, window_plan(5, 6, (3, 4), shift), HEADS, 0.4)


def _reference(qkv, value, bias, shift):
    return reference.attend(qkv, value, bias, window_plan(5, 6, (3, 4), shift), HEADS, 0.4, 0.0)


@pytest.mark.parametrize('private', [True, False])
@pytest.mark.parametrize('shift', [(0, 0), (1, 2)])
@pytest.mark.parametrize('create_graph', [False, True])
@pytest.mark.parametrize('asked', [(0, 1, 2), (0,), (2,)])
def test_values_and_gradients(private, shift, create_graph, asked, monkeypatch):
    if not private:  # a torch without the name
        monkeypatch.delattr(torch, '_softmax_backward_data')
    found = []
    for attend in (_mine, _reference):
        tensors = [t if i in asked else t.detach() for i, t in enumerate(_inputs())]
        out = attend(*tensors, shift)
        grads = torch.autograd.grad(out.sin().sum(), [tensors[i] for i in asked], create_graph=create_graph)
        found.append([out, *grads])
        if create_graph:
            found[-1].append(torch.autograd.grad(sum(g.square().sum() for g in grads), tensors[asked[0]])[0])
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def test_without_bias_and_padding():
    qkv, _, _ = _inputs(torch.float32)
    results = []
    for attend, more in ((attention.attend, ()), (reference.attend, (0.0,))):
        out = attend(qkv, None, None, window_plan(5, 6, (5, 3), (0, 0)), HEADS, 0.4, *more)
        results.append([out, *torch.autograd.grad(out.square().sum(), qkv)])
    torch.testing.assert_close(results[0], results[1])
