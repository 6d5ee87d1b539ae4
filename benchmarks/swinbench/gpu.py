"""What is to be known of a GPU first: whether every attention backend computes what ``reference`` does, and the headline."""

from typing import Any

import torch
from torch import Tensor

from mmswin.backbones import SwinTransformer
from swinbench.cases import Case, Repetition, error
from swinbench.implementations import randomize

# Window, image, and what else is set: maps that are padded, that are whole windows, and smaller than a window.
GEOMETRIES: tuple[tuple[int, tuple[int, int, int], dict[str, bool]], ...] = (
    (7, (2, 100, 140), {}),
    (7, (1, 224, 224), {}),
    (7, (1, 20, 60), {'qkv_bias': False}),
    (12, (1, 200, 130), {}),
    (8, (1, 100, 72), {'with_cp': True}),
)
# An error may be so many times that of `reference` in the same type.
MARGIN = 2.0
HEADLINE = ('mmdet', 'mmdet+compile', 'mmswin', 'mmswin+compile', 'mmswin-sdpa', 'torchvision+compile', 'timm+compile',
            'transformers+compile')  # fmt: skip


def check(backend: str, device: str) -> dict[str, Any]:
    """Compare a backend in two stages of a Swin with ``reference`` in float64: maps, and gradients by kinds of parameters.

    ``errors`` are the backend's and ``reference``'s own, root mean square over root mean square.
    """
    rows = []
    for geometry in GEOMETRIES:
        exact = _compute('reference', *geometry, 'float64', device)
        for precision in ('float32', 'bfloat16', 'float16'):
            found, plain = (_compute(name, *geometry, precision, device) for name in (backend, 'reference'))
            errors = {key: [error([one[key]], [exact[key]]) for one in (found, plain)] for key in exact}
            agrees = all(ours <= MARGIN * theirs + 1e-7 for ours, theirs in errors.values())
            rows.append({'case': [*geometry, precision], 'agrees': agrees, 'errors': errors})
    return {'agrees': all(row['agrees'] for row in rows), 'rows': rows}


def _compute(
    backend: str, window: int, size: tuple[int, int, int], options: dict[str, bool], precision: str, device: str
) -> dict[str, Tensor]:
    model = SwinTransformer(
        embed_dims=64, depths=(2, 2), num_heads=(2, 4), strides=(4, 2), out_indices=(0, 1), window_size=window,
        drop_path_rate=0.0, attn_backend=backend, **options)  # fmt: skip
    repetition = Repetition(randomize(model).to(device), Case('T', window, size, 'training', precision, device))
    if precision == 'float64':
        model.double()
        repetition.image = repetition.image.double()
    groups = {'maps': repetition.outputs()[:2], 'bias_table': [], 'qkv': [], 'others': []}
    for name, parameter in model.named_parameters():
        groups[next((key for key in groups if key in name), 'others')].append(parameter.grad)
    return {key: torch.cat([t.double().cpu().flatten() for t in tensors]) for key, tensors in groups.items()}
