"""The faults B1 to B17 of mmdet's Swin backbone, each shown to be absent here."""

import warnings

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.convert import to_format
from mmswin.checkpoints.formats import OPENMMLAB
from mmswin.ops import windows
from mmswin.ops.caches import clear_caches


def _steps(model, count=3, **ddp):
    """Train a few DDP steps; raises if a parameter stays without gradient or is marked ready twice."""
    ddp_model = DistributedDataParallel(model, **ddp)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(count):
        optimizer.zero_grad()
        sum(out.square().mean() for out in ddp_model(torch.randn(1, 3, 32, 40))).backward()
        optimizer.step()


def _saved(tmp_path, weights, name='weights.pth'):
    torch.save(weights, tmp_path / name)
    return str(tmp_path / name)


def _pretrained(path):
    return dict(type='Pretrained', checkpoint=path)


def test_b1_train_and_eval_return_the_model(tiny_swin):
    model = tiny_swin(frozen_stages=1)
    assert model.eval() is model
    assert model.train() is model


@pytest.mark.parametrize('flat', [False, True])
def test_b2_position_embedding_is_loaded(tiny_swin, tmp_path, flat):
    source = tiny_swin(use_abs_pos_embed=True)
    weights = source.state_dict()
    if flat:  # as classifiers and mmdet have it
        weights['absolute_pos_embed'] = weights['absolute_pos_embed'].flatten(2).transpose(1, 2)
    model = SwinTransformer(
        embed_dims=12,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 3, 4),
        window_size=4,
        use_abs_pos_embed=True,
        init_cfg=_pretrained(_saved(tmp_path, {'model': weights})),
    )
    model.init_weights()
    torch.testing.assert_close(model.absolute_pos_embed, source.absolute_pos_embed, rtol=0, atol=0)


def test_b2_position_embedding_into_a_model_without_one_is_reported(tiny_swin):
    model = tiny_swin()
    model.load_state_dict(tiny_swin(use_abs_pos_embed=True).state_dict(), strict=False)
    assert model.load_report.unexpected == ['absolute_pos_embed']


def test_b3_position_embedding_is_resized_to_the_image(tiny_swin):
    model = tiny_swin(use_abs_pos_embed=True)
    assert model(torch.randn(1, 3, 256, 320))[0].shape == (1, 12, 64, 80)


@pytest.mark.parametrize('frozen_stages', [0, 1, 2, 3, 4])
def test_b4_frozen_from_construction(tiny_args, frozen_stages):
    model = SwinTransformer(**tiny_args, frozen_stages=frozen_stages, use_abs_pos_embed=True)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    expected = ['patch_embed.', 'absolute_pos_embed']
    for i in range(frozen_stages):
        expected += [f'layers.{i}.', f'norm{i}.']
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith(tuple(expected))}
    model.train()
    assert not any(m.training for m in model.patch_embed.modules())
    assert all(layer.training == (i >= frozen_stages) for i, layer in enumerate(model.layers))


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize(
    ('out_indices', 'frozen_stages'),  # something is left to train
    [(outs, frozen) for outs in [(0, 1, 2, 3), (1, 3), (2,), (0, 1)] for frozen in range(-1, max(outs) + 1)],
)
def test_b4_ddp_without_find_unused_parameters(process_group, tiny_args, frozen_stages, out_indices, with_cp):
    model = SwinTransformer(**tiny_args, frozen_stages=frozen_stages, out_indices=out_indices, with_cp=with_cp)
    _steps(model)


@pytest.mark.parametrize('target', [12, 5, (6, 8)])
def test_b5_window_change_with_the_derived_buffers_in_the_file(tiny_args, tiny_swin, tmp_path, target):
    weights = tiny_swin(window_size=7).state_dict()
    for i in range(4):
        weights[f'layers.{i}.blocks.0.attn.relative_position_index'] = torch.zeros(49, 49, dtype=torch.long)
        weights[f'layers.{i}.blocks.1.attn_mask'] = torch.zeros(4, 49, 49)
    tiny_args['window_size'] = target
    model = SwinTransformer(**tiny_args, init_cfg=_pretrained(_saved(tmp_path, weights)))
    model.init_weights()
    assert len(model.load_report.resized) == 8
    assert model.load_report.loaded == model.load_report.total
    assert model(torch.randn(1, 3, 64, 64))[3].isfinite().all()


