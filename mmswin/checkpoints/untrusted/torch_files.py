"""Files of ``torch.save``, zip archives and the format before 1.6, and plain pickles of numpy arrays (detectron2).

Memory for the numbers is set aside when the pickle names a storage and filled from the file, each byte read once and
summed where it stays, so that what was checked is what is there.
"""

import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from mmswin.checkpoints.untrusted.archive import Record, Source, records
from mmswin.checkpoints.untrusted.machine import Machine
from mmswin.checkpoints.untrusted.names import KINDS, Name, Storage, is_count
from mmswin.checkpoints.untrusted.other_files import FileRefused, kind_of_other, need
from mmswin.errors import printable

_MAGIC = 0x1950A86A20F9469CFC6C  # torch's, of files without a zip archive
_LEGACY_VERSION = 1001


def recognised(head: bytes) -> bool:
    """Whether a file that begins with these bytes may be one: a zip archive, or a pickle."""
    return head.startswith((b'PK\3\4', b'\x80'))


def read(file: BinaryIO) -> tuple[Any, list[Tensor]]:
    """What an open file, at its beginning, holds, and the tensors in it.

    Raises:
        UnsafeName: It needs a type or function that is not on the list.
        FileRefused: It is something else, damaged, or declares what is not there.
    """
    source = Source(file)
    head = file.read(512)
    file.seek(0)
    return _archive(source) if head.startswith(b'PK\3\4') else _stream(source, head)


def _set_aside(known: dict[str, Storage], identity: tuple, limit: int) -> Storage:
    """The storage that a tensor names, with memory for it."""
    _, kind, key, _location, numel = identity[:5]
    proper = type(kind) is Name and kind in KINDS and is_count(numel)
    need(proper, 'is damaged: a tensor with an unknown kind of storage')
    dtype = KINDS[kind]
    count, shown = numel * dtype.itemsize, printable(key, 40)
    need(count <= limit, f"is damaged: storage '{shown}' declares {count} bytes, {limit} are there")
    if key not in known:
        known[key] = Storage(dtype, torch.empty(count, dtype=torch.uint8), numel)
    need((known[key].dtype, known[key].numel) == (dtype, numel), f"is damaged: storage '{shown}' is declared twice")
    return known[key]


def _memory(storage: Storage) -> memoryview:
    return memoryview(storage.memory.numpy())


def move(tensors: list[Tensor], device: torch.device) -> None:
    """Bring tensors to a device; those that share memory share it there, too."""
    moved: dict[int, Tensor] = {}
    for tensor in tensors:
        memory = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
        if memory.data_ptr() not in moved:
            moved[memory.data_ptr()] = memory.to(device)
        base = moved[memory.data_ptr()].untyped_storage()
        there = torch.empty(0, dtype=tensor.dtype, device=device)
        tensor.data = there.set_(base, tensor.storage_offset(), tensor.size(), tensor.stride())


# ------------------------------------------------------------------ archives


def _archive(source: Source) -> tuple[Any, list[Tensor]]:
    found = records(source)
    # torch.serialization.set_crc32_options(False) leaves zeros in place of the checksums.
    summed = any(record.crc for record in found.values())
    order = source.content(found['byteorder'], summed).strip() if 'byteorder' in found else b'little'
    alike = order == sys.byteorder.encode()
    need(alike, 'holds numbers of a machine with another order of bytes: save it anew on this one')
    known: dict[str, Storage] = {}
    places: dict[str, Record] = {}

    def storage_of(identity: tuple) -> Storage:
        key = identity[2]
        record = found.get(f'data/{key}'.lower())
        there = record.size if record and record.name.endswith(f'/data/{key}') else 0
        storage = _set_aside(known, identity, there)
        fits = there == storage.memory.numel()
        need(fits, f'is damaged: storage {printable(key, 40)} is smaller than its record of {there} bytes')
        if record and there:
            places[key] = record
        return storage

    content = source.content(found['data.pkl'], summed)
    machine = Machine(BytesIO(content), len(content), storage_of, source.size)
    loaded = machine.load()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        sums = []
        for key, record in sorted(places.items(), key=lambda item: item[1].start):
            memory = _memory(known[key])
            if record.method:
                memory[:] = source.content(record, summed)
                continue
            source.into(record.start, memory)
            if summed:
                sums.append((record, pool.submit(zlib.crc32, memory)))
        wrong = [printable(record.name, 80) for record, found in sums if found.result() != record.crc]
    source.need(not wrong, f'{len(wrong)} of {len(sums)} checksums do not fit, the first is of {"".join(wrong[:1])}')
    return loaded, machine.tensors


# ------------------------------------------------------------------ streams of pickles


def _stream(source: Source, head: bytes) -> tuple[Any, list[Tensor]]:
    other = kind_of_other(head, source.size)
    if other:
        raise FileRefused(other)
    fault = f'is not a PyTorch checkpoint, or is damaged ({source.size} bytes): give a file that torch.save wrote'
    need(recognised(head), fault)
    if _MAGIC.to_bytes(10, 'little') in head[:24]:
        return _legacy(source)
    loaded = Machine(source.file, source.size, _no_storage).load()
    source.need(source.file.tell() == source.size, 'there is more behind its end')
    return _with_tensors(loaded), []


def _no_storage(_: tuple) -> Storage:
    raise FileRefused('is damaged: a tensor where there is none')


def _with_tensors(value: Any, level: int = 0) -> Any:
    """A plain pickle's arrays as tensors, at the top and one level below."""
    if isinstance(value, np.ndarray):
        try:
            return torch.from_numpy(value)
        except TypeError:  # numbers that this torch does not have
            return value
    if type(value) is dict and level < 2:
        return {key: _with_tensors(item, level + 1) for key, item in value.items()}
    return value


def _legacy(source: Source) -> tuple[Any, list[Tensor]]:
    known: dict[str, Storage] = {}
    left = source.size

    def storage_of(identity: tuple) -> Storage:
        nonlocal left
        views = len(identity) > 5 and identity[5] is not None
        need(not views, 'holds parts of storages, as torch saved them in 2017: load it there and save its weights anew')
        is_new = identity[2] not in known
        storage = _set_aside(known, identity, left if is_new else source.size)
        left -= storage.memory.numel() if is_new else 0
        return storage

    preface = [Machine(source.file, source.size, _no_storage).load() for _ in range(3)]
    machine = Machine(source.file, source.size, storage_of)
    loaded = machine.load()
    keys = Machine(source.file, source.size, _no_storage).load()
    source.need(preface[:2] == [_MAGIC, _LEGACY_VERSION], 'its preface')
    texts = type(keys) is list and all(isinstance(key, str) for key in keys)
    source.need(texts and sorted(keys) == sorted(known), 'its list of tensors does not name all of them')
    place = source.file.tell()
    for key in keys:
        declared = int.from_bytes(source.at(place, 8), 'little')
        source.need(declared == known[key].numel, 'its numbers end too early')
        source.into(place + 8, _memory(known[key]))
        place += 8 + known[key].memory.numel()
    return loaded, machine.tensors
