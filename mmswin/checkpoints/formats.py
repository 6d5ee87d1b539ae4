"""Foreign names of Swin's parameters, in tables; how a template is written is said in :mod:`mmswin.checkpoints.naming`.

Every format is described by its way to the authors' names, which are ours. The first template that fits a name
translates it; names that fit none stay as they are. Where several foreign names mean the same, the first is written.
"""

from typing import NamedTuple

from mmswin.checkpoints.naming import Templates


class Format(NamedTuple):
    """How one family of files names Swin's parameters.

    Args:
        name: Its name in reports.
        title: The same in words.
        patch: Alternative names of the patch projection, by which a file of the family and the prefix of all other
            names are recognised.
        attention: Alternative names of the first block's attention, one of which must be there too.
        needs: Alternative names, one of which must be there besides; none if empty.
        lacks: A name that must not be there.
        templates: From the family's names to the authors', below the prefix.
        outer: The same for what lies beside the backbone: heads.
        channel_major: Whether the 4C axis of patch merging runs over channels first, as nn.Unfold gives it, and not
            over the four neighbours.
        separate_qkv: Whether query, key and value are apart; they bear the names ``attn.q``, ``attn.k``, ``attn.v``
            until they are fused.
        joined_bias: Whether the bias of a Swin V2's queries, keys and values is one tensor.
        flat_positions: Whether the absolute position embedding is ``1 x (H W) x C`` and not ``1 x C x H x W``.
        beside: What the prefix ends with where output norms lie beside the backbone, and how their names begin there.
        writes_index: How the family saves relative position indices: '' not at all, 'square' as ``N x N``, 'flat'.
    """

    name: str
    title: str
    patch: tuple[str, ...]
    attention: tuple[str, ...]
    templates: Templates
    needs: tuple[str, ...] = ()
    lacks: str = ''
    outer: Templates = ()
    channel_major: bool = False
    separate_qkv: bool = False
    joined_bias: bool = False
    flat_positions: bool = False
    beside: tuple[str, str] | None = None
    writes_index: str = ''


AUTHORS = Format(
    'authors',
    "the authors' names (mmswin, the authors' repositories, timm before 0.9, detectron2)",
    patch=('patch_embed.proj.weight',),
    attention=('layers.0.blocks.0.attn.qkv.weight', 'layers.0.blocks.0.spatial_mlp.weight'),
    templates=(
        ('layers.{n}.blocks.{n}.attn.cpb_mlp.{*}', 'layers.{n}.blocks.{n}.attn.cpb_mlp.{*}'),
        # As the first encoders of SimMIM have it.
        ('layers.{n}.blocks.{n}.attn.rpe_mlp.{*}', 'layers.{n}.blocks.{n}.attn.cpb_mlp.{*}'),
    ),
)

OPENMMLAB = Format(
    'openmmlab',
    "OpenMMLab's names (mmdet 2 and 3, mmseg 0 and 1, mmcls, mmpretrain)",
    patch=('patch_embed.projection.weight',),
    attention=('stages.0.blocks.0.attn.w_msa.qkv.weight',),
    templates=(
        ('patch_embed.projection.{*}', 'patch_embed.proj.{*}'),
        ('stages.{n}.blocks.{n}.attn.w_msa.{*}', 'layers.{n}.blocks.{n}.attn.{*}'),
        ('stages.{n}.blocks.{n}.ffn.layers.0.0.{*}', 'layers.{n}.blocks.{n}.mlp.fc1.{*}'),
        ('stages.{n}.blocks.{n}.ffn.layers.1.{*}', 'layers.{n}.blocks.{n}.mlp.fc2.{*}'),
        ('stages.{n}.{*}', 'layers.{n}.{*}'),
    ),
    # mmpretrain's classifier; mmdet and mmseg have no such head.
    outer=(('head.fc.{*}', 'head.{*}'),),
    channel_major=True,
    flat_positions=True,
    writes_index='square',
)