@pytest.mark.parametrize('wrap', ['', 'backbone.', 'module.', 'module.backbone.'])
@pytest.mark.parametrize('openmmlab', [False, True])
def test_b6_any_prefix(tiny_args, tiny_swin, tmp_path, wrap, openmmlab):
    source = tiny_swin()
    weights = to_format(source.state_dict(), OPENMMLAB) if openmmlab else source.state_dict()
    weights = {wrap + name: value for name, value in weights.items()} | {'neck.conv.weight': torch.zeros(2)}
    path = _saved(tmp_path, {'state_dict': weights})
    for init_cfg in [dict(checkpoint=path), dict(checkpoint=path, prefix=wrap.rstrip('.') or None)]:
        model = SwinTransformer(**tiny_args, init_cfg=dict(type='Pretrained', **init_cfg))
        model.init_weights()
        for name, value in source.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize('convert_weights', [False, True])
@pytest.mark.parametrize('openmmlab', [False, True])
def test_b7_convert_weights_is_not_needed_and_does_no_harm(tiny_args, tiny_swin, tmp_path, openmmlab, convert_weights):
    source = tiny_swin()
    weights = to_format(source.state_dict(), OPENMMLAB) if openmmlab else source.state_dict()
    weights = {'backbone.' + name: value for name, value in weights.items()}
    init_cfg = dict(type='Pretrained', checkpoint=_saved(tmp_path, {'state_dict': weights}))
    model = SwinTransformer(**tiny_args, convert_weights=convert_weights, init_cfg=init_cfg)
    model.init_weights()
    x = torch.randn(1, 3, 45, 70)
    torch.testing.assert_close(model.eval()(x), source.eval()(x), rtol=0, atol=0)


def test_b8_a_resnet_is_refused(tiny_args, tmp_path):
    path = _saved(tmp_path, {'layer1.0.conv1.weight': torch.zeros(2), 'fc.weight': torch.zeros(2)})
    model = SwinTransformer(**tiny_args, init_cfg=_pretrained(path))
    with pytest.raises(CheckpointError, match='a ResNet, not a Swin'):
        model.init_weights()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_b9_pure_half_precision_runs(tiny_swin, dtype):
    outs = tiny_swin().to(dtype)(torch.randn(1, 3, 64, 64, dtype=dtype))
    assert all(out.dtype == dtype and out.isfinite().all() for out in outs)


def test_b10_pretrained_is_honoured(tiny_args, tiny_swin, tmp_path):
    path = _saved(tmp_path, tiny_swin().state_dict())
    with pytest.warns(DeprecationWarning, match='init_cfg'):
        model = SwinTransformer(**tiny_args, pretrained=path)
    assert model.init_cfg == dict(type='Pretrained', checkpoint=path)
    model.init_weights()
    assert model.load_report.loaded == model.load_report.total


@pytest.mark.parametrize('kind', ['dict', 'ConfigDict', 'list'])
def test_b11_init_cfg_of_any_kind(tiny_args, tiny_swin, tmp_path, kind):
    pretrained = dict(type='Pretrained', checkpoint=_saved(tmp_path, tiny_swin().state_dict()))
    init_cfg = {
        'dict': pretrained,
        'ConfigDict': ConfigDict(pretrained),
        'list': [pretrained, dict(type='Constant', layer='LayerNorm', val=3.0, bias=0.5)],
    }[kind]
    model = SwinTransformer(**tiny_args, init_cfg=init_cfg)
    model.init_weights()
    assert model.load_report.source == pretrained['checkpoint']
    assert model.load_report.missing == []
    torch.testing.assert_close(model.norm3.weight, tiny_swin().norm3.weight, rtol=0, atol=0)


def test_b12_other_heads_are_refused_with_the_reason(tiny_swin):
    weights = tiny_swin(num_heads=(2, 2, 3, 4)).state_dict()
    with pytest.raises(CheckpointError, match=r'num_heads=\(2, 2, 3, 4\), the config says .*num_heads=\(1, 2, 3, 4\)'):
        tiny_swin().load_state_dict(weights)


