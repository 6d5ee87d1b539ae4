"""Layer-wise decay gives every parameter of a Swin its learning rate, wherever the backbone sits."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmswin.backbones import SwinTransformer
from mmswin.engine import LayerDecayOptimWrapperConstructor
from mmswin.engine.layer_decay import swin_layer

LR, RATE = 1e-4, 0.8
# Depths 2-2-6-2: twelve blocks, so layer 13 is the outside; what a parameter's name begins with and its layer.
LAYERS = {
    'patch_embed.': 0,
    'absolute_pos_embed': 0,
    'layers.0.blocks.0.': 1,
    'layers.0.blocks.1.': 2,
    'layers.0.downsample.': 2,
    'layers.1.blocks.0.': 3,
    'layers.1.blocks.1.': 4,
    'layers.1.downsample.': 4,
    'layers.2.blocks.0.': 5,
    'layers.2.blocks.1.': 6,
    'layers.2.blocks.2.': 7,
    'layers.2.blocks.3.': 8,
    'layers.2.blocks.4.': 9,
    'layers.2.blocks.5.': 10,
    'layers.2.downsample.': 10,
    'layers.3.blocks.0.': 11,
    'layers.3.blocks.1.': 12,
    'norm0.': 13,
    'norm1.': 13,
    'norm2.': 13,
    'norm3.': 13,
}
CFG = dict(
    type='OptimWrapper',
    constructor='mmswin.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=LR, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        decay_rate=RATE,
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0),
        ),
    ),
)


def tiny(**options) -> SwinTransformer:
    return SwinTransformer(
        embed_dims=12, depths=(2, 2, 6, 2), num_heads=(1, 1, 1, 1), use_abs_pos_embed=True, **options
    )


class Detector(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.bbox_head = nn.Linear(2, 2)


def groups(model: nn.Module, cfg: dict = CFG) -> dict[str, dict]:
    """Parameter group of every parameter by its name."""
    optimizer = build_optim_wrapper(model, copy.deepcopy(cfg)).optimizer
    by_parameter = {parameter: group for group in optimizer.param_groups for parameter in group['params']}
    return {name: by_parameter[parameter] for name, parameter in model.named_parameters() if parameter in by_parameter}


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_table_for_depths_2_2_6_2(prefix: str) -> None:
    model = tiny() if not prefix else Detector(tiny())
    if prefix.startswith('module.'):
        model = nn.ModuleDict({'module': model})
        model.module = model['module']
    found = groups(model)
    assert len(found) == len(list(model.parameters()))
    matched = set()
    for name, group in found.items():
        if not name.startswith(prefix) or 'bbox_head' in name:
            assert group['lr'] == LR and group['weight_decay'] == 0.05, name
            continue
        start = next(start for start in LAYERS if name.removeprefix(prefix).startswith(start))
        matched.add(start)
        assert group['lr'] == pytest.approx(LR * RATE ** (13 - LAYERS[start]), rel=1e-12), name
        free = ('absolute_pos_embed', 'relative_position_bias_table', 'norm')
        assert group['weight_decay'] == (0.0 if any(word in name for word in free) else 0.05), name
    assert matched == set(LAYERS)


def test_the_optimizer_steps_by_it() -> None:
    """AdamW's first step moves every weight by its learning rate, whatever the gradient."""
    model = tiny()
    cfg = copy.deepcopy(CFG)
    cfg['optimizer']['weight_decay'] = 0.0
    wrapper = build_optim_wrapper(model, cfg)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    wrapper.step()
    after = dict(model.named_parameters())
    for name, layer in (('patch_embed.proj.weight', 0), ('layers.2.blocks.3.mlp.fc1.bias', 8), ('norm3.bias', 13)):
        moved = (before[name] - after[name]).abs().max().item()
        assert moved == pytest.approx(LR * RATE ** (13 - layer), rel=1e-3)


