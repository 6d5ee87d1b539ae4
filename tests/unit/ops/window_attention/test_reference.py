"""Every backend equals the reference in values and gradients, and the reference equals attention written per token."""

import pytest
import torch

from mmswin.ops.window_attention import BACKENDS, resolve_backend, window_attention

CASES = [
    # batch, height, width, window, shift
    (2, 14, 14, (7, 7), (0, 0)),
    (2, 14, 14, (7, 7), (3, 3)),
    (1, 9, 12, (7, 7), (3, 3)),
    (2, 3, 4, (7, 7), (3, 3)),
    (2, 10, 11, (4, 6), (2, 3)),
]
HEADS, WIDTH = 2, 8


def _inputs(case, dtype=torch.float64):
    torch.manual_seed(0)
    batch, height, width, window, _ = case
    tokens = window[0] * window[1]
    shapes = [(batch, height, width, 3 * WIDTH), (HEADS, tokens, tokens), (3 * WIDTH,)]
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


# The heads here are narrower than the Triton kernels', which have tests of their own.
@pytest.mark.parametrize('name', sorted(set(BACKENDS) - {'reference', 'triton'}) + ['auto'])
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('with_bias', [True, False])
def test_backends_equal_the_reference(name, case, with_bias):
    outs, gradients = [], []
    for backend in ('reference', name):
        qkv, bias, pad_value = _inputs(case)
        out = window_attention(
            qkv, bias if with_bias else None, case[3], case[4], HEADS, 0.4, pad_value, backend=resolve_backend(backend)
        )
        outs.append(out)
        out.square().sum().backward()
        gradients.append([qkv.grad, bias.grad, pad_value.grad])
    torch.testing.assert_close(outs[1], outs[0], rtol=1e-10, atol=1e-10)
    for mine, reference in zip(gradients[1], gradients[0], strict=True):
        if reference is None:
            assert mine is None
        else:
            torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('case', CASES)
def test_reference_equals_attention_by_tokens(case):
    """Each token attends to those tokens of its window that were neighbours before the shift."""
    batch, height, width, window, shift = case
    qkv, bias, pad_value = (tensor.detach() for tensor in _inputs(case))
    out = window_attention(qkv, bias, window, shift, HEADS, 0.4, pad_value)
    rows, columns = -(-height // window[0]) * window[0], -(-width // window[1]) * window[1]
    padded = pad_value.expand(batch, rows, columns, -1).clone()
    padded[:, :height, :width] = qkv
    for y, x in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        # Window of the token on the rolled, padded map, and its other tokens back on the map.
        rolled = (y - shift[0]) % rows, (x - shift[1]) % columns
        start = rolled[0] // window[0] * window[0], rolled[1] // window[1] * window[1]
        query = (rolled[0] - start[0]) * window[1] + rolled[1] - start[1]
        keys, allowed = [], []
        for r in range(start[0], start[0] + window[0]):
            for c in range(start[1], start[1] + window[1]):
                keys.append(padded[:, (r + shift[0]) % rows, (c + shift[1]) % columns])
                wrapped = (r + shift[0] >= rows, c + shift[1] >= columns)
                allowed.append(wrapped == (rolled[0] + shift[0] >= rows, rolled[1] + shift[1] >= columns))
        keys = torch.stack(keys, dim=1).reshape(batch, -1, 3, HEADS, WIDTH // HEADS)
        q = padded[:, y, x].reshape(batch, 3, HEADS, WIDTH // HEADS)[:, 0]
        scores = 0.4 * torch.einsum('bhd,bnhd->bhn', q, keys[:, :, 1]) + bias[:, query]
        scores = scores.masked_fill(~torch.tensor(allowed), -100 - 1e4)
        expected = torch.einsum('bhn,bnhd->bhd', scores.softmax(-1), keys[:, :, 2]).flatten(1)
        torch.testing.assert_close(out[:, y, x], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('name', sorted(set(BACKENDS) - {'triton'}))
def test_dropout_drops_weights_and_keeps_the_mean(name):
    case = (64, 7, 7, (7, 7), (0, 0))
    qkv, bias, pad_value = (tensor.detach() for tensor in _inputs(case))
    qkv[..., 2 * WIDTH :] = 1  # all values equal, so that the output is the sum of the weights
    out = window_attention(qkv, bias, case[3], case[4], HEADS, 0.4, pad_value, 0.5, resolve_backend(name))
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    assert out.std() > 0.1


def test_unknown_backend_lists_what_there_is():
    with pytest.raises(ValueError, match="'flash' .* 'auto', 'reference', 'sdpa', 'triton'"):
        resolve_backend('flash')


@pytest.mark.slow
def test_inductor_compiles_shifted_windows():
    qkv, bias = torch.randn(1, 16, 20, 96), torch.randn(1, 49, 49)
    arguments = (qkv, bias, (7, 7), (3, 3), 1, 0.2)
    torch.testing.assert_close(torch.compile(window_attention)(*arguments), window_attention(*arguments))
