"""The sides of a benchmark: mmswin's backends and other libraries' Swins, all with the same weights.

A side is named ``LIBRARY`` or ``LIBRARY-VARIANT``, with ``+compile`` appended for torch.compile. Each returns the same
four maps, normalised, as contiguous ``B x C x H x W``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmswin.backbones.swin import VARIANTS, SwinTransformer
from mmswin.benchmark.mmdet_swin import swin_class
from mmswin.checkpoints.convert import to_format
from mmswin.checkpoints.formats import OPENMMLAB, TIMM, TORCHVISION, TRANSFORMERS, Format
from mmswin.conversion.torchvision_operators import IMPORTED_BY, make_importable
from mmswin.ops.window_attention import BACKENDS

COMPILED = '+compile'


class Unavailable(Exception):
    """A side that cannot take part, with the reason."""


class Spec(NamedTuple):
    """What every side is built to."""

    arch: str
    window_size: int
    drop_path_rate: float


def source_model(spec: Spec) -> SwinTransformer:
    """The backbone whose weights all sides get: random, with biases and norms that are not trivial.

    Raises:
        ValueError: Unknown variant.
    """
    if spec.arch not in VARIANTS:
        raise ValueError(f'arch {spec.arch!r} is unknown; choose one of {", ".join(map(repr, VARIANTS))}')
    model = _ours(spec, 'reference')
    make_visible(model)
    return model


def make_visible(model: nn.Module) -> None:
    """Fill a backbone with random weights, always the same, in which no bias and no norm is trivial."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_scale = 'norm' in name and name.endswith('weight')
        # 1 / sqrt(fan in) keeps activations of order one through all blocks; the table gets a visible bias.
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        spread = 0.5 if name.endswith('bias_table') else fan_in**-0.5 if parameter.dim() > 1 else 0.1
        parameter.data.copy_(float(is_scale) + spread * noise)


def _ours(spec: Spec, backend: str) -> SwinTransformer:
    return SwinTransformer(
        arch=spec.arch, window_size=spec.window_size, drop_path_rate=spec.drop_path_rate, attn_backend=backend
    )


class _Maps(nn.Module):
    """Another library's stages, given the output norms that a dense-prediction backbone has.

    ``stages`` maps an image to four maps ``B x H x W x C``.
    """

    def __init__(self, stages: nn.Module, dims: Sequence[int], take: Sequence[int] | None = None) -> None:
        super().__init__()
        self.stages = stages
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in dims)
        self._take = take

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``B x 3 x H x W`` to four maps ``B x C x H x W``."""
        if self._take is None:
            maps = self.stages(image)
        else:  # a sequence of which some steps are maps
            maps, x = [], image
            for number, step in enumerate(self.stages):
                x = step(x)
                if number in self._take:
                    maps.append(x)
        return tuple(norm(m).permute(0, 3, 1, 2).contiguous() for norm, m in zip(self.norms, maps))


class _FeatureMaps(nn.Module):
    """transformers' backbone, returning its maps as a tuple."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``B x 3 x H x W`` to four maps ``B x C x H x W``."""
        return tuple(m.contiguous() for m in self.backbone(image).feature_maps)


def _load(model: nn.Module, tensors: Mapping[str, Tensor], form: Format) -> None:
    """Load our tensors under a library's names; indices and masks are its own, and nothing else may be missing."""
    missing, unexpected = model.load_state_dict(to_format(tensors, form), strict=False)
    derived = ('relative_position_index', 'attn_mask')
    missing = [name for name in missing if not name.endswith(derived)]
    unexpected = [name for name in unexpected if not name.rpartition('.')[0].startswith('norm')]
    if missing or unexpected:
        raise Unavailable(f'the weights do not fit, the first is {(missing or unexpected)[0]}')


def _output_norms(model: _Maps, tensors: Mapping[str, Tensor]) -> None:
    for number, norm in enumerate(model.norms):
        norm.load_state_dict({part: tensors[f'norm{number}.{part}'] for part in ('weight', 'bias')})


def _mmswin(spec: Spec, tensors: Mapping[str, Tensor], backend: str) -> nn.Module:
    model = _ours(spec, backend)
    model.load_state_dict(tensors)
    return model


def _structure(spec: Spec) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    variant = VARIANTS[spec.arch]
    return variant['embed_dims'], variant['depths'], variant['num_heads']


def _mmdet(spec: Spec, tensors: Mapping[str, Tensor]) -> nn.Module:
    dims, depths, heads = _structure(spec)
    model = swin_class()(
        embed_dims=dims,
        depths=depths,
        num_heads=heads,
        window_size=spec.window_size,
        drop_path_rate=spec.drop_path_rate,
    )
    _load(model, tensors, OPENMMLAB)
    return model