def test_other_rules_multiply() -> None:
    cfg = copy.deepcopy(CFG)
    cfg['paramwise_cfg'] = dict(
        decay_rate=RATE, norm_decay_mult=0.0, bias_lr_mult=2.0, custom_keys={'layers.1.blocks.0.mlp': dict(lr_mult=3.0)}
    )
    found = groups(Detector(tiny()), cfg)
    assert found['backbone.layers.1.blocks.0.mlp.fc1.weight']['lr'] == pytest.approx(3 * LR * RATE**10)
    assert found['backbone.layers.3.blocks.1.attn.qkv.bias']['lr'] == pytest.approx(2 * LR * RATE)
    assert found['bbox_head.bias']['lr'] == pytest.approx(2 * LR)
    assert found['backbone.layers.0.blocks.0.norm1.weight']['weight_decay'] == 0.0
    assert found['backbone.layers.0.blocks.0.norm1.weight']['lr'] == pytest.approx(LR * RATE**12)


def test_frozen_stages_and_missing_stages() -> None:
    """Frozen parameters are left out, as by mmengine; the deepest stage that is built counts as the last."""
    found = groups(Detector(tiny(frozen_stages=2, out_indices=(1, 2))))
    assert not any('patch_embed' in name or 'layers.0' in name or 'layers.1.blocks' in name for name in found)
    assert found['backbone.layers.2.blocks.5.mlp.fc1.weight']['lr'] == pytest.approx(LR * RATE)
    assert found['backbone.layers.2.blocks.0.mlp.fc1.weight']['lr'] == pytest.approx(LR * RATE**6)


def test_a_rate_of_one_changes_nothing() -> None:
    cfg = copy.deepcopy(CFG)
    cfg['paramwise_cfg']['decay_rate'] = 1
    assert {group['lr'] for group in groups(Detector(tiny()), cfg).values()} == {LR}


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_in_models_of_both_libraries(scope: str) -> None:
    backbone = dict(type='mmswin.SwinTransformer', embed_dims=12, depths=(2, 2, 6, 2), num_heads=(1, 1, 1, 1))
    if scope == 'mmdet':
        cfg = dict(
            type='RetinaNet',
            backbone=backbone,
            neck=dict(type='FPN', in_channels=[12, 24, 48, 96], out_channels=8, num_outs=5),
            bbox_head=dict(
                type='RetinaHead',
                num_classes=3,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64]),
                bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            ),
        )
    else:
        cfg = dict(
            type='EncoderDecoder',
            backbone=backbone,
            decode_head=dict(
                type='UPerHead',
                in_channels=[12, 24, 48, 96],
                in_index=[0, 1, 2, 3],
                channels=8,
                num_classes=3,
                norm_cfg=dict(type='BN'),
            ),
        )
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg)
        found = groups(model)
    assert found['backbone.patch_embed.proj.weight']['lr'] == pytest.approx(LR * RATE**13)
    assert found['backbone.layers.3.blocks.1.attn.proj.weight']['lr'] == pytest.approx(LR * RATE)
    assert {group['lr'] for name, group in found.items() if not name.startswith('backbone.')} == {LR}


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        (None, 'needs optim_wrapper.paramwise_cfg.decay_rate, .* got None'),
        (dict(decay_rate=0), 'above 0 and at most 1 .* got 0'),
        (dict(decay_rate=1.2), 'got 1.2'),
        (dict(decay_rate='0.8'), "got '0.8'"),
        (dict(decay_rate=0.8, num_layers=12), 'num_layers is not an option'),
        (dict(decay_rate=0.8, decay_type='stage_wise'), "decay_type must be 'layer_wise'"),
    ],
)
def test_options_are_checked(paramwise: dict | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr=LR, weight_decay=0.05)), paramwise)


def test_learning_rate_is_needed() -> None:
    with pytest.raises(ValueError, match='needs optim_wrapper.optimizer.lr'):
        LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='AdamW')), dict(decay_rate=0.8))


def test_other_backbones_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match='and this model has torch.nn.modules.linear.Linear'):
        groups(Detector(nn.Linear(2, 2)))


def test_a_parameter_without_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="'stem.weight'"):
        swin_layer('stem.weight', [2, 2])
