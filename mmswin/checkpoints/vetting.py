"""Judging a file of unknown origin before torch reads it: whether it is a checkpoint, whole, and only weights.

A checkpoint is a zip archive (torch >= 1.6) or, before that, a row of pickles with the numbers behind them. Both are
gone through without building anything; see :mod:`mmswin.checkpoints.pickle_names` for what their pickles may name.
"""

from __future__ import annotations

import mmap
import os
import pickle
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from mmswin.checkpoints.diagnosis import folder
from mmswin.checkpoints.pickle_names import STORAGES, Name, PickleRefused, Storage
from mmswin.checkpoints.pickle_scan import scan

_MAGIC = 0x1950A86A20F9469CFC6C  # torch's, of files without a zip archive
_LEGACY_VERSION = 1001
_MAX_RECORDS = 200_000
# Weights hardly compress; torch does not compress them at all.
_MAX_RATIO = 20
_CHUNK = 1 << 24
_MAX_LEVELS = 100
_MAX_ENTRIES = 10_000_000


class FileRefused(Exception):
    """The file is no whole checkpoint of weights; the message completes the sentence 'the checkpoint ...'."""


def kind_of_other(head: bytes, size: int) -> str | None:
    """What a file that is no checkpoint is, as far as its first bytes tell."""
    start = head.lstrip(b'\xef\xbb\xbf \t\r\n')
    if not size:
        return 'is empty'
    if start[:1] == b'<':
        return 'is a web page, not a checkpoint: the download went to an error or login page'
    if start.startswith(b'version https://git-lfs'):
        return 'is a git-lfs pointer, not the weights: run git lfs pull in the clone, or download the file itself'
    if start.startswith(b'{"') or start.startswith(b'{\n'):
        return 'is a JSON text, not a checkpoint: perhaps the answer of a server that refused the download'
    if head.startswith((b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'7z\xbc\xaf', b'Rar!')):
        return 'is a compressed archive: unpack it and give the checkpoint inside'
    if head.startswith(b'\x89HDF'):
        return 'is an HDF5 file (Keras?), not a PyTorch checkpoint'
    if not any(head):
        return f'holds nothing but zeros at its beginning ({size} bytes): the download or copy did not finish'
    return None


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file for reading, never waiting for a pipe or a device.

    Raises:
        FileRefused: It is not a regular file, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    except FileNotFoundError:
        raise FileRefused('does not exist; give the path or URL of a .pth or .safetensors file') from None
    except OSError as error:
        raise FileRefused(f'cannot be read: {error.strerror}') from error
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, 'rb')
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise FileRefused(folder(Path(path)))
    raise FileRefused('is a pipe, socket or device, not a file; give the path or URL of a .pth or .safetensors file')