def _transformers(spec: Spec, tensors: Mapping[str, Tensor], attention: str) -> nn.Module:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    dims, depths, heads = _structure(spec)
    config = transformers.SwinConfig(
        embed_dim=dims,
        depths=list(depths),
        num_heads=list(heads),
        window_size=spec.window_size,
        drop_path_rate=spec.drop_path_rate,
        out_features=[f'stage{number}' for number in range(1, 5)],
        attn_implementation=attention,
    )
    # Its own loader, because it changes names between its files and its memory.
    model, report = transformers.SwinBackbone.from_pretrained(
        None, config=config, state_dict=to_format(tensors, TRANSFORMERS), output_loading_info=True
    )
    missing = [name for name in report['missing_keys'] if not name.endswith('relative_position_index')]
    if missing or report['mismatched_keys']:
        raise Unavailable(f'the weights do not fit: {[*missing, *report["mismatched_keys"]][:3]}')
    return _FeatureMaps(model)


def _timm(spec: Spec, tensors: Mapping[str, Tensor], fused: bool) -> nn.Module:
    import timm
    from timm.layers import set_fused_attn

    dims, depths, heads = _structure(spec)
    set_fused_attn(fused, experimental=fused)  # read while the model is built
    try:
        # Images of any size, and a shift in every stage, as in dense prediction.
        stages = timm.create_model(
            'swin_tiny_patch4_window7_224',
            pretrained=False,
            features_only=True,
            embed_dim=dims,
            depths=depths,
            num_heads=heads,
            window_size=spec.window_size,
            drop_path_rate=spec.drop_path_rate,
            strict_img_size=False,
            always_partition=True,
        )
    finally:
        set_fused_attn(True)
    maps = _Maps(stages, [dims * 2**number for number in range(4)])
    names = {name.replace('layers.', 'layers_', 1): value for name, value in to_format(tensors, TIMM).items()}
    missing, _ = stages.load_state_dict(names, strict=False)
    missing = [name for name in missing if not name.endswith(('relative_position_index', 'attn_mask'))]
    if missing:
        raise Unavailable(f'the weights do not fit, the first that lacks is {missing[0]}')
    _output_norms(maps, tensors)
    return maps


def _torchvision(spec: Spec, tensors: Mapping[str, Tensor]) -> nn.Module:
    from torchvision.models.swin_transformer import SwinTransformer as TorchvisionSwin

    dims, depths, heads = _structure(spec)
    model = TorchvisionSwin(
        [4, 4], dims, list(depths), list(heads), [spec.window_size] * 2, stochastic_depth_prob=spec.drop_path_rate
    )
    model.norm, model.head = nn.Identity(), nn.Identity()  # of the classifier
    _load(model, tensors, TORCHVISION)
    maps = _Maps(model.features, [dims * 2**number for number in range(4)], take=(1, 3, 5, 7))
    _output_norms(maps, tensors)
    return maps


PEERS: dict[str, Callable[[Spec, Mapping[str, Tensor]], nn.Module]] = {
    **{f'mmswin-{name}': partial(_mmswin, backend=name) for name in ('auto', *BACKENDS)},
    'mmdet': _mmdet,
    'transformers-eager': partial(_transformers, attention='eager'),
    'transformers-sdpa': partial(_transformers, attention='sdpa'),
    'timm': partial(_timm, fused=False),
    'timm-fused': partial(_timm, fused=True),
    'torchvision': _torchvision,
}

# timm shifts before it pads, so that maps whose sides are no multiples of the window give other numbers.
PADS_OTHERWISE = ('timm', 'timm-fused')


def check_name(side: str) -> None:
    """Raises ValueError for a name that is not a side's."""
    name = side.removesuffix(COMPILED)
    if name not in PEERS:
        from mmswin.errors import nearest  # not above: the memory of processes that import this is measured

        raise ValueError(
            f'side {side!r} is unknown{nearest(name, PEERS)}; choose from {", ".join(PEERS)}, each also with {COMPILED}'
        )


def missing_library(side: str) -> str | None:
    """The library that a side needs and that is not installed; None if it is there."""
    library = side.removesuffix(COMPILED).partition('-')[0]
    return library if find_spec(library) is None else None


def build(side: str, spec: Spec, tensors: Mapping[str, Tensor], device: str) -> nn.Module:
    """A side with the given weights, on a device.

    Raises:
        Unavailable: Its library is not installed or cannot do this work.
        ValueError: Unknown name.
    """
    check_name(side)
    try:
        if side.startswith(IMPORTED_BY):
            make_importable()
        model = PEERS[side.removesuffix(COMPILED)](spec, tensors)
    except ImportError as error:
        raise Unavailable(f'{error.name or error} cannot be imported') from error
    except RuntimeError as error:  # a library whose compiled part does not fit this torch, for one
        raise Unavailable(f'{type(error).__name__}: {str(error).splitlines()[0]}') from error
    model = model.to(device)
    if side.endswith(COMPILED):
        model = torch.compile(model)
    return model
