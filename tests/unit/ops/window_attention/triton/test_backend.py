"""The Triton kernels equal the reference in values and gradients; on a GPU where there is one, else interpreted.

The interpreter takes a tenth of a second for a window: maps are as small as the cases allow.
"""

import sys
import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmswin.backbones import SwinTransformer
from mmswin.ops.window_attention import reference, resolve_backend, window_attention
from mmswin.ops.window_attention.triton import backend as triton_backend

if sys.platform != 'linux':
    pytest.skip('Triton has wheels for Linux alone', allow_module_level=True)

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from mmswin.ops.window_attention.triton.kernels import place  # noqa: E402

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
WIDTH = 32  # of a head
TRITON = resolve_backend('triton')

# batch, height, width, window, shift, heads
CASES = {
    'unpadded': (2, 7, 14, (7, 7), (0, 0), 2),
    'shifted': (1, 14, 14, (7, 7), (3, 3), 1),
    'padded': (1, 9, 12, (7, 7), (0, 0), 1),
    'padded and shifted': (2, 9, 12, (7, 7), (3, 3), 1),
    'smaller than a window': (2, 3, 4, (7, 7), (3, 3), 3),
    'one row': (1, 1, 15, (7, 7), (3, 3), 1),
    'window 8': (1, 9, 8, (8, 8), (4, 4), 2),
    'rectangle': (1, 5, 9, (4, 7), (2, 3), 2),
    'shifted one way': (1, 5, 9, (1, 4), (0, 2), 1),
    'window 12': (1, 13, 12, (12, 12), (6, 6), 1),
    'window 16': (1, 15, 16, (16, 16), (8, 8), 1),
    'tiles that do not fill': (1, 6, 11, (6, 11), (3, 5), 1),
}


def _inputs(case, dtype, grad=True):
    torch.manual_seed(0)
    batch, height, width, window, _, heads = case
    tokens, channels = window[0] * window[1], heads * WIDTH
    shapes = [(batch, height, width, 3 * channels), (heads, tokens, tokens), (3 * channels,)]
    return [torch.randn(shape).to(DEVICE, dtype).requires_grad_(grad) for shape in shapes]


def _run(backend, case, dtype, with_bias=True, with_pad=True, scale=WIDTH**-0.5, inputs=None):
    """Values, then the gradients of qkv, bias and pad_value (zeros where a reference has none)."""
    qkv, bias, pad_value = (
        tensor.detach().to(dtype).requires_grad_() for tensor in inputs or _inputs(case, dtype, grad=False)
    )
    out = window_attention(
        qkv, bias if with_bias else None, *case[3:5], case[5], scale, pad_value if with_pad else None, 0.0, backend
    )
    torch.manual_seed(1)
    out.backward(torch.randn(out.shape).to(out))
    return [out.detach()] + [torch.zeros_like(x) if x.grad is None else x.grad for x in (qkv, bias, pad_value)]


def _close(mine, expected, tolerance):
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('name', CASES)
def test_values_and_gradients_equal_the_reference(name):
    case = CASES[name]
    expected = _run(reference.attend, case, torch.float64)
    assert expected[2].abs().max() > 0
    _close(_run(TRITON, case, torch.float64), expected, 1e-12)


@pytest.mark.parametrize(
    'options', [dict(with_bias=False), dict(with_pad=False), dict(scale=0.0), dict(with_bias=False, with_pad=False)]
)
@pytest.mark.parametrize('name', ['padded and shifted', 'tiles that do not fill'])
def test_without_bias_padding_value_or_content(name, options):
    expected = _run(reference.attend, CASES[name], torch.float64, **options)
    _close(_run(TRITON, CASES[name], torch.float64, **options), expected, 1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['padded and shifted', 'tiles that do not fill'])
