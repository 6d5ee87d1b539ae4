"""Swins of other libraries, built with given weights: for the proof of a conversion, the parity tests, the benchmark.

A builder takes the structure, the tensors under the library's names (None: random weights) and what kind of network they
are, and returns the network with the tensors in it, without stochastic depth. It raises ImportError where the library is
not installed.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmswin.checkpoints import resize
from mmswin.checkpoints.convert import Translation, network_of, variant_of, windows_of
from mmswin.checkpoints.formats import V1, V2
from mmswin.environment.importable import make_mmpretrain_importable, make_torchvision_importable
from mmswin.errors import CheckpointError

ANY_WINDOW = (8, 8)
# What a library saves and a file without the windows of a Swin V2 cannot hold.
_UNTOLD = {V1: '', V2: r'|.*relative_(position_index|coords_table)$'}


class Structure(NamedTuple):
    """What it takes to build a Swin: arguments of mmswin's class, its name, and the number of classes of a classifier.

    ``pretrained`` is a Swin V2's pretrained window, 0 for its own.
    """

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: tuple[int, int]
    patch: int
    channels: int
    mlp_ratio: float
    qkv_bias: bool
    patch_norm: bool
    grid: tuple[int, int] | None
    num_classes: int
    network: str = V1
    pretrained: int = 0

    @property
    def image(self) -> tuple[int, int]:
        """Rows and columns of an image on which the last stage's map is one window, or that the embedding covers."""
        if self.grid:
            return self.grid[0] * self.patch, self.grid[1] * self.patch
        scale = self.patch * 2 ** (len(self.depths) - 1)
        return self.window[0] * scale, self.window[1] * scale


def structure_of(translation: Translation) -> Structure:
    """Read the structure off a translated file.

    Raises:
        CheckpointError: The tensors do not tell the window or the image size, or the first block is not whole.
    """
    tensors, block = translation.tensors, 'layers.0.blocks.0.'
    if block + 'mlp.fc1.weight' not in tensors:
        raise CheckpointError(f'it lacks {block}mlp.fc1.weight')
    variant = variant_of(tensors)
    network = network_of(tensors)
    known = {(window, pretrained[0] if pretrained else 0) for window, pretrained in windows_of(translation).values()}
    if not known and network == V2:  # any will do where the file does not tell
        known = {(ANY_WINDOW, 0)}
    if len(known) != 1 or (None, 0) in known:
        raise CheckpointError('its tensors do not tell the window size, or stages have different ones')
    window, pretrained = known.pop()
    weight = tensors['patch_embed.proj.weight']
    head = translation.classifier.get('head.weight')
    embedding = tensors.get('absolute_pos_embed')
    grid = None if embedding is None else resize.grid_of(embedding)
    if grid is None and embedding is not None:
        raise CheckpointError(f'its embedding of {embedding.shape[1]} positions does not tell the image size')
    return Structure(
        *variant,
        window=window,
        patch=weight.shape[2],
        channels=weight.shape[1],
        mlp_ratio=tensors[block + 'mlp.fc1.weight'].shape[0] / variant.embed_dims,
        qkv_bias=any(block + name in tensors for name in ('attn.qkv.bias', 'attn.q_bias')),
        patch_norm='patch_embed.norm.weight' in tensors,
        grid=grid,
        num_classes=1000 if head is None else head.shape[0],
        network=network,
        pretrained=0 if pretrained == window[0] else pretrained,
    )


def _load(model: nn.Module, tensors: Mapping[str, Tensor] | None, optional: str) -> nn.Module:
    """Put the tensors in; only names that fit ``optional`` may be missing, and none may be left over."""
    model.eval()  # mmdet's returns nothing
    if tensors is None:
        return model
    try:
        missing, unexpected = model.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:  # shapes
        raise CheckpointError(str(error).replace('\n\t', ' ')) from error
    missing = [name for name in missing if not re.match(optional, name)]
    if missing or unexpected:
        raise CheckpointError(f'{type(model).__name__} lacks {missing[:3]} and does not know {unexpected[:3]}')
    return model


