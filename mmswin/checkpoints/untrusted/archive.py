"""The zip archive of ``torch.save``: one parse of its list of contents, and no file that two parsers could read apart.

Everything is where exactly one reading puts it: the end record ends the file, the list of contents ends at it, the
records follow each other from the first byte to that list without gaps, and each record's own header says what the list
says. So there is no hidden archive in front, behind or between, whatever torch or another tool looks for first.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from mmswin.checkpoints.untrusted.other_files import FileRefused, damaged, need

MAX_RECORDS = 200_000
# Weights hardly compress; torch does not compress them at all.
_MAX_RATIO = 20
_STORED, _DEFLATED = 0, 8
# Sizes follow the numbers; names are UTF-8; how hard was compressed.
_DESCRIBED, _UTF8 = 0x8, 0x800
_FLAGS = _DESCRIBED | _UTF8 | 0x6
_END = struct.Struct('<4s4H2LH')
_END64 = struct.Struct('<4sQ2H2L4Q')
_LOCATOR = struct.Struct('<4sLQL')
_ENTRY = struct.Struct('<4s6H3L5H2L')
_LOCAL = struct.Struct('<4s5H3L2H')
_EXTRA64, _EXTRA_NAME = 1, 0x7075


class Record(NamedTuple):
    """One file in the archive: where its header or (from :func:`records`) its bytes lie, and what is said of it."""

    name: str
    raw: bytes
    flags: int
    start: int
    packed: int
    size: int
    crc: int
    method: int


class Source:
    """An open file, read by offset."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, os.fstat(file.fileno()).st_size

    def need(self, holds: bool, detail: str) -> None:
        """Refuse the file as damaged unless something holds."""
        if not holds:
            raise damaged(self.size, detail)

    def at(self, offset: int, count: int) -> bytes:
        """So many bytes from there."""
        self.need(0 <= offset <= self.size - count, 'it ends too early')
        self.file.seek(offset)
        content = self.file.read(count)
        self.need(len(content) == count, 'it ends too early')
        return content

    def into(self, offset: int, memory: memoryview) -> None:
        """Fill memory with the bytes from there."""
        self.file.seek(offset)
        filled = 0
        while filled < len(memory):
            count = self.file.readinto(memory[filled : filled + (1 << 26)])
            self.need(bool(count), 'its numbers end too early')
            filled += count

    def content(self, record: Record, summed: bool) -> bytes:
        """A record's bytes, unpacked and compared with its checksum."""
        content = self.at(record.start, record.packed)
        if record.method == _DEFLATED:
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = unpacker.decompress(content, record.size + 1)
            except zlib.error as error:
                raise damaged(self.size, f'{record.name} cannot be unpacked') from error
            complete = len(content) == record.size and unpacker.eof and not unpacker.unused_data
            self.need(complete, f'{record.name} is of another size than it says')
        self.need(not summed or zlib.crc32(content) == record.crc, f'the checksum of {record.name} does not fit')
        return content


def records(source: Source) -> dict[str, Record]:
    """The archive's records by their names below its folder.

    Raises:
        FileRefused: It is damaged, could be read in two ways, or is no archive of ``torch.save``.
    """
    place, size, count = _contents(source)
    entries = sorted(_entries(source, source.at(place, size), count), key=lambda record: record.start)
    total = sum(record.size for record in entries)
    swells = f'would swell from {source.size} to {total} bytes when it is unpacked'
    need(total <= _MAX_RATIO * source.size + 4096, swells)
    ends = [record.start for record in entries[1:]] + [place]
    _one_way(entries[0].start == 0, 'there is something before its first record')
    return _below_folder([_located(source, record, end) for record, end in zip(entries, ends)])


def _one_way(holds: bool, detail: str) -> None:
    need(holds, f'is an archive that two programs could read differently, or damaged ({detail})')


