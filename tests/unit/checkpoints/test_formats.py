"""One backbone under every name it goes by: recognised by keys alone, below any prefix, in any container."""

import pytest
import torch

from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import load_weights
from mmswin.checkpoints.convert import container_of, fuse_qkv, split_qkv, to_format, translate
from mmswin.checkpoints.export import TARGETS, export, kind_of
from mmswin.checkpoints.formats import AUTHORS, FORMATS, OPENMMLAB, OPENMMLAB_V2, TIMM, TORCHVISION, TRANSFORMERS

TINY = dict(embed_dims=12, depths=(1, 2, 2, 1), num_heads=(1, 2, 3, 4), window_size=4)
# Names that must be just so, in each format; the tensor they are is the authors' on the right.
ANCHORS = {
    'openmmlab': {
        'patch_embed.projection.bias': 'patch_embed.proj.bias',
        'stages.2.blocks.1.attn.w_msa.proj.bias': 'layers.2.blocks.1.attn.proj.bias',
        'stages.1.blocks.0.ffn.layers.0.0.weight': 'layers.1.blocks.0.mlp.fc1.weight',
        'stages.1.blocks.0.ffn.layers.1.bias': 'layers.1.blocks.0.mlp.fc2.bias',
    },
    'timm': {'layers.1.downsample.reduction.weight': 'layers.0.downsample.reduction.weight',
             'layers.3.downsample.norm.bias': 'layers.2.downsample.norm.bias',
             'layers.3.blocks.0.mlp.fc1.bias': 'layers.3.blocks.0.mlp.fc1.bias'},
    'torchvision': {
        'features.0.0.weight': 'patch_embed.proj.weight', 'features.0.2.bias': 'patch_embed.norm.bias',
        'features.7.0.attn.qkv.weight': 'layers.3.blocks.0.attn.qkv.weight',
        'features.5.1.mlp.3.weight': 'layers.2.blocks.1.mlp.fc2.weight',
        'features.6.norm.weight': 'layers.2.downsample.norm.weight',
    },
    'transformers': {
        'embeddings.norm.weight': 'patch_embed.norm.weight',
        'encoder.layers.2.blocks.1.attention.output.dense.bias': 'layers.2.blocks.1.attn.proj.bias',
        'encoder.layers.2.blocks.1.layernorm_before.bias': 'layers.2.blocks.1.norm1.bias',
        'encoder.layers.2.blocks.1.output.dense.bias': 'layers.2.blocks.1.mlp.fc2.bias',
        'hidden_states_norms.stage4.weight': 'norm3.weight',
    },
}  # fmt: skip


@pytest.fixture(scope='module')
def weights():
    torch.manual_seed(0)
    model = SwinTransformer(**TINY)
    model.init_weights()
    return {name: torch.randn_like(value) for name, value in model.state_dict().items()}


def _assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize('form', [form for form in FORMATS if form is not OPENMMLAB_V2], ids=lambda form: form.name)
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.', 'model.', 'student.', 'encoder.', 'a.b.'])
def test_recognised_and_translated_to_the_bit(form, prefix, weights):
    foreign = {prefix + name: value for name, value in to_format(weights, form).items()}
    translation = translate(foreign)
    assert translation.format is form
    assert translation.prefix == prefix
    _assert_equal(translation.tensors, weights)


@pytest.mark.parametrize('name', ANCHORS)
def test_anchors(name, weights):
    form = next(form for form in FORMATS if form.name == name)
    foreign = to_format(weights, form)
    for theirs, ours in ANCHORS[name].items():
        expected = weights[ours]
        if not (form.channel_major and '.downsample.' in ours):
            assert torch.equal(foreign[theirs], expected), theirs


def test_query_key_and_value_are_thirds_in_this_order(weights):
    split = to_format(weights, TRANSFORMERS)
    whole = weights['layers.1.blocks.1.attn.qkv.weight']
    for i, part in enumerate(('query', 'key', 'value')):
        found = split[f'encoder.layers.1.blocks.1.attention.self.{part}.weight']
        assert torch.equal(found, whole[24 * i : 24 * (i + 1)])
    _assert_equal(fuse_qkv(split_qkv(weights)), weights)
    # A part that is missing is not made up; the load says so.
    del split['encoder.layers.1.blocks.1.attention.self.key.weight']
    assert 'layers.1.blocks.1.attn.qkv.weight' not in translate(split).tensors


@pytest.mark.parametrize('wrapper', ['_fsdp_wrapped_module.', '_orig_mod.', '_checkpoint_wrapped_module.'])
def test_wrappers_leave_no_trace(wrapper, weights):
    wrapped = {name.replace('layers.1.', f'layers.1.{wrapper}'): value for name, value in weights.items()}
    wrapped = {wrapper + name: value for name, value in wrapped.items()}
    _assert_equal(translate(wrapped).tensors, weights)


