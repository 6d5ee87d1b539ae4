"""Files that are not for a Swin backbone, or for another one: each is refused with a sentence that says what it is."""

import pytest
import torch

from mmswin.backbones import SwinTransformer
from mmswin.backbones.swin import VARIANTS
from mmswin.checkpoints import CheckpointError, inspection, load_file, load_weights
from mmswin.checkpoints.export import export

SWIN_BLOCK = ('patch_embed.proj.weight', 'layers.0.blocks.0.attn.qkv.weight')


def _model():
    return SwinTransformer(depths=(1,), num_heads=(1,), strides=(4,), out_indices=(0,))


def _names(*names, **tensors):
    return {name: torch.zeros(4, 3, 4, 4) for name in names} | tensors


NETWORKS = {
    'ResNet of torchvision': (_names('conv1.weight', 'layer1.0.conv1.weight', 'fc.weight'), 'are a ResNet,'),
    'ResNet in a detector': (_names('backbone.layer1.0.conv1.weight', 'neck.a.weight'), 'are a ResNet,'),
    'ResNet of transformers': (
        _names('resnet.encoder.stages.0.layers.0.layer.0.convolution.weight'), 'are a ResNet,'),
    'ConvNeXt of its authors': (_names('downsample_layers.0.0.weight', 'stages.0.0.dwconv.weight'), 'a ConvNeXt,'),
    'ConvNeXt of mmpretrain': (_names('backbone.stages.0.0.depthwise_conv.weight'), 'a ConvNeXt,'),
    'ConvNeXt of timm': (_names('stem.0.weight', 'stages.0.blocks.0.conv_dw.weight'), 'a ConvNeXt,'),
    'ConvNeXt of torchvision': (_names('features.1.0.block.0.weight', 'features.1.0.layer_scale'), 'a ConvNeXt,'),
    'ConvNeXt of transformers': (_names('convnext.encoder.stages.0.layers.0.dwconv.weight'), 'a ConvNeXt,'),
    'ViT of timm': (_names('cls_token', 'pos_embed', 'patch_embed.proj.weight', 'blocks.0.attn.qkv.weight'), 'a ViT,'),
    'ViT of mmpretrain': (_names('backbone.cls_token', 'backbone.layers.0.attn.qkv.weight'), 'a ViT,'),
    'ViT of torchvision': (_names('class_token', 'encoder.layers.encoder_layer_0.ln_1.weight'), 'a ViT,'),
    'ViT of transformers': (
        _names('vit.embeddings.cls_token', 'vit.encoder.layer.0.attention.attention.query.weight'), 'a ViT,'),
    'CLIP': (_names('visual.transformer.resblocks.0.attn.in_proj_weight', 'logit_scale'), 'a CLIP,'),
    'SegFormer': (_names('backbone.block1.0.attn.q.weight'), 'a PVT or SegFormer,'),
    'EfficientNet': (_names('blocks.0.0.conv_dw.weight'), 'an EfficientNet or MobileNet,'),
    'VGG': (_names('features.0.weight', 'classifier.6.weight'), 'a VGG,'),
    'YOLO': (_names('model.0.conv.weight', 'model.1.conv.weight'), 'a YOLO,'),
    'Swin V2 CR of timm': (
        _names('stages.0.blocks.0.attn.logit_scale', 'stages.0.blocks.0.attn.meta_mlp.fc1.weight'), "are timm's swinv2_cr,"),
    'Video Swin': (
        _names(SWIN_BLOCK[1], **{SWIN_BLOCK[0]: torch.zeros(4, 3, 2, 4, 4)}), 'a Video Swin, which works on clips'),
    'heads of a detector': (
        _names('neck.lateral_convs.0.conv.weight', 'rpn_head.rpn_conv.weight', 'roi_head.bbox_head.0.fc_cls.weight'),
        'the parts beside a backbone (neck, rpn_head, roi_head) without the backbone itself'),
    'shard of FSDP': (_names('_flat_param', 'layers.0._flat_param'), 'the weights are flattened shards of FSDP'),
    'shard of ZeRO 3': (
        _names(SWIN_BLOCK[1], **{SWIN_BLOCK[0]: torch.zeros(0)}), 'empty tensors, as in one shard of DeepSpeed ZeRO 3'),
    'something': (_names('alpha', 'beta'), "no Swin backbone of a known format (2 entries, the first is 'alpha')"),
}  # fmt: skip


@pytest.mark.parametrize('name', NETWORKS)
def test_weights_of_something_else(name, tmp_path):
    weights, part = NETWORKS[name]
    torch.save({'state_dict': weights}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError) as error:
        load_weights(_model(), tmp_path / 'file.pth')
    assert part in str(error.value)
    assert str(tmp_path / 'file.pth') in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('content', 'part'),
    [
        ({}, 'is an empty dictionary'),
        ({'state_dict': {}, 'meta': {}}, 'holds no tensors (state_dict, meta)'),
        ({'optimizer': {'state': {0: {'exp_avg': torch.zeros(1)}}, 'param_groups': []}, 'epoch': 3},
         'holds the state of an optimizer and no weights (optimizer, epoch)'),
        ({'state': {0: {'exp_avg': torch.zeros(1)}}, 'param_groups': []},
         'holds the state of an optimizer and no weights (state, param_groups)'),
        ({'epoch': 3, 'config': {}}, "holds no tensors (epoch, config): give a file with a network's weights"),
    ],
)  # fmt: skip
def test_files_without_weights(content, part, tmp_path):
    torch.save(content, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError) as error:
        load_weights(_model(), tmp_path / 'file.pth')
    assert part in str(error.value)
    assert str(tmp_path / 'file.pth') in str(error.value)