def test_error_is_of_the_references_size(name, dtype):
    inputs = _inputs(CASES[name], dtype, grad=False)
    exact = _run(reference.attend, CASES[name], torch.float64, inputs=inputs)
    plain = _run(reference.attend, CASES[name], dtype, inputs=inputs)
    mine = _run(TRITON, CASES[name], dtype, inputs=inputs)
    for ours, theirs, truth in zip(mine, plain, exact, strict=True):
        assert ours.dtype == dtype
        error, own = ((tensor.double() - truth).square().mean().sqrt().item() for tensor in (ours, theirs))
        # Sums of tiles and, in the interpreter, cutting float32 off to bfloat16 instead of rounding cost a little.
        assert error <= 2 * own


@pytest.mark.parametrize('name', ['padded and shifted', 'tiles that do not fill'])
def test_two_runs_are_equal_to_the_bit(name):
    first, second = (_run(TRITON, CASES[name], torch.float32) for _ in range(2))
    _close(first, second, 0)


def test_partial_sums_are_made():
    """The cases would prove little about sums over programs if one program had all the windows."""
    from mmswin.ops.window_attention.triton.op import Call

    qkv, bias, pad_value = _inputs(CASES['padded and shifted'], torch.float32)
    call = Call(qkv, pad_value, bias, (7, 7), (3, 3), 1, 1.0)
    assert 1 < call.strips('backward', 1) <= call.windows == 8
    if DEVICE == 'cpu':
        assert call.strips('backward', 1) < call.windows


@pytest.mark.parametrize('needed', [(True, False, False), (False, True, False), (False, False, True)])
def test_only_the_gradients_asked_for(needed):
    tensors = [x.requires_grad_(want) for x, want in zip(_inputs(CASES['one row'], torch.float64, False), needed)]
    expected = _run(reference.attend, CASES['one row'], torch.float64)[1:]
    out = window_attention(tensors[0], tensors[1], (7, 7), (3, 3), 1, WIDTH**-0.5, tensors[2], 0.0, TRITON)
    torch.manual_seed(1)
    out.backward(torch.randn(out.shape).to(out))
    for tensor, want, gradient in zip(tensors, needed, expected, strict=True):
        if want:
            torch.testing.assert_close(tensor.grad, gradient, rtol=1e-12, atol=1e-12)
        else:
            assert tensor.grad is None


def test_strided_inputs_and_gradients():
    case = CASES['rectangle']
    qkv, bias, pad_value = _inputs(case, torch.float64, grad=False)
    grad = torch.randn(1, WIDTH * 2, 5, 9, dtype=torch.float64, device=DEVICE).permute(0, 2, 3, 1)
    results = []
    for backend in (reference.attend, TRITON):
        strided = qkv.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3).requires_grad_()
        tables = bias.permute(1, 2, 0).contiguous().permute(2, 0, 1).requires_grad_()
        same = pad_value[:1].expand(len(pad_value))
        assert not strided.is_contiguous() and not tables.is_contiguous() and not same.is_contiguous()
        out = window_attention(strided, tables, *case[3:5], 2, 0.2, same, 0.0, backend)
        results.append([out.detach(), *torch.autograd.grad(out, (strided, tables), grad)])
    _close(*results, 1e-12)


def test_gradients_of_gradients_are_the_references():
    qkv, bias, pad_value = _inputs((1, 2, 3, (2, 2), (1, 1), 1), torch.float64)
    gradients = []
    for backend in (reference.attend, TRITON):
        out = window_attention(qkv, bias, (2, 2), (1, 1), 1, 0.2, pad_value, 0.0, backend)
        first = torch.autograd.grad(out.square().sum(), (qkv, bias, pad_value), create_graph=True)
        penalty = sum(gradient.square().sum() for gradient in first)
        gradients.append([*first, *torch.autograd.grad(penalty, (qkv, bias, pad_value))])
    _close(*gradients, 1e-10)


