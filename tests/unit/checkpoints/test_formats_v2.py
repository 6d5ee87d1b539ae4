"""A Swin V2 under the names of every library that has one, and what a load of it must not overlook."""

from contextlib import nullcontext

import pytest
import torch

from mmswin.backbones import SwinTransformer, SwinTransformerV2
from mmswin.backbones.swin import VARIANTS
from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.convert import network_of, to_format, translate, variant_of
from mmswin.checkpoints.export import export
from mmswin.checkpoints.formats import AUTHORS, FORMATS, OPENMMLAB, OPENMMLAB_V2, V1, V2
from mmswin.checkpoints.inspection import inspect
from mmswin.ops.windows import log_spaced_offsets

TINY = dict(embed_dims=12, depths=(1, 2, 2, 1), num_heads=(1, 2, 3, 4), window_size=4)
BLOCK = 'layers.2.blocks.1.'
# Names that must be just so, in each format; the tensor they are is the authors' on the right.
ANCHORS = {
    'timm': {'layers.2.blocks.1.attn.q_bias': BLOCK + 'attn.q_bias',
             'layers.1.downsample.norm.weight': 'layers.0.downsample.norm.weight'},
    'mmpretrain': {'stages.2.blocks.1.attn.w_msa.v_bias': BLOCK + 'attn.v_bias',
                   'stages.2.blocks.1.attn.w_msa.cpb_mlp.2.weight': BLOCK + 'attn.cpb_mlp.2.weight',
                   'stages.1.downsample.norm.weight': 'layers.0.downsample.norm.weight',
                   'stages.2.blocks.1.ffn.layers.1.bias': BLOCK + 'mlp.fc2.bias'},
    'torchvision': {'features.5.1.attn.logit_scale': BLOCK + 'attn.logit_scale',
                    'features.5.1.attn.cpb_mlp.0.bias': BLOCK + 'attn.cpb_mlp.0.bias',
                    'features.2.norm.bias': 'layers.0.downsample.norm.bias'},
    'transformers': {
        'encoder.layers.2.blocks.1.attention.self.query.bias': BLOCK + 'attn.q_bias',
        'encoder.layers.2.blocks.1.attention.self.value.bias': BLOCK + 'attn.v_bias',
        'encoder.layers.2.blocks.1.attention.self.logit_scale': BLOCK + 'attn.logit_scale',
        'encoder.layers.2.blocks.1.attention.self.continuous_position_bias_mlp.0.weight': BLOCK + 'attn.cpb_mlp.0.weight',
        'encoder.layers.2.blocks.1.layernorm_after.weight': BLOCK + 'norm2.weight'},
}  # fmt: skip
FORMS = [form for form in FORMATS if form is not OPENMMLAB]


@pytest.fixture(scope='module')
def weights():
    torch.manual_seed(0)
    return {name: torch.randn_like(value) for name, value in SwinTransformerV2(**TINY).state_dict().items()}


def _offsets(windows, pretrained=None):
    """As the authors save them."""
    return {
        f'layers.{stage}.blocks.{block}.attn.relative_coords_table': log_spaced_offsets(
            (window, window), ((pretrained or windows)[stage],) * 2, torch.zeros(())
        ).view(1, 2 * window - 1, 2 * window - 1, 2)
        for stage, window in enumerate(windows)
        for block in range(TINY['depths'][stage])
    }


