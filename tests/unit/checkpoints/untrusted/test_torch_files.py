"""Files from strangers: what is damaged or lies about its size gets one line, soon."""

import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from strangers import Calling

from mmswin.checkpoints import load_file

# ------------------------------------------------------------------ pickles made by hand


def _zipped(path, pickled, storages=(b'',), compression=zipfile.ZIP_STORED, more=()):
    """An archive as torch.save writes it, around a pickle of one's own."""
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('archive/data.pkl', pickled)
        for i, content in enumerate(storages):
            archive.writestr(f'archive/data/{i}', content)
        archive.writestr('archive/version', '3\n')
        for name, content in more:
            archive.writestr(name, content)
    return path


def _text(value):
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def _number(value):
    return b'\x8a\x09' + value.to_bytes(9, 'little', signed=True)


def _tuple(*items):
    return b'(' + b''.join(items) + b't'


def _call(name, *arguments):
    return b'c' + name.replace(' ', '\n').encode() + b'\n' + _tuple(*arguments) + b'R'


def _storage(numel, key='0', kind='FloatStorage'):
    key = key if isinstance(key, bytes) else _text(key)
    return _tuple(_text('storage'), f'ctorch\n{kind}\n'.encode(), key, _text('cpu'), _number(numel)) + b'Q'


def _tensor(storage, size, stride, offset=0):
    return _call(
        'torch._utils _rebuild_tensor_v2',
        storage,
        _number(offset),
        _tuple(*map(_number, size)),
        _tuple(*map(_number, stride)),
        b'\x89',
        _call('collections OrderedDict'),
    )


def _file(*items):
    """A pickle of a dictionary of the items."""
    entries = b''.join(b'X\x01\0\0\0' + bytes([97 + i]) + item for i, item in enumerate(items))
    return b'\x80\x02}(' + entries + b'u.'


def _lying_dtype():
    """A numpy array whose dtype takes the file's bytes for addresses of objects."""
    fields = b'}' + _text('a') + _tuple(_call('numpy dtype', _text('O'), b'\x89', b'\x88'), b'K\0') + b's'
    state = _tuple(b'K\x03', _text('|'), b'N', _tuple(_text('a')), fields, b'K\x08', b'K\x08', b'K\0')
    void = _call('numpy dtype', _text('f8'), b'\x89', b'\x88') + state + b'b'
    empty = _call(
        'numpy.core.multiarray _reconstruct',
        b'cnumpy\nndarray\n',
        _tuple(b'K\0'),
        _call('_codecs encode', _text('b'), _text('latin1')),
    )
    content = _call('_codecs encode', _text('A' * 8), _text('latin1'))
    return empty + _tuple(b'K\x01', _tuple(b'K\x01'), void, b'\x89', content) + b'b'


def _laughs():
    """Thirty lists, each of which holds the one before ten times."""
    levels = [b']q\x00']
    for level in range(1, 30):
        levels.append(b'](' + bytes([104, level - 1]) * 10 + b'eq' + bytes([level]))
    return _tuple(*levels)


def test_a_pickle_made_by_hand_is_one(tmp_path):
    path = _zipped(tmp_path / 'file.pth', _file(_tensor(_storage(6), (2, 3), (3, 1))), [b'\0' * 24])
    assert torch.equal(load_file(path)['a'], torch.zeros(2, 3))