def arguments_of(s: Structure) -> dict[str, Any]:
    """Arguments of mmswin's, mmdet's and mmseg's class."""
    more = dict(pretrained_window_sizes=s.pretrained) if s.pretrained else {}
    return dict(
        embed_dims=s.embed_dims, depths=s.depths, num_heads=s.num_heads, in_channels=s.channels, patch_size=s.patch,
        strides=(s.patch, *[2] * (len(s.depths) - 1)), out_indices=tuple(range(len(s.depths))),
        window_size=s.window if s.window[0] != s.window[1] else s.window[0],
        mlp_ratio=int(s.mlp_ratio) if s.mlp_ratio == int(s.mlp_ratio) else s.mlp_ratio,
        qkv_bias=s.qkv_bias, patch_norm=s.patch_norm, use_abs_pos_embed=s.grid is not None, pretrain_img_size=s.image,
        drop_path_rate=0.0, **more,
    )  # fmt: skip


def _backbone_of(tensors: Mapping[str, Tensor] | None) -> Mapping[str, Tensor] | None:
    named = (tensors or {}).items()
    return {name.removeprefix('backbone.'): v for name, v in named if name.startswith('backbone.')} or tensors


def _openmmlab(library: str, s: Structure, tensors: Mapping[str, Tensor] | None, model: str) -> nn.Module:
    network = importlib.import_module(f'{library}.models.backbones.swin').SwinTransformer(**arguments_of(s))
    return _load(network, _backbone_of(tensors), r'norm\d')


def _mmpretrain(s: Structure, tensors: Mapping[str, Tensor] | None, model: str) -> nn.Module:
    from mmpretrain import models

    arch, more = dict(embed_dims=s.embed_dims, depths=list(s.depths), num_heads=list(s.num_heads)), {}
    if s.network == V2:
        arch['extra_norm_every_n_blocks'] = 0
        more['pretrained_window_sizes'] = [s.pretrained] * len(s.depths)
    network = getattr(models, s.network)(
        arch=arch, img_size=s.image,
        patch_size=s.patch, in_channels=s.channels, window_size=s.window[0], use_abs_pos_embed=s.grid is not None,
        out_indices=tuple(range(len(s.depths))), drop_path_rate=0.0, **more)  # fmt: skip
    return _load(network, _backbone_of(tensors), r'norm\d' + _UNTOLD[s.network])


def _timm(s: Structure, tensors: Mapping[str, Tensor] | None, model: str, **options: Any) -> nn.Module:
    from timm.models import swin_transformer, swin_transformer_v2

    if s.network == V2:
        options |= dict(pretrained_window_sizes=(s.pretrained,) * len(s.depths))
    network = (swin_transformer_v2.SwinTransformerV2 if s.network == V2 else swin_transformer.SwinTransformer)(
        img_size=s.image, patch_size=s.patch, in_chans=s.channels, num_classes=s.num_classes, embed_dim=s.embed_dims,
        depths=s.depths, num_heads=s.num_heads, window_size=s.window, mlp_ratio=s.mlp_ratio,
        qkv_bias=s.qkv_bias, drop_path_rate=0.0, **options)  # fmt: skip
    return _load(network, tensors, 'head' if model == 'classifier' else 'head|norm')


def _torchvision(s: Structure, tensors: Mapping[str, Tensor] | None, model: str) -> nn.Module:
    from torchvision.models import swin_transformer

    second = dict(block=swin_transformer.SwinTransformerBlockV2, downsample_layer=swin_transformer.PatchMergingV2)
    network = swin_transformer.SwinTransformer(
        patch_size=[s.patch] * 2, embed_dim=s.embed_dims, depths=list(s.depths), num_heads=list(s.num_heads),
        window_size=list(s.window), mlp_ratio=s.mlp_ratio, num_classes=s.num_classes,
        stochastic_depth_prob=0.0, **(second if s.network == V2 else {}))  # fmt: skip
    return _load(network, tensors, ('$' if model == 'classifier' else 'head|norm') + _UNTOLD[s.network])