# There patch merging opens a stage.
OPENMMLAB_V2 = OPENMMLAB._replace(
    name='mmpretrain',
    title="mmpretrain's names for Swin V2",
    needs=('stages.0.blocks.0.attn.w_msa.logit_scale',),
    templates=(('stages.{n+1}.downsample.{*}', 'layers.{n}.downsample.{*}'), *OPENMMLAB.templates),
)

# Patch merging opens a stage from 0.9 on, where it closed one before. features_only=True spells layers_0.
TIMM = Format(
    'timm',
    'the names of timm 0.9 and later',
    patch=('patch_embed.proj.weight',),
    attention=('layers.0.blocks.0.attn.qkv.weight', 'layers_0.blocks.0.attn.qkv.weight'),
    needs=('layers.1.downsample.reduction.weight', 'layers_1.downsample.reduction.weight'),
    lacks='layers.0.downsample.reduction.weight',
    templates=(
        ('layers.{n+1}.downsample.{*}', 'layers.{n}.downsample.{*}'),
        ('layers.{n}.{*}', 'layers.{n}.{*}'),
        ('layers_{n+1}.downsample.{*}', 'layers.{n}.downsample.{*}'),
        ('layers_{n}.{*}', 'layers.{n}.{*}'),
        ('head.fc.{*}', 'head.{*}'),
    ),
    flat_positions=True,
)

TORCHVISION = Format(
    'torchvision',
    "torchvision's names",
    patch=('features.0.0.weight',),
    attention=('features.1.0.attn.qkv.weight',),
    templates=(
        ('features.0.0.{*}', 'patch_embed.proj.{*}'),
        ('features.0.2.{*}', 'patch_embed.norm.{*}'),
        ('features.{2n+1}.{n}.mlp.0.{*}', 'layers.{n}.blocks.{n}.mlp.fc1.{*}'),
        ('features.{2n+1}.{n}.mlp.3.{*}', 'layers.{n}.blocks.{n}.mlp.fc2.{*}'),
        ('features.{2n+1}.{n}.{*}', 'layers.{n}.blocks.{n}.{*}'),
        ('features.{2n+2}.{*}', 'layers.{n}.downsample.{*}'),
    ),
    joined_bias=True,
    writes_index='flat',
)

_HF_BLOCK, _BLOCK = 'encoder.layers.{n}.blocks.{n}.', 'layers.{n}.blocks.{n}.'
_HF_NAMES = (
    ('embeddings.patch_embeddings.projection.{*}', 'patch_embed.proj.{*}'),
    ('embeddings.norm.{*}', 'patch_embed.norm.{*}'),
    ('embeddings.position_embeddings', 'absolute_pos_embed'),
    ('embeddings.mask_token', 'mask_token'),
    (_HF_BLOCK + 'attention.self.query.{*}', _BLOCK + 'attn.q.{*}'),
    (_HF_BLOCK + 'attention.self.key.{*}', _BLOCK + 'attn.k.{*}'),
    (_HF_BLOCK + 'attention.self.value.{*}', _BLOCK + 'attn.v.{*}'),
    (_HF_BLOCK + 'attention.output.dense.{*}', _BLOCK + 'attn.proj.{*}'),
    (_HF_BLOCK + 'attention.self.relative_position_bias_table', _BLOCK + 'attn.relative_position_bias_table'),
    # As release 5 names them in memory; its files keep the older names.
    (_HF_BLOCK + 'attention.q_proj.{*}', _BLOCK + 'attn.q.{*}'),
    (_HF_BLOCK + 'attention.k_proj.{*}', _BLOCK + 'attn.k.{*}'),
    (_HF_BLOCK + 'attention.v_proj.{*}', _BLOCK + 'attn.v.{*}'),
    (_HF_BLOCK + 'attention.o_proj.{*}', _BLOCK + 'attn.proj.{*}'),
    (_HF_BLOCK + 'attention.relative_position_bias.relative_position_bias_table',
     _BLOCK + 'attn.relative_position_bias_table'),
    (_HF_BLOCK + 'attention.self.continuous_position_bias_mlp.{*}', _BLOCK + 'attn.cpb_mlp.{*}'),
    (_HF_BLOCK + 'attention.self.{*}', _BLOCK + 'attn.{*}'),
    (_HF_BLOCK + 'layernorm_before.{*}', _BLOCK + 'norm1.{*}'),
    (_HF_BLOCK + 'layernorm_after.{*}', _BLOCK + 'norm2.{*}'),
    (_HF_BLOCK + 'intermediate.dense.{*}', _BLOCK + 'mlp.fc1.{*}'),
    (_HF_BLOCK + 'output.dense.{*}', _BLOCK + 'mlp.fc2.{*}'),
    (_HF_BLOCK + 'mlp.{*}', _BLOCK + 'mlp.{*}'),
    ('encoder.layers.{n}.downsample.{*}', 'layers.{n}.downsample.{*}'),
    ('layernorm.{*}', 'norm.{*}'),
)  # fmt: skip
_HF_ATTENTION = ('attention.self.query.weight', 'attention.q_proj.weight')
# Classifiers and masked-image models hold the backbone as `swin`, and so does SwinBackbone in release 5.
_HF_MODELS = ('', 'swin.', 'swinv2.')
_HF_PATCH = 'embeddings.patch_embeddings.projection.weight'

