"""Files for other libraries: read back, proved where the library is there, written whole or not at all."""

from importlib.util import find_spec

import pytest
import torch
from models import TINY

from mmswin.backbones.swin import VARIANTS, SwinTransformer
from mmswin.checkpoints import CheckpointError, load_file
from mmswin.checkpoints.convert_file import convert_file
from mmswin.checkpoints.inspection import inspect_file
from mmswin.errors import RunError


@pytest.fixture
def source(tmp_path):
    torch.manual_seed(0)
    model = SwinTransformer(**TINY)
    model.init_weights()
    weights = {'backbone.' + name: value for name, value in model.state_dict().items()}
    torch.save({'state_dict': weights | {'neck.a.weight': torch.ones(2)}, 'optimizer': {}}, tmp_path / 'source.pth')
    return tmp_path / 'source.pth'


def _convert(source, target, name='target.pth', **options):
    said = []
    convert_file(str(source), source.parent / name, target, say=said.append, **options)
    return said


@pytest.mark.parametrize('target', ['mmdet', 'mmseg'])
def test_verified_by_the_installed_library(source, target):
    pytest.importorskip(f'{target}.models')
    said = _convert(source, target)
    assert any(line.startswith(f'verified   {target} ') and 'in all 4 stages' in line for line in said)
    assert any('the training state (optimizer) stays behind' in line for line in said)
    assert torch.equal(load_file(source.parent / 'target.pth')['state_dict']['neck.a.weight'], torch.ones(2))
    said = _convert(source.parent / 'target.pth', 'mmswin', 'back.pth')
    assert any(line.startswith('verified   mmdet ') for line in said)
    before, after = (load_file(source.parent / name)['state_dict'] for name in ('source.pth', 'back.pth'))
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_what_was_not_verified_is_said(source, monkeypatch):
    from mmswin.checkpoints import reference_libraries

    def missing(*_args):
        raise ImportError("No module named 'timm'")

    blocks = reference_libraries.LIBRARIES['timm'][1]
    monkeypatch.setitem(reference_libraries.LIBRARIES, 'timm', (missing, blocks))
    said = _convert(source, 'timm')
    reason = 'it is not installed' if find_spec('timm') is None else "it cannot be imported: No module named 'timm'"
    assert f'not run    in timm ({reason}): the tensors are proved, the features are not' in said
    assert any(line.startswith('left out   7 ') for line in said)  # norms of three maps, and what is no backbone's
    assert (source.parent / 'target.pth').is_file()
    assert any('nothing to prove by running it' in line for line in _convert(source, 'authors', 'authors.pth'))


@pytest.mark.parametrize(
    'target, more',
    [('timm', ''), ('authors', ''), ('torchvision', '; 5 more (indices and masks) follow from the window size')],
)
def test_all_that_is_written_is_compared(source, target, more):
    exported = convert_file(str(source), source.parent / 'target.pth', target, say=(said := []).append)
    count = len(exported.tensors) - (5 if more else 0)
    assert f'read back  {count} tensors, equal to the bit{more}' in said


def test_what_a_file_may_hold_besides_sound_weights(source):
    """NaN, numbers of eight bits, names for one tensor, values that are no tensors, a block that is not whole."""
    weights = load_file(source)['state_dict']
    norm = 'backbone.layers.0.blocks.0.norm1.weight'
    shared = {f'bbox_head.{i}.weight': weights[norm] for i in range(2)}
    spoilt = weights | {norm: weights[norm] * float('nan'), 'neck.count': 3, 'head.weight': 3} | shared
    torch.save({'state_dict': spoilt}, source)
    said = _convert(source, 'mmdet', 'target.safetensors')
    assert any(line.startswith('not run    in mmdet (1 tensors hold NaN or infinity, the first is ') for line in said)
    found = load_file(source.parent / 'target.safetensors')
    assert found['bbox_head.1.weight'].equal(weights[norm]) and 'neck.count' not in found
    for change in ({norm: weights[norm].to(torch.float8_e4m3fn)}, {'backbone.layers.0.blocks.0.mlp.fc1.weight': None}):
        torch.save({'state_dict': weights | change}, source)
        _convert(source, 'mmdet', overwrite=True)


