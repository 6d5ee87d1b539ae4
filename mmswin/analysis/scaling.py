"""How the cost of attention grows with the image: inside windows, and over the whole map (paper, equations 1 and 2).

Both layers have the same parameters. Multiply-adds are counted, and on request time is measured, on maps of whole
windows, as many in a row as in a column, so that no padding blurs the law.
"""

import statistics
import timeit
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmswin.analysis.counting import META, count
from mmswin.analysis.protocol import build_on_meta
from mmswin.backbones.swin import WindowAttention
from mmswin.errors import RunError

# Both layers run through the same kernel, which keeps no matrix of all scores.
BACKEND = 'sdpa'
NUM_SIZES = 8
MAX_TOKENS = 16384
ROUNDS = 5


@dataclass
class Sweep:
    """Costs of both kinds of attention over map sizes; lists of equal length.

    Attributes:
        dim: Width C.
        window: Rows and columns of a window, in tokens.
        patch: Rows and columns of a patch, in pixels.
        tokens: hw, tokens of the map.
        counted: For ``windows`` and ``global``, multiply-adds.
        seconds: For both, the median time of a forward pass; empty if it was not measured.
    """

    dim: int
    window: tuple[int, int]
    patch: tuple[int, int]
    tokens: list[int]
    counted: dict[str, list[int]] = field(default_factory=lambda: {'windows': [], 'global': []})
    seconds: dict[str, list[float]] = field(default_factory=lambda: {'windows': [], 'global': []})

    def formula(self, kind: str, tokens: float) -> float:
        """Equation 1 (``global``: 4hwC^2 + 2(hw)^2 C) or 2 (``windows``: 4hwC^2 + 2M^2 hwC)."""
        others = tokens if kind == 'global' else self.window[0] * self.window[1]
        return 4 * tokens * self.dim**2 + 2 * others * tokens * self.dim

    def exponent(self, values: Sequence[float]) -> float:
        """The power of the number of pixels with which ``values`` grow.

        The slope of a straight line through the logarithms of the larger half of the sizes.
        """
        first = len(values) // 2
        return float(np.polyfit(np.log(self.tokens[first:]), np.log(values[first:]), 1)[0])


def first_attention(cfg: Config) -> tuple[WindowAttention, tuple[int, int]]:
    """The first attention layer of a config's backbone, on the meta device, and the patch size.

    Raises:
        RunError: The backbone is not this package's Swin.
    """
    backbone = build_on_meta(cfg).backbone
    like = next((layer for layer in backbone.modules() if isinstance(layer, WindowAttention)), None)
    if like is None:
        raise RunError(
            f'--sweep compares window attention with global attention, and the backbone of this config is '
            f'a {type(backbone).__name__}; name a config with a mmswin.SwinTransformer'
        )
    return like, backbone.patch_embed.patch_size


def over_map(layer: WindowAttention, kind: str, size: tuple[int, int]) -> WindowAttention:
    """A fresh layer like this one over a map of this size: inside its ``windows``, or in one as large as the map (``global``).

    Neither has a shift or a position term.
    """
    window = size if kind == 'global' else layer.window
    dim, heads = layer.qkv.in_features, layer.num_heads
    return WindowAttention(dim, heads, window, (0, 0), True, None, 0.0, 0.0, False, BACKEND).eval()


def map_sizes(window: tuple[int, int], limit: int, number: int = NUM_SIZES) -> list[tuple[int, int]]:
    """Rows and columns of up to ``number`` maps of whole windows, from 2x2 windows up to ``limit`` tokens."""
    most = max(2, int((limit / (window[0] * window[1])) ** 0.5))
    factors = sorted({round(float(factor)) for factor in np.geomspace(2, most, number)})
    return [(factor * window[0], factor * window[1]) for factor in factors]


def sweep(layer: WindowAttention, patch: tuple[int, int], limit: int = MAX_TOKENS, timed: bool = False) -> Sweep:
    """Count, and on request time, both kinds of attention over growing maps.

    Args:
        layer: The window attention; its sizes alone are asked for.
        patch: Pixels of a token, rows and columns.
        limit: Tokens of the largest map.
        timed: Whether to measure as well.
    """
    sizes = map_sizes(layer.window, limit)
    found = Sweep(layer.qkv.in_features, layer.window, patch, [rows * columns for rows, columns in sizes])
    for kind, values in found.counted.items():
        for size in sizes:
            with META:
                values.append(count(over_map(layer, kind, size), torch.empty(1, *size, found.dim))[1].computed)
    for size in sizes if timed else ():
        x = torch.randn(1, *size, found.dim)
        for kind, seconds in found.seconds.items():
            seconds.append(_median_seconds(over_map(layer, kind, size), x))
    return found


def _median_seconds(module: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        module(x)
        return statistics.median(timeit.repeat(lambda: module(x), number=1, repeat=ROUNDS))