TRANSFORMERS = Format(
    'transformers',
    "transformers' names",
    patch=tuple(model + _HF_PATCH for model in _HF_MODELS),
    attention=tuple(
        f'{model}encoder.layers.0.blocks.0.{name}' for model in _HF_MODELS for name in _HF_ATTENTION
    ),
    templates=(
        *_HF_NAMES,
        *((model + theirs, ours) for model in _HF_MODELS[1:] for theirs, ours in _HF_NAMES),
        ('hidden_states_norms.stage{n+1}.{*}', 'norm{n}.{*}'),
        ('hidden_states_norms.{n}.{*}', 'norm{n}.{*}'),
        ('classifier.{*}', 'head.{*}'),
    ),
    # UPerNet, to mmseg's names.
    outer=(
        ('decode_head.classifier.{*}', 'decode_head.conv_seg.{*}'),
        ('auxiliary_head.classifier.{*}', 'auxiliary_head.conv_seg.{*}'),
        ('decode_head.{*}.batch_norm.{*}', 'decode_head.{*}.bn.{*}'),
        ('auxiliary_head.{*}.batch_norm.{*}', 'auxiliary_head.{*}.bn.{*}'),
    ),
    separate_qkv=True,
    flat_positions=True,
    beside=('model.', 'hidden_states_norms.'),  # MaskFormer
    writes_index='square',
)  # fmt: skip

# Where several fit, the first one is it.
FORMATS = (TIMM, AUTHORS, OPENMMLAB_V2, OPENMMLAB, TORCHVISION, TRANSFORMERS)

# Which network tensors with the authors' names are for, by the end of a name; the class without one is the first Swin.
V1, V2, MLP = 'SwinTransformer', 'SwinTransformerV2', 'SwinMLP'
NETWORKS = ((V2, '.attn.logit_scale'), (MLP, '.spatial_mlp.weight'))

