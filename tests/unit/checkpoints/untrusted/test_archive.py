"""Archives that two programs could read differently are refused; those of torch.save and of zip programs are read."""

import io
import struct
import zipfile

import pytest
import torch

from mmswin.checkpoints import CheckpointError, load_file

END = struct.Struct('<4s4H2LH')


def _saved(**tensors):
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


GOOD = _saved(a=torch.arange(6.0), b=torch.zeros(0))
OTHER = _saved(a=torch.full((6,), 7.0))


def _end(content, **fields):
    """The archive with other values in its end record."""
    names = ('mark', 'disk', 'first', 'here', 'count', 'size', 'place', 'comment')
    values = dict(zip(names, END.unpack(content[-22:]))) | fields
    return content[:-22] + END.pack(*values.values())


def _place(content):
    return END.unpack(content[-22:])[6]


def _entry(content, offset, value, width=4):
    """The archive with another value in the first entry of its list of contents."""
    place = _place(content) + offset
    return content[:place] + value.to_bytes(width, 'little') + content[place + width :]


def _rewritten(change, compression=zipfile.ZIP_STORED):
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD)) as source, zipfile.ZipFile(target, 'w', compression) as made:
        for entry in source.infolist():
            made.writestr(change(entry.filename), source.read(entry))
    return target.getvalue()


def _with_locator(disagree):
    """A second end record, of 64 bits, in front of the first."""
    mark, _, _, _, count, size, place, _ = END.unpack(GOOD[-22:])
    body = GOOD[: place + size]
    wide = struct.pack('<4sQ2H2L4Q', b'PK\6\6', 44, 45, 45, 0, 0, count, count, size, place + disagree)
    locator = struct.pack('<4sLQL', b'PK\6\7', 0, len(body), 1)
    return body + wide + locator + GOOD[-22:]


GOOD_FILES = {
    'as torch writes it': GOOD,
    'two end records that agree': _with_locator(0),
    'as zip programs write it': _rewritten(lambda name: name),
    'compressed': _rewritten(lambda name: name, zipfile.ZIP_DEFLATED),
    'a name that is no ASCII': _rewritten(lambda name: name.replace('archive/', 'größe/')),
}
FILES = {
    'archives behind one another': OTHER + GOOD,
    'the other way round': GOOD + OTHER,
    'something in front': b'PK\3\4' + bytes(60) + GOOD,
    'something behind': GOOD + b'\0',
    'a comment': _end(GOOD, comment=1) + b'x',
    'an end record in a comment': _end(GOOD, comment=len(OTHER)) + OTHER,
    'two end records that disagree': _with_locator(1),
    'two disks': _end(GOOD, disk=1),
    'fewer entries': _end(GOOD, here=3, count=3),
    'entries here and there': _end(GOOD, here=3),
    'another place of the list': _end(GOOD, place=0),
    'a smaller list': _end(GOOD, size=46),
    'no entries': _end(GOOD, here=0, count=0, size=0, place=len(GOOD) - 22),
    'another size in the list': _entry(_entry(GOOD, 20, 100), 24, 100),
    'another checksum in the list': _entry(GOOD, 16, 1),
    'another place of a record': _entry(GOOD, 42, 64),
    'another disk': _entry(GOOD, 34, 1, 2),
    'encrypted': _entry(GOOD, 8, 0x809, 2),
    'masked headers': _entry(GOOD, 8, 0x2808, 2),
    'packed in another way': _entry(GOOD, 10, 12, 2),
    'another name in the list': _entry(GOOD, 46, ord('b'), 1),
    'another name in the header': GOOD[:30] + b'b' + GOOD[31:],
    'another method in the header': GOOD[:8] + b'\x08' + GOOD[9:],
    'another size in the header': GOOD[:18] + b'\x09' + GOOD[19:],
    'a name of no encoding': GOOD.replace(b'archive/', b'arch\xff\xfe\xfd/'),
    'a second name': _rewritten(lambda name: name).replace(b'archive/data/1', b'archive/data/0'),
    'two folders': _rewritten(lambda name: name.replace('archive/version', 'other/version')),
}


@pytest.mark.parametrize('kind', GOOD_FILES)
def test_one_reading(tmp_path, kind):
    (tmp_path / 'file.pth').write_bytes(GOOD_FILES[kind])
    assert load_file(tmp_path / 'file.pth')['a'].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize('kind', FILES)
def test_two_readings(tmp_path, kind):
    (tmp_path / 'file.pth').write_bytes(FILES[kind])
    with pytest.raises(CheckpointError, match=r'file\.pth') as error:
        load_file(tmp_path / 'file.pth')
    assert str(error.value).isprintable()