def _transformers(s: Structure, tensors: Mapping[str, Tensor] | None, model: str) -> nn.Module:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    more = dict(pretrained_window_sizes=(s.pretrained,) * len(s.depths)) if s.network == V2 else {}
    config = (transformers.Swinv2Config if s.network == V2 else transformers.SwinConfig)(
        image_size=s.image, patch_size=s.patch, num_channels=s.channels, embed_dim=s.embed_dims, depths=list(s.depths),
        num_heads=list(s.num_heads), window_size=s.window[0], mlp_ratio=s.mlp_ratio, qkv_bias=s.qkv_bias,
        use_absolute_embeddings=s.grid is not None, num_labels=s.num_classes, hidden_act='gelu', drop_path_rate=0.0,
        out_features=[f'stage{i + 1}' for i in range(len(s.depths))], **more)  # fmt: skip
    if tensors is None:
        return getattr(transformers, model)(config).eval()
    if model == 'UperNetForSemanticSegmentation':
        head = tensors['decode_head.bottleneck.conv.weight'].shape[0]
        aux = tensors.get('auxiliary_head.convs.0.conv.weight')
        config = transformers.UperNetConfig(
            backbone_config=config, hidden_size=head, num_labels=tensors['decode_head.classifier.bias'].shape[0],
            use_auxiliary_head=aux is not None, auxiliary_channels=256 if aux is None else aux.shape[0])  # fmt: skip
    network, info = getattr(transformers, model).from_pretrained(
        None, config=config, state_dict=dict(tensors), output_loading_info=True
    )
    wrong = {
        what: sorted(info[what])
        for what in ('missing_keys', 'unexpected_keys', 'mismatched_keys', 'error_msgs')
        if [name for name in info[what] if not re.search('relative_(position_index|coords_table)', str(name))]
    }
    if model.endswith('Model') and not any(name.startswith('layernorm') for name in tensors):
        wrong.pop('missing_keys', None)
    if wrong:
        raise CheckpointError(f'{model} reports {wrong}')
    return network.eval()


# The builders, and where each library keeps the last block of a stage; {n} is the stage.
LIBRARIES: dict[str, tuple[Callable[..., nn.Module], str]] = {
    'mmdet': (partial(_openmmlab, 'mmdet'), r'stages\.(\d+)\.blocks\.\d+'),
    'mmseg': (partial(_openmmlab, 'mmseg'), r'stages\.(\d+)\.blocks\.\d+'),
    'mmpretrain': (_mmpretrain, r'stages\.(\d+)\.blocks\.\d+'),
    'timm': (_timm, r'layers\.(\d+)\.blocks\.\d+'),
    'torchvision': (_torchvision, r'features\.([13579])\.\d+'),
    'transformers': (_transformers, r'(?:.*\.)?encoder\.layers\.(\d+)\.blocks\.\d+'),
}
OUR_BLOCKS = r'layers\.(\d+)\.blocks\.\d+'


def stage_outputs(model: nn.Module, blocks: str, image: Tensor) -> list[Tensor]:
    """What the last block of each stage returns, ``B x (H W) x C`` each.

    Args:
        model: The network.
        blocks: Pattern of the names of its blocks, the stage as its group.
        image: ``B x channels x H x W``.
    """
    last = {match[1]: module for name, module in model.named_modules() if (match := re.fullmatch(blocks, name))}
    found: dict[str, Tensor] = {}

    def keep(stage: str, _module: nn.Module, _args: Any, out: Any) -> None:
        out = out[0] if isinstance(out, tuple) else out
        found[stage] = out.reshape(out.shape[0], -1, out.shape[-1])

    with ExitStack() as hooks, torch.no_grad():
        for stage, module in last.items():
            hooks.enter_context(module.register_forward_hook(partial(keep, stage)))
        model(image)
    return [found[stage] for stage in sorted(found, key=int)]


def build(
    library: str, structure: Structure, tensors: Mapping[str, Tensor] | None, model: str, **options: Any
) -> nn.Module:
    """A library's network with given weights, in evaluation mode.

    Args:
        library: A key of :data:`LIBRARIES`.
        structure: What to build.
        tensors: The weights under the library's names, as :func:`mmswin.checkpoints.export.export` gives them; None for
            random ones.
        model: What they are, as :class:`mmswin.checkpoints.export.Export` says.
        options: More arguments of the library's class, where its builder takes any (timm's).

    Raises:
        ImportError: The library is not installed.
        CheckpointError: It does not take the tensors.
    """
    if library == 'mmpretrain':
        make_mmpretrain_importable()
    elif library in ('timm', 'torchvision', 'transformers'):
        make_torchvision_importable()
    return LIBRARIES[library][0](structure, tensors, model, **options)
