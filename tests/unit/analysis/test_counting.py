"""Counts of single layers and of the backbone against formulas written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import DeformConv2d
from torch import nn

from mmswin.analysis.counting import MultiplyAdds, count
from mmswin.backbones import SwinTransformer
from mmswin.backbones.swin import WindowAttention
from mmswin.ops.window_attention import BACKENDS

META = torch.device('meta')


def attention(dim: int, heads: int, window: tuple[int, int], shift: tuple[int, int], backend: str) -> WindowAttention:
    with META:
        layer = WindowAttention(dim, heads, window, shift, True, None, 0.0, 0.0, True, 'reference').eval()
    layer.attend = BACKENDS[backend]  # asking by name would refuse what this machine cannot run
    return layer


class GlobalAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize(
    ('layer', 'shape', 'expected'),
    [
        (lambda: nn.Linear(6, 10), (2, 7, 6), MultiplyAdds(layers=2 * 7 * 6 * 10)),
        (lambda: nn.Linear(6, 10, bias=False), (2, 7, 6), MultiplyAdds(layers=2 * 7 * 6 * 10)),
        (
            lambda: nn.Conv2d(4, 8, 3, padding=1, groups=2),
            (2, 4, 9, 5),
            MultiplyAdds(layers=2 * 45 * 8 * 2 * 9, elementwise=2 * 45 * 8),
        ),
        (
            lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False),
            (1, 4, 9, 5),
            MultiplyAdds(layers=15 * 8 * 4 * 9),
        ),
        (
            lambda: nn.ConvTranspose2d(4, 8, 2, stride=2),
            (2, 4, 9, 5),
            MultiplyAdds(layers=2 * 45 * 4 * 8 * 4, elementwise=2 * 180 * 8),
        ),
        (
            lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            (1, 4, 6, 6),
            MultiplyAdds(elementwise=(2 + 1 + 1) * 4 * 36),
        ),
        (lambda: nn.Sequential(nn.SyncBatchNorm(4), nn.GELU()), (1, 4, 6, 6), MultiplyAdds()),
        (lambda: nn.LayerNorm(4, elementwise_affine=False), (1, 6, 4), MultiplyAdds(elementwise=24)),
        (lambda: GlobalAttention(8), (2, 11, 8), MultiplyAdds(layers=2 * 11 * 8 * 24, products=2 * 2 * 11 * 11 * 8)),
    ],
    ids=[
        'linear',
        'linear without bias',
        'grouped convolution',
        'strided convolution',
        'transposed convolution',
        'norm, rectifier, pooling',
        'not counted',
        'norm without weights',
        'global attention',
    ],
)
def test_layers(layer, shape, expected):
    with META:
        module, x = layer().eval(), torch.empty(shape)
    assert count(module, x)[1] == expected


def test_deformable_convolutions_count_as_convolutions() -> None:
    module = nn.Module()
    module.conv = DeformConv2d(4, 8, 3, padding=1).to(META)
    module.forward = lambda x, offset: module.conv(x, offset).relu()
    x, offset = torch.empty(2, 4, 9, 5, device=META), torch.empty(2, 18, 9, 5, device=META)
    output, counted = count(module, x, offset)
    assert output.shape == (2, 8, 9, 5) and counted == MultiplyAdds(layers=2 * 45 * 8 * 4 * 9)
    assert 'forward' not in vars(module.conv)


@pytest.mark.parametrize('fast_path', [True, False])
def test_torch_own_attention_is_not_lost_in_a_fused_path(fast_path):
    with META:
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=fast_path).eval()
        x = torch.empty(3, 5, 16)
    batch, tokens = (3, 5) if fast_path else (5, 3)
    cost = count(layer, x)[1]
    assert cost.layers == 15 * (4 * 16 * 16 + 2 * 16 * 32)
    assert cost.products == batch * 2 * tokens * tokens * 16


@pytest.mark.parametrize('backend', sorted(BACKENDS))
@pytest.mark.parametrize(('height', 'width', 'shift'), [(9, 14, (0, 0)), (8, 15, (2, 3)), (3, 2, (2, 3))])
def test_window_attention_whatever_computes_it(backend, height, width, shift):
    dim, window, batch = 12, (4, 7), 2
    padded = -(-height // 4) * 4 * -(-width // 7) * 7
    layer = attention(dim, 3, window, shift, backend)
    computes = layer.attend
    output, cost = count(layer, torch.empty(batch, height, width, dim, device=META))
    assert output.shape == (batch, height, width, dim)
    assert layer.attend is computes
    assert cost.layers == batch * height * width * 4 * dim * dim
    assert cost.products == batch * 2 * padded * 28 * dim
    assert cost.padding == batch * (padded - height * width) * 4 * dim * dim
    assert cost.computed + cost.padding == cost.published == batch * padded * (4 * dim * dim + 2 * 28 * dim)


def test_the_formula_is_what_the_reference_backend_multiplies(monkeypatch):
    """The counter sees into the reference backend; where it does, it finds what the formula says."""
    layer = attention(12, 3, (4, 7), (2, 3), 'reference')
    x = torch.empty(2, 9, 15, 12, device=META)
    by_formula = count(layer, x)[1]
    monkeypatch.setattr('mmswin.analysis.counting.WindowAttention', type('Other', (), {}))
    seen = count(layer, x)[1]
    assert (seen.layers, seen.products) == (by_formula.layers, by_formula.products)
    assert seen.padding == 0


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match='meta device, not on cpu'):
        count(nn.Linear(2, 2), torch.empty(1, 2, device=META))
    with META:
        layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='meta device, not on cpu'):
        count(layer, torch.empty(1, 2))


def test_backends_are_put_back_after_an_error():
    layer = attention(12, 3, (4, 4), (0, 0), 'reference')
    computes = layer.attend
    with pytest.raises(RuntimeError):
        count(layer, torch.empty(1, 4, 4, 5, device=META))
    assert layer.attend is computes
    assert not layer._forward_hooks


def test_swin_t_at_224_as_the_paper_states_it():
    """4.5 G at 224x224, where nothing is padded; the classifier's 0.8 M are not in it. 28.3 M with it, 27.5 without."""
    with META:
        model = SwinTransformer(arch='tiny').eval()
    cost = count(model, torch.empty(1, 3, 224, 224, device=META))[1]
    assert cost.padding == 0
    assert round(cost.published / 1e9, 1) == 4.5
    dims, depths, sides = (96, 192, 384, 768), (2, 2, 6, 2), (56, 28, 14, 7)
    blocks = sum(n * s * s * (12 * c * c) for c, n, s in zip(dims, depths, sides))
    merging = sum((s // 2) ** 2 * 4 * c * 2 * c for c, s in zip(dims[:3], sides))
    assert cost.layers == blocks + merging + 56 * 56 * 48 * 96
    assert cost.products == sum(n * s * s * 2 * 49 * c for c, n, s in zip(dims, depths, sides))