@pytest.mark.parametrize('mlp_ratio', [4.0, 4, 2.5])
def test_b13_mlp_ratio_of_any_kind(tiny_swin, mlp_ratio):
    assert tiny_swin(mlp_ratio=mlp_ratio).layers[0].blocks[0].mlp.fc1.out_features == int(12 * mlp_ratio)


def test_b14_masks_are_not_rebuilt(tiny_swin, monkeypatch):
    clear_caches()
    model = tiny_swin(depths=(2, 2, 18, 2)).eval()
    model(torch.randn(1, 3, 70, 90))
    monkeypatch.setattr(windows, '_region_ids', lambda *_: pytest.fail('mask rebuilt'))
    model(torch.randn(1, 3, 70, 90))


def test_b14_a_trace_serves_other_sizes(tiny_swin):
    model = tiny_swin().eval()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(model, torch.randn(2, 3, 100, 130), check_trace=False)
    for size in [(2, 3, 100, 130), (1, 3, 64, 96), (3, 3, 33, 47), (2, 3, 5, 9)]:
        x = torch.randn(size)
        for out, expected in zip(traced(x), model(x)):
            torch.testing.assert_close(out, expected)


@pytest.mark.slow
def test_b14_export_with_dynamic_batch_and_size(tiny_swin):
    model = tiny_swin(depths=(2, 1), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1)).eval()
    auto, static = torch.export.Dim.AUTO, torch.export.Dim.STATIC
    program = torch.export.export(model, (torch.randn(2, 3, 300, 430),), dynamic_shapes=((auto, static, auto, auto),))
    for size in [(2, 3, 300, 430), (3, 3, 224, 224), (1, 3, 257, 611)]:
        x = torch.randn(size)
        for out, expected in zip(program.module()(x), model(x)):
            torch.testing.assert_close(out, expected)


def test_b15_checkpointing_is_non_reentrant_and_exact(tiny_swin):
    x = torch.randn(2, 3, 45, 70)
    gradients = []
    for with_cp in (False, True):
        model = tiny_swin(with_cp=with_cp, drop_path_rate=0.3, drop_rate=0.1, frozen_stages=1)
        torch.manual_seed(7)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            sum(out.square().mean() for out in model(x)).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=0)


def test_b15_checkpointing_is_exact_under_ddp_with_frozen_stages(process_group, tiny_swin):
    x = torch.randn(2, 3, 45, 70)
    gradients = []
    for with_cp in (False, True):
        model = tiny_swin(with_cp=with_cp, frozen_stages=2)
        sum(out.square().mean() for out in DistributedDataParallel(model)(x)).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=0)


def test_b15_checkpointing_with_find_unused_parameters(process_group, tiny_args):
    _steps(SwinTransformer(**tiny_args, with_cp=True), find_unused_parameters=True)


def test_b16_out_indices(process_group, tiny_args):
    x = torch.randn(1, 3, 64, 64)
    assert SwinTransformer(**tiny_args, out_indices=(-1,))(x)[0].shape[1] == 96
    assert [out.shape[1] for out in SwinTransformer(**tiny_args, out_indices=(3, 1))(x)] == [96, 24]
    shallow = SwinTransformer(**tiny_args, out_indices=(0, 1))
    assert len(shallow.layers) == 2
    assert shallow.layers[1].downsample is None
    _steps(shallow)


def test_b17_layer_wise_decay_knows_swin(tiny_swin):
    from mmengine.optim import build_optim_wrapper

    wrapper = build_optim_wrapper(
        nn.ModuleDict(dict(backbone=tiny_swin())),
        dict(
            constructor='mmswin.LayerDecayOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1.0),
            paramwise_cfg=dict(decay_rate=0.5),
        ),
    )
    rates = sorted({group['lr'] for group in wrapper.optimizer.param_groups})
    assert rates == [0.5**i for i in range(len(rates) - 1, -1, -1)] and len(rates) == 10  # eight blocks, before, behind