@pytest.mark.parametrize(
    ('wrap', 'container'),
    [
        (lambda w: w, ''),
        (lambda w: {'model': w, 'optimizer': {}, 'epoch': 1}, 'model'),
        (lambda w: {'state_dict': w, 'meta': {}}, 'state_dict'),
        (lambda w: {'module': {'module.' + name: value for name, value in w.items()}, 'dp_world_size': 8}, 'module'),
        (lambda w: {'state_dict': {n: value * 0 for n, value in w.items()}, 'state_dict_ema': w}, 'state_dict_ema'),
        (lambda w: {'model': {name: value * 0 for name, value in w.items()},
                    'model_ema': {'module.' + name: value for name, value in w.items()}}, 'model_ema'),
        (lambda w: {'student': {name: value * 0 for name, value in w.items()}, 'teacher': w}, 'teacher'),
        (lambda w: {'model': {'state_dict': w}}, 'model.state_dict'),
        (lambda w: {'state_dict': w, 'ema_state_dict': {name: value * 0 for name, value in w.items()}}, 'state_dict'),
        (lambda w: {'student.backbone.' + name: value * 0 for name, value in w.items()}
         | {'teacher.backbone.' + name: value for name, value in w.items()}, ''),
    ],
)  # fmt: skip
def test_containers_and_averaged_weights(wrap, container, weights, tmp_path):
    content = wrap(weights)
    assert container_of(content) == container
    torch.save(content, tmp_path / 'file.pth')
    model = SwinTransformer(**TINY)
    load_weights(model, tmp_path / 'file.pth')
    _assert_equal(model.state_dict(), weights)


def test_pretrained_encoders(weights):
    bare = {name: value for name, value in weights.items() if not name.startswith('norm')}
    simmim = {'encoder.' + name: value for name, value in bare.items()}
    simmim |= {'encoder.mask_token': torch.zeros(1, 1, 12), 'encoder.norm.weight': torch.ones(96),
               'decoder.0.weight': torch.zeros(3072, 96, 1, 1)}  # fmt: skip
    moby = {'encoder_k.' + name: value * 0 for name, value in bare.items()}
    moby |= {'encoder.' + name: value for name, value in bare.items()}
    moby |= {'projector.linear1.weight': torch.zeros(8, 96), 'queue1': torch.zeros(256, 8)}
    for content in (simmim, moby):
        translation = translate(content)
        assert translation.prefix == 'encoder.'
        _assert_equal(translation.tensors, bare)
        assert len(translation.unused) == len(content) - len(bare)


def test_a_detector_keeps_its_heads_in_every_library_that_has_them(weights):
    detector = {'module.backbone.' + name: value for name, value in weights.items()}
    heads = {'neck.convs.0.conv.weight': torch.randn(8, 12, 1, 1), 'roi_head.bbox_head.2.fc_cls.bias': torch.ones(3)}
    detector |= {'module.' + name: value for name, value in heads.items()}
    assert kind_of(translate(detector)) == 'detector'
    previous = detector
    for target in ('mmdet', 'mmswin', 'mmseg', 'authors'):
        exported = export({'state_dict': previous, 'meta': {'epoch': 12}}, target)
        assert exported.model == 'detector'
        assert exported.dropped == []
        assert exported.content['meta'] == {'epoch': 12}
        for name, value in heads.items():
            assert torch.equal(exported.tensors[name], value)
        previous = exported.tensors
    _assert_equal({name: value for name, value in previous.items() if name.startswith('backbone')},
                  {'backbone.' + name: value for name, value in weights.items()})  # fmt: skip
    alone = export(detector, 'timm')
    assert alone.model == 'backbone'
    assert {'neck.convs.0.conv.weight', 'roi_head.bbox_head.2.fc_cls.bias', 'norm0.weight'} <= set(alone.dropped)


@pytest.mark.parametrize('first', TARGETS)
@pytest.mark.parametrize('second', TARGETS)
def test_round_trips_of_a_classifier(first, second, weights):
    final = {'norm.weight': torch.randn(96), 'norm.bias': torch.randn(96)}
    head = {'head.weight': torch.randn(5, 96), 'head.bias': torch.randn(5)}
    backbone = {name: value for name, value in weights.items() if not name.startswith('norm')}
    start = export(backbone | final | head, first)
    there = export(start.content, second)
    back = export(there.content, first)
    if not {'mmdet', 'mmseg'} & {first, second}:
        _assert_equal(back.tensors, start.tensors)
    # mmdet and mmseg have no classifiers: their files hold the backbone alone.
    for exported in (there, back):
        found = translate(exported.tensors).tensors
        _assert_equal({name: value for name, value in found.items() if not name.startswith('norm')}, backbone)


def test_position_embeddings_go_where_there_is_a_place(weights):
    from mmswin.checkpoints import CheckpointError

    flat = weights | {'absolute_pos_embed': torch.randn(1, 64, 12)}
    ours = export(flat, 'mmswin').tensors['absolute_pos_embed']
    assert ours.shape == (1, 12, 8, 8)
    assert torch.equal(export({'absolute_pos_embed': ours} | weights, 'mmdet').tensors['backbone.absolute_pos_embed'],
                       flat['absolute_pos_embed'])  # fmt: skip
    for target in ('timm', 'torchvision'):
        with pytest.raises(CheckpointError, match=f"{target}'s Swin has no absolute position embedding"):
            export(flat, target)


def test_tables_name_each_format_once():
    assert len({form.name for form in FORMATS}) == len(FORMATS)
    assert {target.format for target in TARGETS.values()} == {AUTHORS, OPENMMLAB, TIMM, TORCHVISION, TRANSFORMERS}


def test_output_norms_beside_the_backbone(weights):
    """As transformers' MaskFormer has them."""
    top = 'model.pixel_level_module.encoder.'
    theirs = {
        top + (name.replace('stage1', '0').replace('stage2', '1').replace('stage3', '2').replace('stage4', '3')
               if name.startswith('hidden_states_norms.') else 'model.' + name): value
        for name, value in to_format(weights, TRANSFORMERS).items()
    }  # fmt: skip
    translation = translate(theirs)
    _assert_equal(translation.tensors, weights)
    assert translation.unused == []
