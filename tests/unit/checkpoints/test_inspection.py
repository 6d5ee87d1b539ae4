"""What a file is told to be: variant, window, image size, classes, training state and provenance, from its tensors."""

import numpy as np
import pytest
import torch
from models import TINY

from mmswin import cli
from mmswin.backbones import SwinTransformer
from mmswin.backbones.swin import VARIANTS
from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.export import export
from mmswin.checkpoints.inspection import inspect


def _rows(checkpoint, notes=None):
    return dict(inspect(checkpoint, dict(SwinTransformer=VARIANTS), notes))


def _detector():
    weights = {'backbone.' + name: value for name, value in SwinTransformer(**TINY).state_dict().items()}
    weights |= {f'roi_head.bbox_head.{i}.fc_cls.weight': torch.zeros(81, 8) for i in range(3)}
    weights['roi_head.mask_head.0.conv_logits.weight'] = torch.zeros(80, 8, 1, 1)
    meta = dict(epoch=12, iter=7330, mmengine_version='0.10.7', dataset_meta=dict(CLASSES=('person', 'dog')), seed=0)
    return {'state_dict': export(weights, 'mmdet').tensors, 'meta': meta, 'optimizer': {}, 'message_hub': {}}


def test_a_detector():
    rows = _rows(_detector())
    assert rows['format'].startswith("OpenMMLab's names")
    assert rows['format'].endswith("in 'state_dict', below 'backbone.'")
    assert rows['holds'] == 'a detector: roi_head (4)'
    assert rows['variant'] == 'none of the paper: embed_dims=12, depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4)'
    assert rows['window'] == '4x4: window_size=4'
    assert rows['classes'] == '80 classes of boxes, 80 classes of masks, named person, dog'
    assert rows['training'] == 'epoch 12; iter 7330; optimizer, message_hub'
    assert rows['from'] == 'mmengine_version 0.10.7, seed 0'
    assert rows['else'].endswith('out_indices with a norm: (0, 1, 2, 3)')


def test_an_encoder_of_simmim_and_names_of_classes():
    encoder = SwinTransformer(**TINY, out_indices=(3,)).state_dict()
    weights = {'backbone.' + name: value for name, value in encoder.items()}
    weights |= {'backbone.mask_token': torch.zeros(1, 1, 12), 'neck.decoder.0.weight': torch.zeros(12, 96, 1, 1)}
    rows = _rows({'state_dict': weights, 'meta': {'dataset_meta': {'classes': tuple('abcde')}}})
    assert 'SimMIM' in rows['holds'] and 'detector' not in rows['holds']
    assert export(weights, 'mmdet').dropped == ['neck.decoder.0.weight']
    assert rows['else'].endswith('out_indices with a norm: (3,)')
    assert rows['classes'].endswith('a, b, c, d, e')
    rows = _rows({'state_dict': weights, 'meta': {'dataset_meta': {'classes': tuple('abcdef')}}})
    assert rows['classes'].endswith('a, b, c, d, ...')


def test_heads_without_a_background_and_heads_that_are_not_known():
    file = _detector()
    file['state_dict']['roi_head.bbox_head.0.instance_interactive_conv.norm_in.weight'] = torch.zeros(1)
    assert _rows(file)['classes'].startswith('81 classes of boxes')
    names = [name for name in file['state_dict'] if name.startswith('roi_head')]
    file['state_dict'] = {name: value for name, value in file['state_dict'].items() if name not in names}
    file['state_dict']['bbox_head.atss_cls.weight'] = torch.zeros(80, 8, 3, 3)
    del file['meta']['dataset_meta']
    assert _rows(file)['classes'] == 'not told by these heads'


@pytest.mark.parametrize('arch', VARIANTS)
def test_variants_are_named_with_what_to_set(arch):
    with torch.device('meta'):
        shapes = SwinTransformer(arch=arch, mlp_ratio=2, qkv_bias=False, window_size=2).state_dict()
    weights = {name: torch.zeros(()).expand(value.shape) for name, value in shapes.items()}
    rows = _rows(weights)
    assert rows['variant'].startswith(f"Swin-{arch[0].upper()}: set arch='{arch}' (embed_dims=")
    assert 'qkv_bias=False' in rows['else']