# A plain vision transformer's, to timm's and MAE's names, which are ours. A norm of averaged tokens stands in for the final
# one where that is missing.
VIT_MMPRETRAIN: Templates = (
    ('patch_embed.projection.{*}', 'patch_embed.proj.{*}'),
    ('layers.{n}.ln{n}.{*}', 'blocks.{n}.norm{n}.{*}'),
    ('layers.{n}.attn.gamma1.weight', 'blocks.{n}.ls1.gamma'),
    ('layers.{n}.attn.{*}', 'blocks.{n}.attn.{*}'),
    ('layers.{n}.ffn.layers.0.0.{*}', 'blocks.{n}.mlp.fc1.{*}'),
    ('layers.{n}.ffn.layers.1.{*}', 'blocks.{n}.mlp.fc2.{*}'),
    ('layers.{n}.ffn.gamma2.weight', 'blocks.{n}.ls2.gamma'),
    ('ln1.{*}', 'norm.{*}'),
    ('ln2.{*}', 'fc_norm.{*}'),
)
VIT_FORMATS = (
    Format(
        'timm',
        'the names of timm',
        patch=('patch_embed.proj.weight',),
        attention=('blocks.0.attn.qkv.weight',),
        templates=(('blocks.{n}.gamma_{n}', 'blocks.{n}.ls{n}.gamma'),),  # DeiT III of its authors
    ),
    Format(
        'mmpretrain',
        "mmpretrain's names",
        patch=('patch_embed.projection.weight',),
        attention=('layers.0.attn.qkv.weight',),
        templates=VIT_MMPRETRAIN,
    ),
)

# Rebuilt from the window size, never loaded.
DERIVED = ('relative_position_index', 'attn_mask', 'relative_coords_table')

# Of a classifier or of pretraining, and of no use to a dense-prediction backbone.
CLASSIFIER = ('head.', 'fc.', 'norm.', 'avgpool.')
PRETRAINING = ('mask_token',)

# Where the weights lie inside a file, the first that holds tensors being taken. Averaged weights come before the
# others, being those that their trainers test; mmengine puts them into state_dict itself.
CONTAINERS = (
    'state_dict_ema', 'model_ema', 'teacher', 'state_dict', 'model', 'module', 'student', 'network', 'weights'
)  # fmt: skip

# Of several Swins side by side in a file, one below such a name is taken, else the one with the shortest prefix.
AVERAGED = ('teacher', 'ema', 'model_ema', 'ema_model')

# What wrappers put into the names of the parameters that they wrap: FSDP, activation checkpointing, torch.compile.
WRAPPERS = ('_fsdp_wrapped_module.', '_checkpoint_wrapped_module.', '_orig_mod.')

# First parts of names beside a detector's or segmenter's backbone.
HEADS = (
    'neck', 'rpn_head', 'roi_head', 'bbox_head', 'mask_head', 'mask_feat_head', 'panoptic_head', 'decode_head',
    'auxiliary_head', 'query_head', 'encoder', 'decoder', 'data_preprocessor'
)  # fmt: skip

# Networks that are often mistaken for a Swin, as fragments of names that must all be there.
OTHER_NETWORKS = (
    ("timm's swinv2_cr, another network than Swin V2: take a file named swinv2_..., without cr",
     ('.attn.meta_mlp.fc1.weight', '.attn.logit_scale')),
    ('a ResNet', ('layer1.0.conv1.weight',)),
    ('a ResNet', ('encoder.stages.0.layers.0.layer.0.convolution.weight',)),
    ('a ConvNeXt', ('stages.0.0.dwconv',)),
    ('a ConvNeXt', ('stages.0.0.depthwise_conv',)),
    ('a ConvNeXt', ('stages.0.blocks.0.conv_dw',)),
    ('a ConvNeXt', ('encoder.stages.0.layers.0.dwconv',)),
    ('a ConvNeXt', ('features.1.0.block.0.weight', 'features.1.0.layer_scale')),
    ('a ViT', ('cls_token', 'blocks.0.attn.qkv.weight')),
    ('a ViT', ('cls_token', 'layers.0.attn.qkv.weight')),
    ('a ViT', ('class_token', 'encoder.layers.encoder_layer_0.')),
    ('a ViT', ('cls_token', 'encoder.layer.0.attention.')),
    ('a CLIP', ('visual.transformer.resblocks.0.',)),
    ('a FocalNet', ('layers.0.blocks.0.modulation.f.weight',)),
    ('a PVT or SegFormer', ('block1.0.attn.q.weight',)),
    ('an EfficientNet or MobileNet', ('blocks.0.0.conv_dw.weight',)),
    ('an EfficientNet or MobileNet', ('features.1.0.block.0.0.weight',)),
    ('a MobileNet', ('features.1.conv.0.0.weight',)),
    ('a DenseNet', ('denseblock1.denselayer1.',)),
    ('a VGG', ('features.0.weight', 'classifier.6.weight')),
    ('a YOLO', ('model.0.conv.weight', 'model.1.conv.weight')),
)  # fmt: skip

