"""Files in the format of safetensors: read without its library, damaged ones refused in one line."""

import json
import struct

import pytest
import torch

from mmswin.checkpoints import CheckpointError, load_file
from mmswin.checkpoints.safetensors_file import DTYPES, metadata


def write(path, tensors, change=None, notes=None, keep=None):
    """A file written by the format's description; ``change`` may spoil the header."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header = {'__metadata__': notes} if notes else {}
    data = b''
    for name, tensor in tensors.items():
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        place = [len(data), len(data) + len(raw)]
        header[name] = {'dtype': names[tensor.dtype], 'shape': list(tensor.shape), 'data_offsets': place}
        data += raw
    if change:
        change(header)
    text = json.dumps(header).encode()
    path.write_bytes((struct.pack('<Q', len(text)) + text + data)[:keep])
    return path


def test_tensors_come_back(tmp_path):
    # The odd length puts what follows at an odd place.
    tensors = {
        'flags': torch.tensor([True, False, True]), 'a.weight': torch.randn(3, 5), 'half': torch.randn(7).bfloat16(),
        'steps': torch.tensor(12), 'none': torch.zeros(0, 4),
    }  # fmt: skip
    path = write(tmp_path / 'model.anything', tensors, notes={'format': 'pt'})
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    loaded['a.weight'].add_(1)
    with path.open('rb') as file:
        assert metadata(file) == {'format': 'pt'}
    assert list(load_file(write(tmp_path / 'empty.safetensors', {}))) == []


def _grow(header):
    header['a']['data_offsets'][1] += 8


def _move(header):
    header['b']['data_offsets'] = header['a']['data_offsets']


@pytest.mark.parametrize(
    ('change', 'keep', 'part'),
    [
        (None, 60, 'is truncated: its header needs'),
        (None, -4, "is truncated: 'b' ends at byte 32 of 28"),
        (_grow, None, "is damaged: the place of 'a' does not fit its shape"),
        (_move, None, 'overlap others or leave a gap'),
        (lambda header: header['a'].pop('shape'), None, "is damaged: its header does not place 'a'"),
        (lambda header: header['a'].update(shape=[-4, -1]), None, "the place of 'a' does not fit its shape"),
        (lambda header: header['a'].update(shape=[2**40, 2**40]), None, "the place of 'a' does not fit its shape"),
        (lambda header: header['a'].update(dtype='F4'), None, "holds numbers of the type 'F4'"),
    ],
)
def test_damage_is_one_line(tmp_path, change, keep, part):
    path = write(tmp_path / 'a.safetensors', {'a': torch.zeros(4), 'b': torch.ones(4)}, change, keep=keep)
    with pytest.raises(CheckpointError) as error:
        load_file(path)
    assert part in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('text', [b'{"a": ', b'{' + b'"a": {' * 5000, b'{]'])
def test_a_header_that_is_no_json(tmp_path, text):
    path = tmp_path / 'a.safetensors'
    path.write_bytes(struct.pack('<Q', len(text)) + text)
    with pytest.raises(CheckpointError, match='its header is no JSON'):
        load_file(path)