def test_image_sizes_come_from_masks_and_embeddings():
    weights = SwinTransformer(**TINY, in_channels=4).state_dict()
    assert 'made for a size that the file does not tell' in _rows(weights)['images']
    masked = weights | {'layers.1.blocks.1.attn_mask': torch.zeros(4, 16, 16)}
    assert _rows(masked)['images'] == '4 channels, patches of 4x4, made for 64x64'
    positions = weights | {'absolute_pos_embed': torch.zeros(1, 12, 8, 16)}
    assert _rows(positions)['images'].endswith('made for 32x64')


def test_classifiers_notes_and_numbers_that_are_none():
    weights = SwinTransformer(**TINY).state_dict() | {'head.weight': torch.zeros(7, 96), 'head.bias': torch.zeros(7)}
    weights['layers.2.blocks.0.mlp.fc1.bias'][3] = float('nan')
    rows = _rows(weights, notes={'time': 'yesterday'})
    assert rows['holds'] == 'a classifier'
    assert rows['classes'] == '7 classes'
    assert rows['training'] == 'no optimizer: to load from, not to resume'
    assert rows['from'] == 'time yesterday'
    assert rows['NOT FINITE'] == '1 tensors hold NaN or infinity, the first is layers.2.blocks.0.mlp.fc1.bias'


def test_arrays_where_texts_are_expected():
    array = np.arange(3)
    meta = dict(seed=array, time=array, classes=array, dataset_meta=dict(classes=array))
    rows = _rows({'state_dict': SwinTransformer(**TINY).state_dict(), 'meta': meta})
    assert (rows['classes'], rows['from']) == ('none', 'the file does not say')


def test_half_of_it_in_half_precision():
    weights = {name: value.half() if 'layers.0' in name else value
               for name, value in SwinTransformer(**TINY).state_dict().items()}  # fmt: skip
    count = sum('layers.0' in name for name in weights)
    assert _rows(weights)['tensors'].endswith(f'{len(weights) - count} float32, {count} float16')


def test_what_is_no_swin_is_refused():
    with pytest.raises(CheckpointError, match='a ResNet'):
        inspect({'layer1.0.conv1.weight': torch.zeros(1)}, dict(SwinTransformer=VARIANTS))


def _printed(path, capsys):
    assert cli.main(['inspect', str(path)]) == 0
    said = capsys.readouterr()
    assert not said.err
    return said.out


@pytest.mark.parametrize('form', ['torch', 'safetensors'])
def test_what_a_file_says_of_itself_cannot_steer_the_terminal(form, tmp_path, capsys):
    """Escape sequences, line breaks and reversed text are printed escaped, wherever they stand."""
    path = tmp_path / 'file'

    def write(text):
        if form == 'safetensors':
            notes = {'experiment_name': text, 'time': text, 'mmdet_version': text}
            pytest.importorskip('safetensors.torch').save_file(_detector()['state_dict'], path, metadata=notes)
            return
        file = _detector()
        file['meta'] |= {'experiment_name': text, 'time': [text, {text: text}], 'epoch': text, 'mmdet_version': text}
        file['meta']['dataset_meta'] = {'classes': (text, text), text: text}
        torch.save({**file, 'metric': text, 'args': {text: text}, text: text}, path)

    write('plain')
    lines = _printed(path, capsys).count('\n')
    write('\x1b]0;owned\x07\x1b[2J\r\nerror: none\u202e\x9b31m')
    printed = _printed(path, capsys)
    assert printed.count('\n') == lines and printed.replace('\n', '').isprintable()
    assert printed.count(r'\x1b]0;owned\x07') >= 3 and r'\x1b[2J\r\nerror' in printed
