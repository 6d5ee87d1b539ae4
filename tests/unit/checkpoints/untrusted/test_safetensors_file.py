"""Files in the format of safetensors: read by its library, damaged ones refused in one line."""

import json
import struct

import pytest
import torch

from mmswin.checkpoints import CheckpointError, load_file
from mmswin.checkpoints.untrusted import read_file, safetensors_file
from mmswin.checkpoints.untrusted.other_files import kind_of_other

safetensors = pytest.importorskip('safetensors.torch')


def _spoilt(path, change=None, keep=None, text=None, more=b''):
    """A file of two tensors whose header was changed, or of another header."""
    content = safetensors.save({'a': torch.zeros(4), 'b': torch.ones(4)})
    end = 8 + struct.unpack('<Q', content[:8])[0]
    header = json.loads(content[8:end])
    if change:
        change(header)
    text = text or json.dumps(header).encode()
    path.write_bytes((struct.pack('<Q', len(text)) + text + content[end:] + more)[:keep])
    return path


def test_a_tensor_of_any_name_is_no_list_of_files():
    content = safetensors.save({'weight_map': torch.zeros(4)})
    assert safetensors_file.recognised(content[:16]) and kind_of_other(content[:512], len(content)) is None


def test_tensors_come_back(tmp_path):
    tensors = {
        'flags': torch.tensor([True, False, True]), 'a.weight': torch.randn(3, 5), 'half': torch.randn(7).bfloat16(),
        'steps': torch.tensor(12), 'none': torch.zeros(0, 4),
    }  # fmt: skip
    path = tmp_path / 'model.anything'
    safetensors.save_file(tensors, path, metadata={'format': 'pt'})
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    loaded['a.weight'].add_(1)
    assert read_file(path).notes == {'format': 'pt'}
    safetensors.save_file({}, path)
    assert load_file(path) == {}


@pytest.mark.parametrize('save', [torch.save, safetensors.save_file])
def test_a_device_that_is_not_there_is_not_the_files_fault(tmp_path, save):
    save({'a': torch.ones(2)}, tmp_path / 'file')
    assert load_file(tmp_path / 'file', 'meta')['a'].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match='cannot be put on cuda:77: '):
        load_file(tmp_path / 'file', 'cuda:77')


HEADERS = {
    'truncated header': dict(keep=60),
    'truncated': dict(keep=-4),
    'more behind': dict(more=b'x'),
    'another size': dict(change=lambda header: header['a'].update(data_offsets=[0, 24])),
    'overlap': dict(change=lambda header: header['b'].update(data_offsets=header['a']['data_offsets'])),
    'no shape': dict(change=lambda header: header['a'].pop('shape')),
    'negative': dict(change=lambda header: header['a'].update(shape=[-4, -1])),
    'huge': dict(change=lambda header: header['a'].update(shape=[2**40, 2**40])),
    'empty and huge': dict(change=lambda header: header['a'].update(shape=[0, 10**20])),
    'many dimensions': dict(change=lambda header: header['a'].update(shape=[4] + [1] * 200_000)),
    'numbers': dict(change=lambda header: header['a'].update(dtype='F4')),
    'notes': dict(change=lambda header: header.update(__metadata__={'a': 1})),
    'no JSON': dict(text=b'{"a": '),
    'deep JSON': dict(text=b'{' + b'"a": {' * 5000),
    'twice': dict(text=b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
                       b'"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}'),
    'large header': dict(text=b'{"a":"' + b'x' * (1 << 24) + b'"}'),
}  # fmt: skip


@pytest.mark.parametrize('kind', HEADERS)
def test_damage_is_one_line(tmp_path, kind):
    path = _spoilt(tmp_path / 'a.safetensors', **HEADERS[kind])
    with pytest.raises(CheckpointError, match=r'a\.safetensors') as error:
        load_file(path)
    assert str(error.value).isprintable()