def test_structures_that_cannot_be_run_are_converted(source):
    model = SwinTransformer(**TINY, use_abs_pos_embed=True, pretrain_img_size=(32, 64)).state_dict()
    torch.save(model, source)
    _convert(source, 'mmdet', 'mmdet.pth')
    said = _convert(source.parent / 'mmdet.pth', 'mmswin')  # its embedding is flat, and no square
    assert any(line.startswith('not run    in mmdet ') and '128 positions' in line for line in said)
    one = SwinTransformer(embed_dims=12, depths=(1,), num_heads=(1,), strides=(4,), out_indices=(0,))
    torch.save(one.state_dict(), source)
    assert any(line.startswith('not run    in torchvision ') for line in _convert(source, 'torchvision', 'one.pth'))


def test_an_unknown_library_is_named_with_the_nearest(source):
    with pytest.raises(RunError, match=r'--to timmm is unknown \(did you mean timm\?\); choose from mmswin, authors'):
        _convert(source, 'timmm')


def test_a_mismatch_is_not_written(source, monkeypatch):
    pytest.importorskip('mmdet.models')
    from mmswin.checkpoints import proof

    monkeypatch.setattr(proof, 'stage_outputs', lambda model, blocks, image: [torch.rand(1, 4, 4)])
    with pytest.raises(CheckpointError, match=r'mmdet \S+ computes other features.*Nothing is written'):
        _convert(source, 'mmdet')
    assert not (source.parent / 'target.pth').exists()


def test_a_tensor_that_changes_on_the_way_is_not_written(source, monkeypatch):
    from mmswin.checkpoints import convert

    monkeypatch.setattr(convert, 'blocks_to_channel_major', lambda tensor: tensor + 1)
    with pytest.raises(CheckpointError, match='differs when it is read back: a fault of mmswin'):
        _convert(source, 'mmdet')
    assert not (source.parent / 'target.pth').exists()


def test_nothing_is_overwritten_unasked(source):
    _convert(source, 'authors')
    content = (source.parent / 'target.pth').read_bytes()
    with pytest.raises(RunError, match=r'target\.pth exists: give another name, or --overwrite'):
        _convert(source, 'authors')
    assert (source.parent / 'target.pth').read_bytes() == content
    _convert(source, 'authors', overwrite=True)
    with pytest.raises(RunError, match='is a directory: name the file to write'):
        _convert(source, 'authors', name='.')
    assert sorted(path.name for path in source.parent.iterdir()) == ['source.pth', 'target.pth']


def test_safetensors_need_their_library_and_say_so(source, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(RunError, match='needs the library safetensors: pip install safetensors, or name a .pth'):
        _convert(source, 'authors', 'a.safetensors')


def test_inspection_of_a_file(source):
    rows = dict(inspect_file(source, dict(SwinTransformer=VARIANTS)))
    assert rows['file'].startswith(f'{source}, ')
    assert rows['file'].endswith(' kB, PyTorch (zip)')
    assert rows['holds'] == 'a detector: neck (1)'
    torch.save({'layer1.0.conv1.weight': torch.zeros(1)}, source)
    with pytest.raises(CheckpointError, match=r'source\.pth: the weights are a ResNet'):
        inspect_file(source, dict(SwinTransformer=VARIANTS))


def test_inspection_of_a_file_by_another_name(source, monkeypatch):
    monkeypatch.chdir(source.parent)
    assert ' kB, ' in dict(inspect_file(source.as_uri(), dict(SwinTransformer=VARIANTS)))['file']
    source.rename('~nobody.pth')  # no user's folder
    assert ' kB, ' in dict(inspect_file('~nobody.pth', dict(SwinTransformer=VARIANTS)))['file']