ONE = [b'\0' * 4]
PICKLES = {
    # name: (pickle, storages, part of the message)
    'numel beyond the record': (
        _file(_tensor(_storage(10**6), (1,), (1,))),
        ONE,
        'declares 4000000 bytes, 4 are there',
    ),
    'terabytes': (_file(_tensor(_storage(10**12), (10**12,), (1,))), ONE, 'declares 4000000000000 bytes'),
    'negative numel': (_file(_tensor(_storage(-1), (1,), (1,))), ONE, 'unknown kind of storage'),
    'no record': (_file(_tensor(_storage(1, '7'), (1,), (1,))), ONE, "storage '7' declares 4 bytes, 0 are there"),
    'size beyond the storage': (
        _file(_tensor(_storage(1), (1000, 1000), (1000, 1))),
        ONE,
        'a tensor of size (1000, 1000) does not fit into its 4 bytes',
    ),
    'stride beyond the storage': (_file(_tensor(_storage(1), (2,), (10**9,))), ONE, 'does not fit into its 4 bytes'),
    'offset beyond the storage': (_file(_tensor(_storage(1), (1,), (1,), 10**9)), ONE, 'does not fit into its 4 bytes'),
    'negative stride': (_file(_tensor(_storage(1), (2,), (-1,))), ONE, 'a tensor without a proper size'),
    'one number as many': (_file(_tensor(_storage(1), (10**6, 10**6), (0, 0))), ONE, 'would swell'),
    'bytearray of gigabytes': (
        _file(_call('__builtin__ bytearray', _number(10**11))),
        ONE,
        'needs the type bytearray of a number',
    ),
    'tensor of gigabytes': (
        _file(_call('torch FloatTensor', _number(10**11))),
        ONE,
        'needs the type torch.FloatTensor',
    ),
    'copies of copies': (
        _file(_tuple(_tuple(_text('a' * 10**6), _text('latin1')) + b'q\x01', *[b'c_codecs\nencode\nh\x01R'] * 5000)),
        ONE,
        'would swell',
    ),
    'memory of the past': (_file(b'h\x63'), ONE, 'KeyError'),
    'empty stack': (b'\x80\x02R.', ONE, 'IndexError'),
    'no end': (b'\x80\x02}', ONE, 'is damaged'),
    'string of 4 GB': (b'\x80\x02X\xff\xff\xff\xff.', ONE, 'is damaged'),
    'BINUNICODE8': (b'\x80\x04\x8d' + b'\xff' * 7 + b'\x7f.', ONE, 'more bytes than it has'),
    'LONG4': (b'\x80\x02\x8b\xff\xff\xff\x7f.', ONE, 'the pickle instruction LONG4'),
    'LONG': (b'\x80\x02L' + b'9' * 10**6 + b'L\n.', ONE, 'the pickle instruction LONG'),
    'INST': (b'\x80\x02(ios\nsystem\n.', ONE, 'the pickle instruction INST'),
    'REDUCE of a string': (_file(_text('a') + b')R'), ONE, 'needs the type something other than a known function'),
    'equal hashes': (
        _file(b'}(' + b''.join(_number(i * (2**61 - 1)) + b'N' for i in range(1, 8)) + b'u'),
        ONE,
        'keys are neither names nor numbers',
    ),
    'deep lists': (_file(b']' * 100000 + b'a' * 99999), ONE, 'nests'),
    'deep tuples': (_file(b')' + b'\x85' * 100000), ONE, 'nests'),
    'billion laughs': (_file(_laughs()), ONE, 'nests'),
    'key of nested tuples': (_file(_storage(1, b')' + b'\x85' * 200000)), ONE, 'no storage'),
    'key without end': (_file(_storage(1, _laughs())), ONE, 'no storage'),
    'key that is long': (_file(_storage(1, 'a' * 10**5)), ONE, 'no storage'),
    'call with many arguments': (_file(_call('collections OrderedDict', *[b'N'] * 30)), ONE, 'is damaged'),
    'many numbers for keys': (
        _file(b'}(' + b''.join(_number(i) + b'N' for i in range(30000)) + b'u'),
        ONE,
        'more than 20000 numbers for keys',
    ),
    'circle': (b'\x80\x02}q\x00' + _text('state_dict') + b'h\x00s.', ONE, 'refers to itself in a circle'),
    'endless instructions': (_file(b'(' + b'N' * 2_100_000 + b't'), ONE, 'more than 2000000 entries'),
    'numpy dtype that lies': (_file(_lying_dtype()), ONE, 'needs the type numpy.dtype(O)'),
}


@pytest.mark.parametrize('kind', PICKLES)
def test_pickles_that_lie(tmp_path, refuse, kind):
    pickled, storages, part = PICKLES[kind]
    assert part in refuse(_zipped(tmp_path / 'file.pth', pickled, storages))


# ------------------------------------------------------------------ archives and other files


def _weights():
    return {'state_dict': {f'w{i}': torch.randn(20, 30) for i in range(5)}, 'meta': {'epoch': 1}}