@pytest.mark.parametrize('name', ['m.onnx', 'm.XML', 'm.pt2'])
def test_exported_programs(name, tmp_path):
    (tmp_path / name).write_bytes(b'<?xml version="1.0"?>')
    with pytest.raises(CheckpointError, match=rf'{name}.* exported program'):
        load_file(tmp_path / name)
    torch.save({'a': torch.ones(1)}, tmp_path / name)  # a checkpoint by such a name
    assert load_file(tmp_path / name)['a'] == 1


@pytest.mark.parametrize(
    ('files', 'part'),
    [
        (['zero_to_fp32.py', 'global_step10/mp_rank_00_model_states.pt'], 'is a folder of DeepSpeed (ZeRO shards)'),
        (['bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt'], 'is a folder of DeepSpeed (ZeRO shards)'),
        (['.metadata', '__0_0.distcp'], 'is a folder of torch.distributed.checkpoint'),
        (['config.json', 'model.safetensors'], 'is a folder; name the file in it: '),
        (['notes.txt'], 'is a directory; give the path or URL of a .pth or .safetensors file'),
    ],
)
def test_folders(files, part, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError) as error:
        load_weights(_model(), tmp_path)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ('file', 'config'), [('small', 'tiny'), ('tiny', 'small'), ('base', 'small'), ('large', 'base'), ('tiny', 'large')]
)
def test_a_swin_of_another_size(file, config):
    # The true structure with thin MLPs, and on the meta device: only names and shapes matter.
    with torch.device('meta'):
        weights = SwinTransformer(**VARIANTS[file], mlp_ratio=0.05).state_dict()
        model = SwinTransformer(**VARIANTS[config], mlp_ratio=0.05)
    with pytest.raises(CheckpointError) as error:
        model.load_state_dict(weights, strict=False)
    letters = file[0].upper(), config[0].upper()
    assert f"the file is Swin-{letters[0]}, the config says Swin-{letters[1]}: set arch='{file}'" in str(error.value)


ODD = {
    'scalar patch weight': {SWIN_BLOCK[0]: torch.tensor(1.0)},
    'patch weight that is none': {SWIN_BLOCK[0]: 3},
    'layer that is no number': {'layers.².blocks.0.norm1.weight': torch.zeros(4)},
    'layer of 5000 digits': {f'layers.{"9" * 5000}.blocks.0.norm1.weight': torch.zeros(4)},
    'block of 5000 digits': {f'layers.0.blocks.{"9" * 5000}.norm1.weight': torch.zeros(4)},
    'scalar table': {'layers.0.blocks.0.attn.relative_position_bias_table': torch.tensor(1.0)},
    'scalar index': {'layers.0.blocks.0.attn.relative_position_index': torch.tensor(1)},
    'empty index': {'layers.0.blocks.0.attn.relative_position_index': torch.zeros(0, dtype=torch.long)},
    'index that is none': {'layers.0.blocks.0.attn.relative_position_index': None},
    'embedding of one dimension': {'absolute_pos_embed': torch.zeros(4)},
    'escape sequence': {'layers.0.\x1b[2J': torch.zeros(4)},
    'lone surrogate': {'layers.0.\ud800': torch.zeros(4)},
    'head that is none': {'head.weight': 3},
    'final norm that is none': {'norm.weight': None, 'norm.bias': 3},
    'index of unsigned numbers': {
        'layers.0.blocks.0.attn.relative_position_index': torch.zeros(49, 49, dtype=torch.uint16)
    },
    'name that is no string': {5: torch.zeros(1)},
    'eight bits': {'layers.0.blocks.0.norm1.weight': torch.zeros(4).to(torch.float8_e4m3fn)},
}


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('kind', ODD)
def test_odd_weights_are_told_or_refused_in_one_line(tmp_path, kind, prefix):
    weights = {**_model().state_dict(), **ODD[kind]}
    named = {prefix + name if isinstance(name, str) else name: value for name, value in weights.items()}
    torch.save(named, tmp_path / 'file.pth')
    for use in (
        lambda: load_weights(_model(), tmp_path / 'file.pth').table(),
        lambda: '\n'.join(
            map(str, inspection.inspect(load_file(tmp_path / 'file.pth'), dict(SwinTransformer=VARIANTS)))
        ),
        lambda: str(export(load_file(tmp_path / 'file.pth'), 'mmdet').notes),
    ):
        try:
            text = use()
        except CheckpointError as error:
            text = str(error)
            assert len(text) < 1000
        assert text.replace('\n', '').isprintable()
