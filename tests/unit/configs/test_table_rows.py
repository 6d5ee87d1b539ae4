"""What the rows of the paper's tables 2a, 2b, 3 and 4 add to the recipes: other detectors, backbones and ablations.

Their data, schedule and optimizer are checked beside those of the other configurations, in test_recipes.py and
test_segmentation_recipes.py; here, what their models are, and that nothing else differs from the row they belong to.
"""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
ABLATIONS = {
    'no_shift': {'shift_windows': False},
    'no_pos': {'use_rel_pos_bias': False},
    'abs_pos': {'use_rel_pos_bias': False, 'use_abs_pos_embed': True},
    'abs_rel_pos': {'use_abs_pos_embed': True},
    'rel_pos_no_content': {'use_content_term': False},
}
MAIN = {
    'cascade_mask_rcnn_swin_t_{}_coco': 'cascade_mask_rcnn_swin_t_coco',
    'upernet_swin_t_{}_ade20k': 'upernet_swin_t_ade20k',
}
DEIT_S = 'https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth'


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def build_on_meta(model_cfg: dict, scope: str = 'mmdet') -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope(scope), torch.device('meta'):
        return MODELS.build(copy.deepcopy(model_cfg))


@pytest.fixture(autouse=True)
def mmdet_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def without(name: str, *keys: str) -> dict:
    """The configuration without the model's entries of these dotted names."""
    cfg = parsed(name).to_dict()
    cfg.pop('ablations', None)
    for key in keys:
        *outer, last = key.split('.')
        node = cfg['model']
        for part in outer:
            node = node[part]
        node.pop(last)
    return cfg


@pytest.mark.parametrize(('pattern', 'main'), MAIN.items())
@pytest.mark.parametrize('ablation', list(ABLATIONS))
def test_ablations_differ_from_swin_in_their_switch_alone(ablation: str, pattern: str, main: str) -> None:
    name = pattern.format(ablation)
    expected, found = parsed(main).to_dict(), without(name)
    expected['model']['backbone'].update(ABLATIONS[ablation])
    assert found == expected
    backbone = build_on_meta(parsed(name).model.backbone)
    attention = backbone.layers[2].blocks[1].attn
    assert (attention.shift == (0, 0)) == (ablation == 'no_shift')
    assert (attention.relative_position_bias_table is None) == (ablation in ('no_pos', 'abs_pos'))
    assert (attention.scale == 0) == (ablation == 'rel_pos_no_content')
    assert (backbone.absolute_pos_embed is None) == (ablation not in ('abs_pos', 'abs_rel_pos'))


def test_every_row_of_table_4_has_its_configurations() -> None:
    found = {path.stem for path in CONFIGS.glob('*_swin_t_*_coco.py')} | {
        path.stem for path in CONFIGS.glob('*_swin_t_*_ade20k.py')
    }
    assert found - {'cascade_mask_rcnn_swin_t_1x_coco', 'mask_rcnn_swin_t_1x_coco'} == {
        pattern.format(ablation) for pattern in MAIN for ablation in ABLATIONS
    }


@pytest.mark.parametrize(
    ('name', 'main', 'widths'),
    [
        ('cascade_mask_rcnn_r50_coco', 'cascade_mask_rcnn_swin_t_coco', ['neck.in_channels']),
        ('cascade_mask_rcnn_deit_s_coco', 'cascade_mask_rcnn_swin_t_coco', ['neck.in_channels']),
        ('cascade_mask_rcnn_x101_32x4d_coco', 'cascade_mask_rcnn_r50_coco', []),
        ('cascade_mask_rcnn_x101_64x4d_coco', 'cascade_mask_rcnn_r50_coco', []),
        ('sparse_rcnn_r50_coco', 'sparse_rcnn_swin_t_coco', ['neck.in_channels']),
        ('atss_r50_coco', 'atss_swin_t_coco', ['neck.in_channels', 'neck.start_level']),
        ('upernet_deit_s_ade20k', 'upernet_swin_t_ade20k', ['decode_head.in_channels', 'auxiliary_head.in_channels']),
    ],
)
def test_rows_differ_in_the_backbone_alone(name: str, main: str, widths: list[str]) -> None:
    assert without(name, 'backbone', *widths) == without(main, 'backbone', *widths)