def test_dropout_heads_and_large_windows_go_another_way_and_say_so():
    triton_backend.announce.cache_clear()
    qkv, bias, pad_value = _inputs(CASES['smaller than a window'], torch.float32)
    with pytest.warns(UserWarning, match="leaves this to 'reference': it has no attention dropout"):
        torch.manual_seed(0)
        dropped = window_attention(qkv, bias, (7, 7), (3, 3), 3, 0.2, pad_value, 0.5, TRITON)
    torch.manual_seed(0)
    torch.testing.assert_close(dropped, window_attention(qkv, bias, (7, 7), (3, 3), 3, 0.2, pad_value, 0.5))
    with pytest.warns(UserWarning, match='heads are 32 wide, and these are 96'):
        window_attention(qkv, None, (7, 7), (3, 3), 1, 0.2, pad_value, 0.0, TRITON)
    with pytest.warns(UserWarning, match='at most 256 tokens, and 17 x 17 are more'):
        assert resolve_backend('triton', 32, (17, 17)) is reference.attend
    with pytest.warns(UserWarning, match='heads are 32 wide, and these are 24'):
        _tiny('triton', embed_dims=24, depths=(1, 1), num_heads=(1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # once is enough
        window_attention(qkv, bias, (7, 7), (3, 3), 3, 0.2, pad_value, 0.5, TRITON)
        assert resolve_backend('triton', 32, (16, 16)) is TRITON


def test_a_missing_triton_is_named(monkeypatch):
    monkeypatch.setattr(triton_backend, 'unavailable', lambda: 'the package triton is not installed')
    message = "'triton' is not available: the package triton .* choose one of 'auto', 'reference', 'sdpa'$"
    with pytest.raises(ValueError, match=message):
        resolve_backend('triton')


def test_the_operator_passes_torchs_checks():
    qkv, bias, pad_value = _inputs((1, 3, 2, (2, 2), (1, 1), 1), torch.float32)
    arguments = (qkv, pad_value, bias, [2, 2], [1, 1], 1, 0.2)
    torch.library.opcheck(torch.ops.mmswin.window_attention.default, arguments)


def test_compiled_with_sizes_as_symbols():
    def loss(qkv, bias, pad_value, backend):
        return window_attention(qkv, bias, (2, 3), (1, 1), 1, 0.2, pad_value, 0.0, backend).square().sum()

    compiled = torch.compile(loss, backend='aot_eager', fullgraph=True, dynamic=True)
    for height, width in [(3, 4), (2, 5), (5, 3)]:
        tensors = _inputs((1, height, width, (2, 3), (1, 1), 1), torch.float64)
        mine = torch.autograd.grad(compiled(*tensors, TRITON), tensors)
        _close(mine, torch.autograd.grad(loss(*tensors, reference.attend), tensors), 1e-10)


def test_exported_with_sizes_as_symbols():
    class Attention(torch.nn.Module):
        def forward(self, qkv, bias, pad_value):
            return window_attention(qkv, bias, (2, 2), (1, 1), 1, 0.2, pad_value, 0.0, TRITON)

    tensors = _inputs((1, 6, 8, (2, 2), (1, 1), 1), torch.float32, grad=False)
    sizes = {1: torch.export.Dim('height', min=3, max=4096), 2: torch.export.Dim('width', min=3, max=4096)}
    program = torch.export.export(Attention(), tuple(tensors), dynamic_shapes=(sizes, None, None))
    assert 'mmswin.window_attention' in program.graph_module.code
    tensors = _inputs((1, 3, 5, (2, 2), (1, 1), 1), torch.float32, grad=False)
    _close([program.module()(*tensors)], [window_attention(*tensors[:2], (2, 2), (1, 1), 1, 0.2, tensors[2])], 1e-5)


def test_flops_are_counted():
    tensors = _inputs((2, 3, 5, (2, 2), (1, 1), 1), torch.float32)
    with FlopCounterMode(display=False) as counter:
        out = window_attention(*tensors[:2], (2, 2), (1, 1), 1, 0.2, tensors[2], 0.0, TRITON)
        forward = counter.get_total_flops()
        out.sum().backward()
    # Two products of multiply-adds, padded tokens x window area x C each; torch counts a multiply-add as two.
    assert forward == 2 * 2 * (2 * 4 * 6) * 4 * WIDTH
    assert counter.get_total_flops() == forward + 5 * forward // 2


@triton.jit
def _probe(out, window, height, width, down, across, C: tl.constexpr):
    slot = tl.arange(0, 64)
    token, inside = place(slot, window, height, width, down, across, 7, 7, 3, 3)
    tl.store(out + slot, tl.where(inside, token * (3 * C), -1), mask=slot < 49)


def test_tokens_of_maps_beyond_32_bits():
    """More numbers than an int32 counts: only the index arithmetic runs, the map is not there."""
    height, width, channels, image, window = 4001, 4000, 128, 3, (570, 571)  # the last but one of its row
    found = torch.zeros(49, dtype=torch.int64, device=DEVICE)
    down, across = -(-height // 7), -(-width // 7)
    _probe[(1,)](found, (image * down + window[0]) * across + window[1] - 1, height, width, down, across, C=channels)
    rows = [(window[0] * 7 + slot // 7 + 3) % (down * 7) for slot in range(49)]
    columns = [((window[1] - 1) * 7 + slot % 7 + 3) % (across * 7) for slot in range(49)]
    expected = [
        ((image * height + y) * width + x) * 3 * channels if y < height and x < width else -1
        for y, x in zip(rows, columns, strict=True)
    ]
    assert max(expected) > 2**34
    assert found.tolist() == expected


def _tiny(backend, **options):
    torch.manual_seed(0)
    arguments = dict(embed_dims=32, depths=(2, 2), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1), window_size=4)
    model = SwinTransformer(**{**arguments, **options}, drop_path_rate=0.0, attn_backend=backend)
    model.init_weights()
    for name, parameter in model.named_parameters():
        if 'bias' in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.to(DEVICE)


@pytest.mark.parametrize('options', [{}, dict(use_rel_pos_bias=False), dict(qkv_bias=False), dict(qk_scale=0.0)])
def test_whole_backbone(options):
    models = [_tiny(backend, **options).double() for backend in ('reference', 'triton')]
    image = torch.randn(1, 3, 22, 27, dtype=torch.float64, device=DEVICE)
    results = []
    for model in models:
        outs = model(image)
        sum(out.square().mean() for out in outs).backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        assert all(gradient is not None for gradient in gradients.values())
        results.append([*outs, *gradients.values()])
    _close(*results, 1e-10)


def test_under_autocast():
    image = torch.randn(1, 3, 14, 18, device=DEVICE)
    results, kinds = [], []
    for backend in ('reference', 'triton'):
        model = _tiny(backend, depths=(1, 1))
        model.layers[0].blocks[0].attn.proj.register_forward_pre_hook(lambda _, x: kinds.append(x[0].dtype))
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            outs = model(image)
        sum(out.float().square().mean() for out in outs).backward()
        table = model.layers[0].blocks[0].attn.relative_position_bias_table
        assert table.grad.dtype == torch.float32
        results.append([out.detach() for out in outs] + [table.grad])
    assert kinds == [torch.bfloat16, torch.bfloat16]
    for mine, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=0.05 * expected.abs().max().item())


def test_float32_maps_follow_autocast():
    qkv, bias, pad_value = _inputs((1, 2, 2, (2, 2), (0, 0), 1), torch.float32)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        outs = [
            window_attention(qkv, bias, (2, 2), (0, 0), 1, 0.2, pad_value, 0.0, backend)
            for backend in (reference.attend, TRITON)
        ]
    assert outs[0].dtype == outs[1].dtype == torch.bfloat16
    torch.testing.assert_close(outs[1], outs[0], rtol=0.03, atol=0.03)