def vet(file: BinaryIO) -> None:
    """Make sure that a file is a whole checkpoint that holds tensors and harmless types only.

    Args:
        file: An open regular file; afterwards at its beginning again.

    Raises:
        UnsafeName: It needs a type or function that is not on the list.
        FileRefused: It is something else, damaged, or declares what is not there.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(512)
    file.seek(0)
    try:
        if head.startswith(b'PK\x03\x04'):
            _vet_zip(file, size)
        else:
            _vet_legacy(file, head, size)
    except PickleRefused as error:
        if type(error) is PickleRefused:
            raise FileRefused(f'{error} ({size} bytes)') from error
        raise
    finally:
        file.seek(0)


def _damaged(size: int, detail: str) -> FileRefused:
    if detail == 'File is not a zip file':
        detail = 'its list of contents, which comes last, is not there'
    # zipfile quotes the bytes that it finds in place of a name.
    detail = detail if len(detail) < 150 and detail.isprintable() else f'{detail[:30]!r}...'
    return FileRefused(f'is a damaged or truncated checkpoint of {size} bytes ({detail}): copy or download it again')


def _vet_zip(file: BinaryIO, size: int) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            records = _records(archive.infolist(), size)
            # torch.serialization.set_crc32_options(False) leaves zeros in place of the checksums.
            summed = any(record.CRC for record in records.values())
            for record in () if summed else records.values():
                del record.CRC  # then zipfile does not compare it
            pickled = archive.read(records['data.pkl'])
            for record in records.values():
                if record.compress_type != zipfile.ZIP_STORED:
                    _unpack(archive, record)
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
    ) as error:
        raise _damaged(size, str(error) or type(error).__name__) from error
    known: dict[str, Storage] = {}

    def storage_of(identity: tuple) -> Storage:
        _, kind, key, _location, numel = identity
        storage = _declared(kind, key, numel)
        record = records.get(f'data/{key}'.lower())
        there = record.file_size if record and record.filename.endswith(f'/data/{key}') else 0
        if there < storage.nbytes:
            raise PickleRefused(f'is damaged: storage {key!r} declares {storage.nbytes} bytes, {there} are there')
        return known.setdefault(key, storage)

    scan(BytesIO(pickled), storage_of, size)
    if summed:
        _check_sums(file, records.values(), size)


def _declared(kind: Any, key: Any, numel: Any) -> Storage:
    proper = isinstance(kind, Name) and kind in STORAGES and type(key) is str and type(numel) is int and numel >= 0
    if not proper:
        raise PickleRefused('is damaged: a tensor with an unknown kind of storage')
    return Storage(key, numel * STORAGES[kind], STORAGES[kind])


def _records(entries: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's records by name, in lower case (torch's reader does not tell them apart by case)."""
    if not entries or len(entries) > _MAX_RECORDS:
        raise _damaged(size, f'{len(entries)} records')
    folder = entries[0].filename.split('/')[0] + '/'
    records: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename.removeprefix(folder).lower()
        if name in records or not entry.filename.startswith(folder):
            raise FileRefused(
                'is a zip archive, but not one that torch.save wrote: unpack it, perhaps the checkpoint is inside'
            )
        records[name] = entry
        packed = entry.compress_type != zipfile.ZIP_STORED
        if packed and (
            entry.compress_type != zipfile.ZIP_DEFLATED or entry.file_size > _MAX_RATIO * entry.compress_size + 4096
        ):
            raise FileRefused(
                f'would swell from {entry.compress_size} to {entry.file_size} bytes when it is unpacked '
                f'({entry.filename})'
            )
        if entry.flag_bits & 1:
            raise FileRefused('is encrypted')
        if not packed and entry.file_size != entry.compress_size:
            raise _damaged(size, f'two sizes of {entry.filename}')
    if sum(entry.compress_size for entry in entries) > size:
        raise _damaged(size, 'its records are together larger than the file')
    if 'constants.pkl' in records or any(name.startswith('code/') for name in records):
        raise FileRefused(
            'is a TorchScript archive, which holds code, and was not opened: where you made it, save '
            'the weights with torch.save(model.state_dict(), FILE)'
        )
    if 'data.pkl' not in records:
        raise FileRefused('is a zip archive, but not one that torch.save wrote (it has no data.pkl)')
    return records