def _write(path, kind):
    """Write the file of the kind and return a part of its message."""
    if kind == 'zip bomb':
        _zipped(path, _file(_tensor(_storage(25 * 10**6), (10**6, 25), (25, 1))), [bytes(10**8)], zipfile.ZIP_DEFLATED)
        return 'would swell from'
    if kind == 'bomb of a pickle':
        _zipped(path, _file(b'(' + b'N' * 10**7 + b't'), compression=zipfile.ZIP_DEFLATED)
        return 'would swell from'
    if kind == 'two of a name':
        with pytest.warns(UserWarning, match='Duplicate name'):
            _zipped(path, _file(b'N'), more=[('archive/data.pkl', b'\x80\x02N.')])
        return 'is a zip archive, but not one that torch.save wrote'
    if kind == 'names apart by case':
        _zipped(path, _file(b'N'), more=[('archive/DATA.PKL', b'\x80\x02N.')])
        return 'is a zip archive, but not one that torch.save wrote'
    if kind == 'other zip':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('photo/1.jpg', b'1')
        return 'it has no data.pkl'
    if kind == 'TorchScript':
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)
        return 'is a TorchScript archive, which holds code, and was not opened'
    if kind == 'code beside the weights':
        _zipped(path, _file(b'N'), more=[('archive/constants.pkl', b'')])
        return 'is a TorchScript archive'
    if kind == 'tar':
        with tarfile.open(path, 'w') as archive:
            for name in ('storages', 'tensors', 'pickle'):
                content = pickle.dumps(Calling(os.system, f'touch {path}.ran'))
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return 'is written in the tar format of 2017'
    if kind == 'tar of links':
        with tarfile.open(path, 'w') as archive:
            info = tarfile.TarInfo('storages')
            info.type, info.linkname = tarfile.SYMTYPE, '/dev/zero'
            archive.addfile(info)
        return 'is written in the tar format of 2017'
    content = {
        'empty': (b'', 'is empty'),
        'web page': (b'\n<!DOCTYPE html><title>404</title>', 'is a web page, not a checkpoint'),
        'git-lfs': (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n', 'run git lfs pull'),
        'json': (b'{"error": "not found"}', 'is a JSON text'),
        'index': (b'{"metadata": {}, "weight_map": {}}', 'several files'),
        'gzip': (b'\x1f\x8b\x08' + b'1' * 50, 'unpack it and give the checkpoint inside'),
        'text': (b'weights', 'is not a PyTorch checkpoint, or is damaged (7 bytes): give a file that torch.save wrote'),
        'zeros': (bytes(10**6), 'holds nothing but zeros at its beginning (1000000 bytes)'),
        'start of a zip': (b'PK\x03\x04', 'is a damaged or truncated checkpoint of 4 bytes'),
        'two pickles': (2 * pickle.dumps({'a': 1}), 'there is more behind its end'),
        'list': (_zipped(path, b'\x80\x02].').read_bytes(), 'holds a list, not a dictionary of weights'),
        'number': (_zipped(path, b'\x80\x02K\x01.').read_bytes(), 'holds a int, not a dictionary of weights'),
        'name': (_zipped(path, b'\x80\x02ctorch\nSize\n.').read_bytes(), 'not a dictionary of weights'),
        'tensor': (_zipped(path, b'\x80\x02' + _tensor(_storage(1), (1,), (1,)) + b'.', ONE).read_bytes(),
                   'holds a Tensor, not a dictionary of weights'),
    }  # fmt: skip
    path.write_bytes(content[kind][0])
    return content[kind][1]


OTHERS = ['zip bomb', 'bomb of a pickle', 'two of a name', 'names apart by case', 'other zip', 'TorchScript',
          'code beside the weights', 'tar', 'tar of links', 'empty', 'web page', 'git-lfs', 'json', 'index', 'gzip', 'text',
          'zeros', 'start of a zip', 'two pickles', 'list', 'number', 'name', 'tensor']  # fmt: skip


@pytest.mark.filterwarnings('ignore:`torch.jit:DeprecationWarning')
@pytest.mark.parametrize('kind', OTHERS)
def test_files_that_are_no_weights(tmp_path, refuse, kind):
    part = _write(tmp_path / 'file.pth', kind)
    assert part in refuse(tmp_path / 'file.pth')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file.pth']


def test_places_that_are_no_file(tmp_path, refuse):
    assert 'does not exist; give the path or URL' in refuse(tmp_path / 'nothing.pth')
    assert 'is a directory' in refuse(tmp_path)
    os.mkfifo(tmp_path / 'pipe')
    assert 'is a pipe, socket or device' in refuse(tmp_path / 'pipe')
    assert 'is a pipe, socket or device' in refuse('/dev/zero')
    (tmp_path / 'link').symlink_to(tmp_path / 'link')
    assert 'cannot be read: Too many levels' in refuse(tmp_path / 'link')


@pytest.mark.parametrize('new_format', [True, False], ids=['zip', 'legacy'])
def test_every_truncation_is_found(tmp_path, refuse, new_format):
    torch.save(_weights(), tmp_path / 'good.pth', _use_new_zipfile_serialization=new_format)
    content = (tmp_path / 'good.pth').read_bytes()
    assert load_file(tmp_path / 'good.pth')['meta'] == {'epoch': 1}
    for length in range(1, len(content), 331):
        (tmp_path / 'file.pth').write_bytes(content[:length])
        refuse(tmp_path / 'file.pth')


def test_a_flipped_bit_in_the_numbers_is_found(tmp_path, refuse):
    weights = _weights()
    torch.save(weights, tmp_path / 'good.pth')
    content = bytearray((tmp_path / 'good.pth').read_bytes())
    place = content.index(weights['state_dict']['w3'].numpy().tobytes())
    content[place + 100] ^= 1
    (tmp_path / 'file.pth').write_bytes(content)
    assert '1 of 5 checksums do not fit, the first is of' in refuse(tmp_path / 'file.pth')


def test_files_without_checksums_load(tmp_path):
    torch.save(_weights(), tmp_path / 'file.pth')
    content = (tmp_path / 'file.pth').read_bytes()
    with zipfile.ZipFile(tmp_path / 'file.pth') as archive:
        for entry in archive.infolist():
            content = content.replace(struct.pack('<I', entry.CRC), bytes(4))
    (tmp_path / 'file.pth').write_bytes(content)
    assert load_file(tmp_path / 'file.pth')['meta'] == {'epoch': 1}


def test_a_compressed_archive_of_weights_loads(tmp_path):
    good = _weights()
    torch.save(good, tmp_path / 'good.pth')
    with zipfile.ZipFile(tmp_path / 'good.pth') as source, \
            zipfile.ZipFile(tmp_path / 'file.pth', 'w', zipfile.ZIP_DEFLATED) as target:  # fmt: skip
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert torch.equal(load_file(tmp_path / 'file.pth')['state_dict']['w1'], good['state_dict']['w1'])


def test_a_damaged_compressed_record_is_found(tmp_path, refuse):
    """torch would fill the rest of the record with what the memory held before."""
    path = _zipped(
        tmp_path / 'file.pth',
        _file(_tensor(_storage(1000), (1000,), (1,))),
        [os.urandom(2000) * 2],
        zipfile.ZIP_DEFLATED,
    )
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = {entry.filename: entry.header_offset + 30 + len(entry.filename) for entry in archive.infolist()}
    content = bytearray(good)
    content[places['archive/data/0'] : places['archive/data/0'] + 4] = b'\xff\xff\xff\xff'
    path.write_bytes(content)
    assert 'is a damaged or truncated checkpoint' in refuse(path)


def test_names_in_a_file_do_not_reach_the_terminal_as_they_are(tmp_path, refuse):
    path = _zipped(tmp_path / 'file.pth', _file(b'cos\x1b[2J\x07' + b'a' * 5000 + b'\nsystem\n'))
    message = refuse(path)
    assert message.isprintable()
    assert len(message) < 1000


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_a_plain_pickle_of_arrays_is_weights(tmp_path, protocol):
    """As detectron2's model zoo has them."""
    content = {'model': {'a.weight': np.arange(600.0).reshape(2, 300), 'b': np.arange(3)}, '__author__': 'someone'}
    (tmp_path / 'file.pkl').write_bytes(pickle.dumps(content, protocol))
    loaded = load_file(tmp_path / 'file.pkl')
    assert loaded['__author__'] == 'someone'
    assert torch.equal(loaded['model']['a.weight'], torch.arange(600.0).double().reshape(2, 300))
    loaded['model']['a.weight'].add_(1)


@pytest.mark.parametrize('protocol', [3, 4, 5])
@pytest.mark.parametrize('archive', [True, False], ids=['zip', 'legacy'])
def test_other_protocols(tmp_path, archive, protocol):
    torch.save(
        {'a': torch.ones(2), 'log': HistoryBuffer([1.0], [1]), 'set': {1}, 'bytes': b'abc'},
        tmp_path / 'file.pth',
        _use_new_zipfile_serialization=archive,
        pickle_protocol=protocol,
    )
    loaded = load_file(tmp_path / 'file.pth')
    assert loaded['a'].tolist() == [1, 1]
    assert (loaded['set'], loaded['bytes'], loaded['log'].current()) == ({1}, b'abc', 1)


def test_what_is_shared_stays_shared(tmp_path):
    weight = torch.randn(4, 4)
    torch.save({'a': weight, 'b': weight.t()}, tmp_path / 'file.pth')
    loaded = load_file(tmp_path / 'file.pth')
    loaded['a'][0, 1] = 7
    assert loaded['b'][1, 0] == 7
    torch.save(loaded, tmp_path / 'file.pth')  # over the file that it was read from
    assert torch.equal(load_file(tmp_path / 'file.pth')['a'], loaded['a'])


def test_a_legacy_list_of_tensors_names_them_by_text(tmp_path, refuse):
    torch.save({'a': torch.ones(2)}, tmp_path / 'file.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'file.pth').read_bytes()
    start = content.rindex(b'\x80\x02]q')
    end = content.index(b'.', start) + 1
    key = content[content.index(b'X', start) + 5 : content.rindex(b'q', start, end)]
    number = int(key).to_bytes(8, 'little')
    (tmp_path / 'file.pth').write_bytes(content[:start] + b'\x80\x02]\x8a\x08' + number + b'a.' + content[end:])
    assert 'does not name all of them' in refuse(tmp_path / 'file.pth')


def test_statistics_of_a_log_stay_mmengines(tmp_path):
    log = HistoryBuffer([1.0, 3.0], [1, 1])
    log._statistics_methods = {'mean': HistoryBuffer.max}
    torch.save({'log': log}, tmp_path / 'file.pth')
    assert load_file(tmp_path / 'file.pth')['log'].statistics('mean') == 2
    assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics('mean') == 2
