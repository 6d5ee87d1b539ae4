"""Foreign names of Swin's parameters, in tables.

A template maps a foreign name to ours, the authors': ``{n}`` stands for a number and ``{*}`` for the rest of the name.
The first template that fits a name translates it; names that fit none stay as they are.
"""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """How one family of files names Swin's parameters.

    ``patch_weight`` is the name by which a file of the family is recognised; ``channel_major`` says that the 4C axis of
    patch merging runs over channels first, as nn.Unfold gives it, and not over the four neighbours.
    """

    name: str
    patch_weight: str
    attention_weight: str
    templates: tuple[tuple[str, str], ...]
    channel_major: bool


AUTHORS = Format(
    'authors',
    'patch_embed.proj.weight',
    'layers.0.blocks.0.attn.qkv.weight',
    (),
    channel_major=False,
)

# mmdet 2.x and 3.x, mmseg 0.x and 1.x, mmcls and mmpretrain.
OPENMMLAB = Format(
    'openmmlab',
    'patch_embed.projection.weight',
    'stages.0.blocks.0.attn.w_msa.qkv.weight',
    (
        ('patch_embed.projection.{*}', 'patch_embed.proj.{*}'),
        ('stages.{n}.blocks.{n}.attn.w_msa.{*}', 'layers.{n}.blocks.{n}.attn.{*}'),
        ('stages.{n}.blocks.{n}.ffn.layers.0.0.{*}', 'layers.{n}.blocks.{n}.mlp.fc1.{*}'),
        ('stages.{n}.blocks.{n}.ffn.layers.1.{*}', 'layers.{n}.blocks.{n}.mlp.fc2.{*}'),
        ('stages.{n}.{*}', 'layers.{n}.{*}'),
    ),
    channel_major=True,
)

FORMATS = (AUTHORS, OPENMMLAB)

# Rebuilt from the window size, never loaded.
DERIVED = ('relative_position_index', 'attn_mask', 'relative_coords_table')

# Of a classifier, and of no use to a dense-prediction backbone.
CLASSIFIER = ('head.', 'fc.', 'norm.', 'avgpool.')

# Where the weights lie inside a file, the first that holds a dictionary being taken.
CONTAINERS = ('state_dict', 'model', 'module', 'state_dict_ema', 'model_ema')

# Signatures of networks that are often mistaken for a Swin, as name fragments.
OTHER_NETWORKS = (
    ('a Swin V2', ('attn.logit_scale', 'attn.cpb_mlp')),
    ('a ResNet', ('layer1.0.conv1.weight',)),
    ('a ConvNeXt', ('stages.0.0.dwconv', 'stages.0.0.depthwise_conv', 'stages.0.blocks.0.conv_dw')),
    ('a ViT', ('blocks.0.attn.qkv.weight', 'cls_token')),
    ('a torchvision Swin, which is not supported yet', ('features.1.0.attn.qkv.weight',)),
    ('a transformers Swin, which is not supported yet', ('encoder.layers.0.blocks.0.attention.self.query.weight',)),
)