@pytest.mark.parametrize(
    ('name', 'depth', 'groups', 'checkpoint'),
    [
        ('cascade_mask_rcnn_r50_coco', 50, 1, 'torchvision://resnet50'),
        ('atss_r50_coco', 50, 1, 'torchvision://resnet50'),
        ('sparse_rcnn_r50_coco', 50, 1, 'torchvision://resnet50'),
        ('cascade_mask_rcnn_x101_32x4d_coco', 101, 32, 'open-mmlab://resnext101_32x4d'),
        ('cascade_mask_rcnn_x101_64x4d_coco', 101, 64, 'open-mmlab://resnext101_64x4d'),
    ],
)
def test_convolutional_backbones(name: str, depth: int, groups: int, checkpoint: str) -> None:
    """mmdetection's habits: the first stage frozen, batch norms with the statistics that they came with."""
    cfg = parsed(name).model.backbone
    assert cfg.init_cfg == {'type': 'Pretrained', 'checkpoint': checkpoint}
    backbone = build_on_meta(cfg)
    backbone.train()
    assert (type(backbone).__name__, backbone.depth) == ('ResNet' if groups == 1 else 'ResNeXt', depth)
    block = backbone.layer3[0]
    assert block.conv2.groups == groups and block.conv2.out_channels == 256 * (groups * 4 // 64 if groups > 1 else 1)
    assert block.conv2.stride == (2, 2), "style 'pytorch'"
    assert all(not parameter.requires_grad for parameter in backbone.layer1.parameters())
    assert all(parameter.requires_grad for parameter in backbone.layer2.parameters())
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)


@pytest.mark.parametrize(
    ('name', 'theirs'),
    [
        ('atss_r50_coco', 'mmdet::atss/atss_r50_fpn_1x_coco.py'),
        ('sparse_rcnn_r50_coco', 'mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_300-proposals_crop-ms-480-800-3x_coco.py'),
    ],
)
def test_single_files_of_mmdetection_are_taken_whole(name: str, theirs: str) -> None:
    assert parsed(name).model.to_dict() == get_config(theirs).model.to_dict()


def test_sparse_rcnn_has_300_proposals() -> None:
    for name in ('sparse_rcnn_r50_coco', 'sparse_rcnn_swin_t_coco'):
        model = build_on_meta(parsed(name).model)
        assert model.rpn_head.num_proposals == model.test_cfg.rcnn.max_per_img == 300
        assert len(model.roi_head.bbox_head) == 6


def test_atss_leaves_out_the_first_map() -> None:
    model = build_on_meta(parsed('atss_swin_t_coco').model)
    assert model.backbone.out_indices == (1, 2, 3) and not hasattr(model.backbone, 'norm0')
    assert len(model.neck.lateral_convs) == 3 and len(model.neck.fpn_convs) == 5


@pytest.mark.parametrize(
    ('name', 'drop_path', 'decay'), [('cascade_mask_rcnn_deit_s_coco', 0.2, 0.05), ('upernet_deit_s_ade20k', 0.3, 0.01)]
)
def test_deit_s(name: str, drop_path: float, decay: float) -> None:
    cfg = parsed(name)
    assert cfg.model.backbone.init_cfg == {'type': 'Pretrained', 'checkpoint': DEIT_S}
    model = build_on_meta(cfg.model, cfg.default_scope)
    backbone = model.backbone
    assert (len(backbone.blocks), backbone.blocks[0].attn.num_heads, backbone.num_features) == (12, 6, [384] * 4)
    assert backbone.patch_embed.patch_size == (16, 16) and backbone.blocks[-1].drop_path == pytest.approx(drop_path)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    of = {group['params'][0]: group['weight_decay'] for group in optimizer.param_groups}
    for parameter in (backbone.pos_embed, backbone.cls_token, backbone.blocks[3].norm1.weight, backbone.norm.bias):
        assert of[parameter] == 0
    assert of[backbone.blocks[3].attn.qkv.weight] == of[backbone.pyramid[0][0].weight] == decay


def test_files_of_all_backbones_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMSWIN_PRETRAINED_DIR', '/cache')
    files = {
        'cascade_mask_rcnn_r50_coco': 'resnet50-0676ba61',
        'atss_r50_coco': 'resnet50-0676ba61',
        'sparse_rcnn_r50_coco': 'resnet50-0676ba61',
        'upernet_r101_ade20k': 'resnet101_v1c-e67eebb6',
        'cascade_mask_rcnn_x101_64x4d_coco': 'resnext101_64x4d-ee2c6f71',
        'upernet_deit_s_ade20k': 'deit_small_patch16_224-cd65a155',
        'sparse_rcnn_swin_t_coco': 'swin_tiny_patch4_window7_224',
    }
    for name, file in files.items():
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        assert cfg.model.backbone.init_cfg.checkpoint == f'/cache/{file}.pth', name