@pytest.mark.parametrize('form', FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.encoder.'])
def test_recognised_and_translated_to_the_bit(form, prefix, weights):
    foreign = {prefix + name: value for name, value in to_format(weights, form).items()}
    translation = translate(foreign)
    assert (translation.format, translation.prefix) == (form, prefix)
    assert network_of(translation.tensors) == V2
    assert variant_of(translation.tensors) == (12, TINY['depths'], TINY['num_heads'])
    assert translation.tensors.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(translation.tensors[name], value), name
    for theirs, ours in ANCHORS.get(form.name, {}).items():
        assert torch.equal(foreign[prefix + theirs], weights[ours]), theirs


def test_torchvision_has_a_bias_of_the_keys_that_counts_as_none(weights):
    foreign = to_format(weights, next(form for form in FORMS if form.name == 'torchvision'))
    bias = foreign['features.5.1.attn.qkv.bias']
    assert torch.equal(bias[48:96], torch.zeros(48))
    bias[48:96] = 7
    assert torch.equal(translate(foreign).tensors[BLOCK + 'attn.v_bias'], weights[BLOCK + 'attn.v_bias'])


def test_merging_is_reordered_and_its_norm_is_not(weights):
    """nn.Unfold puts channels first; the norm comes after the reduction and has no neighbours."""
    foreign = to_format(weights, OPENMMLAB_V2)
    theirs, ours = foreign['stages.1.downsample.reduction.weight'], weights['layers.0.downsample.reduction.weight']
    # Neighbours in the authors' order are (0,0) (1,0) (0,1) (1,1), in nn.Unfold's (0,0) (0,1) (1,0) (1,1).
    assert torch.equal(theirs.view(24, 12, 4), ours.view(24, 4, 12)[:, [0, 2, 1, 3]].transpose(1, 2))


def test_old_encoders_of_simmim(weights):
    old = {name.replace('cpb_mlp', 'rpe_mlp'): value for name, value in weights.items()}
    assert translate(old).tensors.keys() == weights.keys()
    assert to_format(weights, AUTHORS).keys() == weights.keys()


def test_the_first_and_the_second_swin_do_not_take_each_others_files(weights):
    first = SwinTransformer(**TINY)
    assert network_of(first.state_dict()) == V1
    with pytest.raises(CheckpointError, match=r"type='mmswin\.SwinTransformerV2'"):
        first.load_state_dict(weights, strict=False)
    with pytest.raises(CheckpointError, match=r"type='mmswin\.SwinTransformer'"):
        SwinTransformerV2(**TINY).load_state_dict(first.state_dict(), strict=False)


@pytest.mark.parametrize('form', FORMS, ids=lambda form: form.name)
def test_offsets_of_other_windows_are_refused_until_the_config_says_them(form, weights):
    windows, pretrained = (8, 8, 8, 4), (6, 6, 6, 3)
    file = to_format(weights | _offsets(windows, pretrained), form)
    for given in (None, 6, [6, 6, 6, 4]):
        with pytest.raises(CheckpointError) as error:
            SwinTransformerV2(**TINY, pretrained_window_sizes=given).load_state_dict(file, strict=False)
        assert 'pretrained_window_sizes=[6, 6, 6, 3]' in str(error.value)
    net = SwinTransformerV2(**TINY, pretrained_window_sizes=[6, 6, 6, 3])
    net.load_state_dict(file, strict=False)
    assert (net.load_report.loaded, net.load_report.unexpected) == (net.load_report.total, [])
    own = SwinTransformerV2(**{**TINY, 'window_size': windows})
    own.load_state_dict(weights | _offsets(windows), strict=False)


@pytest.mark.parametrize(
    'odd',
    [
        dict(relative_coords_table=torch.full((1, 7, 7, 2), 1e30)),
        dict(relative_coords_table=torch.zeros(1, 0, 0, 2)),
        dict(relative_coords_table=torch.full((1, 7, 7, 2), 1e-320, dtype=torch.float64)),
        dict(relative_position_bias_table=torch.zeros(49, 1)),
    ],
)
def test_offsets_that_are_none_are_told_or_refused(odd, weights):
    file = weights | {f'layers.0.blocks.0.attn.{name}': value for name, value in odd.items()}
    assert 'window' in dict(inspect(file, dict(SwinTransformerV2=VARIANTS)))
    refused = pytest.raises(CheckpointError, match='pretrained_window_sizes')
    with refused if any(value.numel() and value.max() > 1e20 for value in odd.values()) else nullcontext():
        SwinTransformerV2(**TINY).load_state_dict(file, strict=False)


def test_inspect_says_class_and_windows(weights):
    rows = dict(inspect(weights | _offsets((8, 8, 8, 4)), dict(SwinTransformerV2=VARIANTS)))
    assert 'SwinTransformerV2' in rows['variant']
    assert rows['window'].endswith('pretrained_window_sizes=[8, 8, 8, 4]')
    full = SwinTransformerV2(arch='tiny').state_dict()
    assert (
        "type='mmswin.SwinTransformerV2', arch='tiny'"
        in dict(inspect(full, dict(SwinTransformerV2=VARIANTS)))['variant']
    )


def test_export_takes_offsets_along_and_refuses_libraries_without_it(weights):
    exported = export(weights | _offsets((8, 8, 8, 8)), 'torchvision')
    assert exported.tensors['features.1.0.attn.relative_coords_table'].shape == (1, 15, 15, 2)
    assert exported.tensors['features.1.0.attn.relative_position_index'].shape == (4096,)
    assert export(weights, 'transformers').model == 'Swinv2Backbone'
    assert any('index' in note for note in export(weights, 'mmpretrain').notes)
    with pytest.raises(CheckpointError, match='mmdet has no SwinTransformerV2'):
        export(weights, 'mmdet')