def _unpack(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    """Go through a compressed record; where it is damaged, torch takes whatever the memory held before."""
    with archive.open(record) as content:
        while content.read(_CHUNK):
            pass


def _check_sums(file: BinaryIO, records: Iterable[zipfile.ZipInfo], size: int) -> None:
    """Compare each record with its checksum; torch does not."""
    content = [record for record in records if record.compress_type == zipfile.ZIP_STORED]
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view, memoryview(view) as numbers:

        def fits(record: zipfile.ZipInfo) -> bool:
            header = bytes(numbers[record.header_offset : record.header_offset + 30])
            if header[:4] != b'PK\x03\x04' or len(header) < 30:
                raise _damaged(size, f'no record at the place of {record.filename}')
            start = (
                record.header_offset
                + 30
                + int.from_bytes(header[26:28], 'little')
                + int.from_bytes(header[28:30], 'little')
            )
            crc = 0
            for begin in range(start, start + record.file_size, _CHUNK):
                crc = zlib.crc32(numbers[begin : min(begin + _CHUNK, start + record.file_size)], crc)
            return crc == record.CRC

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            fitting = list(pool.map(fits, content))
    if not all(fitting):
        wrong = content[fitting.index(False)].filename
        raise _damaged(size, f'{fitting.count(False)} of {len(fitting)} checksums do not fit, the first is of {wrong}')


def check_structure(loaded: Any) -> None:
    """Make sure that containers within containers are not nested endlessly, nor refer to each other in a circle.

    Raises:
        FileRefused: They are; code that walks through them would not come back.
    """
    heights: dict[int, tuple[int, int]] = {}  # levels and entries below a container
    path: set[int] = set()
    stack = [(loaded, False)] if isinstance(loaded, (dict, list, tuple)) else []
    while stack:
        value, children_done = stack.pop()
        # An OrderedDict has attributes besides.
        children = [*value.values(), *getattr(value, '__dict__', {}).values()] if isinstance(value, dict) else value
        nested = [child for child in children if isinstance(child, (dict, list, tuple))]
        if children_done:
            path.discard(id(value))
            below = [heights[id(child)] for child in nested]
            levels, entries = 1 + max([0, *(b[0] for b in below)]), len(value) + sum(b[1] for b in below)
            if levels > _MAX_LEVELS or entries > _MAX_ENTRIES:
                raise FileRefused(f'nests {levels} levels and {entries} entries, which no file of weights does')
            heights[id(value)] = levels, entries
        elif id(value) in path:
            raise FileRefused('refers to itself in a circle, which no file of weights does')
        elif id(value) not in heights:
            path.add(id(value))
            stack.append((value, True))
            stack.extend((child, False) for child in nested)


def _vet_legacy(file: BinaryIO, head: bytes, size: int) -> None:
    other = kind_of_other(head, size)
    if other:
        raise FileRefused(other)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        if _is_tar(file):
            raise FileRefused(
                'is written in the tar format of 2017, which is not read: load it with '
                'torch.load(FILE, weights_only=False) if you trust its origin, and save its weights with '
                'torch.save(weights, FILE)'
            )
        if not head.startswith(b'\x80'):
            raise FileRefused(
                f'is not a PyTorch checkpoint, or is damaged ({size} bytes): give a file that torch.save wrote'
            )
        if head[:1] + head[2:14] != b'\x80' + pickle.dumps(_MAGIC, 2)[2:14]:
            raise FileRefused(
                'is a pickle, but not one that torch.save wrote, and was not opened: it could run code. '
                'Where you made it, save its weights with torch.save(weights, FILE)'
            )
        _scan_legacy(view, size)


def _is_tar(file: BinaryIO) -> bool:
    try:
        tarfile.open(fileobj=file, mode='r:').close()
    except (tarfile.TarError, OSError, ValueError):
        return False
    finally:
        file.seek(0)
    return True


def _scan_legacy(view: Any, size: int) -> None:
    known: dict[str, Storage] = {}
    parts: dict[Any, Storage] = {}

    def no_storage(_: tuple) -> Storage:
        raise PickleRefused('is damaged: a tensor in its preface')

    def storage_of(identity: tuple) -> Storage:
        _, kind, key, _location, numel, part = identity
        storage = _declared(kind, key, numel)
        if storage.nbytes > size or known.setdefault(key, storage) != storage:
            raise PickleRefused('is damaged: its tensors declare more bytes than it has')
        if part is None:
            return storage
        name, offset, length = part
        view = Storage(str(name), length * storage.itemsize, storage.itemsize)
        if min(offset, length) < 0 or offset * storage.itemsize + view.nbytes > storage.nbytes:
            raise PickleRefused('is damaged: a part of a storage that lies outside')
        return parts.setdefault(name, view)

    preface = [scan(view, no_storage, size) for _ in range(2)]
    if preface != [_MAGIC, _LEGACY_VERSION]:
        raise _damaged(size, 'its preface')
    scan(view, no_storage, size)
    scan(view, storage_of, size)
    keys = scan(view, no_storage, size)
    if sum(storage.nbytes for storage in known.values()) > size:
        raise _damaged(size, 'its tensors declare more bytes than it has')
    if type(keys) is not list or sorted(map(str, keys)) != sorted(known):
        raise _damaged(size, 'its list of tensors does not name all of them')
    for key in keys:
        numel = int.from_bytes(view.read(8), 'little')
        storage = known[key]
        if numel * storage.itemsize != storage.nbytes or view.tell() + storage.nbytes > size:
            raise _damaged(size, 'its numbers end too early')
        view.seek(storage.nbytes, os.SEEK_CUR)