def _contents(source: Source) -> tuple[int, int, int]:
    """Offset and size of the list of contents, and its number of entries."""
    at = source.size - _END.size
    mark, disk, first, here, count, size, place, comment = _END.unpack(source.at(at, _END.size))
    source.need(mark == b'PK\5\6', 'its list of contents, which comes last, is not there')
    _one_way(not (comment or disk or first) and here == count, 'its end record')
    before = source.at(at - _LOCATOR.size, _LOCATOR.size) if at >= _LOCATOR.size else b''
    if before[:4] == b'PK\6\7':
        at -= _LOCATOR.size + _END64.size
        _, disk, there, disks = _LOCATOR.unpack(before)
        mark, length, _, _, disk64, first, here, *wide = _END64.unpack(source.at(at, _END64.size))
        proper = mark == b'PK\6\6' and there == at and length == 44 and disks == 1 and here == wide[0]
        short = zip((count, size, place), wide, (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF))
        agree = all(number in (true, full) for number, true, full in short)
        _one_way(proper and agree and not (disk or disk64 or first), 'its two end records')
        count, size, place = wide
    _one_way(place + size == at and 0 < count <= MAX_RECORDS, 'the place of its list of contents')
    return place, size, count


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """The values that do not fit into 32 bits, from an extra field."""
    content = b''
    while extra:
        kind, length = struct.unpack('<2H', extra[:4]) if len(extra) >= 4 else (0, 1)
        _one_way(4 + length <= len(extra) and kind != _EXTRA_NAME, 'an extra field of a record')
        _one_way(kind != _EXTRA64 or not content, 'a second size of a record')
        content = extra[4 : 4 + length] if kind == _EXTRA64 else content
        extra = extra[4 + length :]
    _one_way(len(content) >= 8 * values.count(0xFFFFFFFF), 'the size of a record')
    further = (int.from_bytes(content[at : at + 8], 'little') for at in range(0, len(content), 8))
    return [next(further) if value == 0xFFFFFFFF else value for value in values]


def _entries(source: Source, listed: bytes, count: int) -> Iterator[Record]:
    """The records as the list of contents has them."""
    at = 0
    for _ in range(count):
        _one_way(at + _ENTRY.size <= len(listed), 'its list of contents')
        mark, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, disk, _, _, offset = (
            _ENTRY.unpack_from(listed, at)
        )
        at += _ENTRY.size
        raw, more = listed[at : at + named], listed[at + named : at + named + extra]
        at += named + extra + comment
        _one_way(mark == b'PK\1\2' and at <= len(listed) and not disk, 'its list of contents')
        size, packed, offset = _wide(more, [size, packed, offset])
        need(not flags & 1, 'is encrypted')
        _one_way(not flags & ~_FLAGS and method in (_STORED, _DEFLATED), 'how a record is packed')
        try:
            name = raw.decode('utf-8' if flags & _UTF8 else 'ascii')
        except UnicodeDecodeError:
            name = ''
        _one_way(bool(name), 'the name of a record')
        source.need(method == _DEFLATED or packed == size, f'two sizes of {name}')
        yield Record(name, raw, flags, offset, packed, size, crc, method)
    _one_way(at == len(listed), 'its list of contents')


def _located(source: Source, record: Record, end: int) -> Record:
    """The record with its bytes' place, if its own header and what follows the bytes say what the list says."""
    header = source.at(record.start, _LOCAL.size)
    mark, _, flags, method, _, _, crc, packed, size, named, extra = _LOCAL.unpack(header)
    rest = source.at(record.start + _LOCAL.size, named + extra)
    start = record.start + _LOCAL.size + named + extra
    # torch pads with an extra field, which is looked at only where it tells sizes.
    size, packed = _wide(rest[named:] if 0xFFFFFFFF in (packed, size) else b'', [size, packed])
    told, true = (crc, packed, size), (record.crc, record.packed, record.size)
    described = flags & _DESCRIBED
    agree = told == true or (described and all(number in (0, right) for number, right in zip(told, true)))
    same = mark == b'PK\3\4' and (flags, method, rest[:named]) == (record.flags, record.method, record.raw)
    _one_way(same and bool(agree), f'the header of {record.name}')
    forms = ['<L2Q'] if max(true) > 0xFFFFFFFF else ['<L2Q', '<3L']
    behind = end - start - record.packed
    known = [mark + struct.pack(form, *true) for mark in (b'PK\7\x08', b'') for form in forms] if described else [b'']
    follows = 0 <= behind <= 24 and source.at(end - behind, behind) in known
    _one_way(follows, f'its records overlap, leave a gap, or {record.name} is described in two ways')
    return record._replace(start=start)


def _below_folder(found: list[Record]) -> dict[str, Record]:
    """The records by the names that torch looks for, in lower case: torch does not tell them apart by case."""
    top = found[0].name.split('/')[0] + '/'
    result: dict[str, Record] = {}
    for record in found:
        below = record.name.removeprefix(top)
        once = below.lower() not in result and record.name.startswith(top) and below.isascii() and '\0' not in below
        need(once, 'is a zip archive, but not one that torch.save wrote: perhaps the checkpoint is inside')
        result[below.lower()] = record
    if 'constants.pkl' in result or any(name.startswith('code/') for name in result):
        raise FileRefused(
            'is a TorchScript archive, which holds code, and was not opened: where you made it, save '
            'the weights with torch.save(model.state_dict(), FILE)'
        )
    need('data.pkl' in result, 'is a zip archive, but not one that torch.save wrote (it has no data.pkl)')
    return result