# The authors' RepPoints V2, below `neck` and below `bbox_head`; ours is on the right. Towers, points and classes have
# mmdet's names in both.
REPPOINTS_V2_NECK: Templates = (
    ('bi_fpn.0.lateral_convs.{n}.{*}', 'laterals.{n}.{*}'),
    ('bi_fpn.{n}.lateral_combine.{n}.weights', 'layers.{n}.down_fusions.{n}.weights'),
    ('bi_fpn.{n}.lateral_combine_conv.{n}.{*}', 'layers.{n}.down_convs.{n}.{*}'),
    ('bi_fpn.{n}.out_combine.{n}.weights', 'layers.{n}.up_fusions.{n}.weights'),
    ('bi_fpn.{n}.out_combine_conv.{n}.{*}', 'layers.{n}.up_convs.{n}.{*}'),
)
REPPOINTS_V2_HEAD: Templates = (
    ('shared_convs.0.{*}', 'shared_conv.{*}'),
    ('reppoints_sem_out.{*}', 'foreground_out.{*}'),
    ('reppoints_sem_embedding.{*}', 'foreground_embedding.{*}'),
    *(
        template
        for number, corner in enumerate(('tl', 'br'))
        for template in (
            (f'reppoints_hem_{corner}_score_out.{{*}}', f'corner_score_outs.{number}.{{*}}'),
            (f'reppoints_hem_{corner}_offset_out.{{*}}', f'corner_offset_outs.{number}.{{*}}'),
            (f'hem_{corner}.p1_conv1.{{*}}', f'corner_modules.{number}.direction1_conv.{{*}}'),
            (f'hem_{corner}.p2_conv1.{{*}}', f'corner_modules.{number}.direction2_conv.{{*}}'),
            (f'hem_{corner}.p_conv1.{{*}}', f'corner_modules.{number}.aftpool_conv.conv.{{*}}'),
            (f'hem_{corner}.p_gn1.{{*}}', f'corner_modules.{number}.aftpool_conv.gn.{{*}}'),
            (f'hem_{corner}.conv1.{{*}}', f'corner_modules.{number}.conv1.conv.{{*}}'),
            (f'hem_{corner}.gn1.{{*}}', f'corner_modules.{number}.conv1.gn.{{*}}'),
            (f'hem_{corner}.conv2.{{*}}', f'corner_modules.{number}.conv2.{{*}}'),
        )
    ),
)
# The same for the masks, below the detector, and what ours has as an argument.
REPPOINTS_V2_MASKS: Templates = (
    *(
        (
            f'bbox_head.mask_head.branch.refine.{level}.{{*}}',
            f'mask_head.mask_feature_head.convs_all_levels.{level}.conv{level}.{{*}}',
        )
        for level in range(3)
    ),
    ('bbox_head.mask_head.branch.tower.4.{*}', 'mask_head.mask_feature_head.conv_pred.{*}'),
    ('bbox_head.mask_head.branch.tower.{n}.{*}', 'mask_head.mask_feature_head.conv_branch.{n}.{*}'),
)
REPPOINTS_V2_UNUSED = ('bbox_head.mask_head.head.sizes_of_interest',)
