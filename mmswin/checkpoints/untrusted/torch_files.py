"""Files of ``torch.save``, zip archives and the format before 1.6, and plain pickles of numpy arrays (detectron2).

Memory for the numbers is set aside when the pickle names a storage and filled from the file, each byte read once and
summed where it stays, so that what was checked is what is there.
"""

from __future__ import annotations

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
from mmswin.checkpoints.untrusted.other_files import FileRefused, damaged, kind_of_other, need
from mmswin.errors import printable

_MAGIC = 0x1950A86A20F9469CFC6C  # torch's, of files without a zip archive
_LEGACY_VERSION = 1001


def read(file: BinaryIO, map_location: Any) -> Any:
    """What an open file holds.

    Args:
        file: A regular file, at its beginning.
        map_location: A device. None, and whatever looks at the device that the file names, leaves tensors on the CPU.

    Raises:
        UnsafeName: It needs a type or function that is not on the list.
        FileRefused: It is something else, damaged, or declares what is not there.
    """
    source = Source(file)
    head = file.read(512)
    file.seek(0)
    loaded, machine = _archive(source) if head.startswith(b'PK\3\4') else _stream(source, head)
    device = torch.device(map_location if isinstance(map_location, (str, torch.device)) else 'cpu')
    if device.type not in ('cpu', 'meta'):
        _move(machine, device)
    return loaded


def _set_aside(known: dict[str, Storage], identity: tuple, limit: int) -> Storage:
    """The storage that a tensor names, with memory for it."""
    _, kind, key, _location, numel = identity[:5]
    proper = type(kind) is Name and kind in KINDS and isinstance(key, str) and is_count(numel)
    need(proper, 'is damaged: a tensor with an unknown kind of storage')
    dtype = KINDS[kind]
    count, shown = numel * dtype.itemsize, printable(key, 40)
    need(count <= limit, f"is damaged: storage '{shown}' declares {count} bytes, {limit} are there")
    if key not in known:
        known[key] = Storage(key, dtype, torch.empty(count, dtype=torch.uint8), 0, numel)
    need((known[key].dtype, known[key].numel) == (dtype, numel), f"is damaged: storage '{shown}' is declared twice")
    return known[key]


def _memory(storage: Storage) -> memoryview:
    return memoryview(storage.memory.numpy())


# ------------------------------------------------------------------ archives


def _archive(source: Source) -> tuple[Any, Machine]:
    found = records(source)
    # torch.serialization.set_crc32_options(False) leaves zeros in place of the checksums.
    summed = any(record.crc for record in found.values())
    order = source.content(found['byteorder'], summed).strip() if 'byteorder' in found else b'little'
    need(
        order == sys.byteorder.encode(),
        'holds numbers of a machine with another order of bytes: save it anew on this one',
    )
    known: dict[str, Storage] = {}
    places: dict[str, Record] = {}

    def storage_of(identity: tuple) -> Storage:
        key = str(identity[2])
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
    if wrong:
        raise damaged(source.size, f'{len(wrong)} of {len(sums)} checksums do not fit, the first is of {wrong[0]}')
    return loaded, machine


# ------------------------------------------------------------------ streams of pickles


def _stream(source: Source, head: bytes) -> tuple[Any, Machine]:
    other = kind_of_other(head, source.size)
    if other:
        raise FileRefused(other)
    if head[257:262] == b'ustar':
        raise FileRefused(
            'is written in the tar format of 2017, which is not read: load it with torch.load(FILE, '
            'weights_only=False) if you trust its origin, and save its weights with torch.save(weights, FILE)'
        )
    fault = f'is not a PyTorch checkpoint, or is damaged ({source.size} bytes): give a file that torch.save wrote'
    need(head.startswith(b'\x80'), fault)
    if _MAGIC.to_bytes(10, 'little') in head[:24]:
        return _legacy(source)
    machine = Machine(source.file, source.size, _no_storage)
    loaded = machine.load()
    if source.file.tell() != source.size:
        raise damaged(source.size, 'there is more behind its end')
    return _with_tensors(loaded), machine


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


def _legacy(source: Source) -> tuple[Any, Machine]:
    known: dict[str, Storage] = {}
    parts: dict[str, Storage] = {}

    left = [source.size]

    def storage_of(identity: tuple) -> Storage:
        is_new = identity[2] not in known
        storage = _set_aside(known, identity, left[0] if is_new else source.size)
        left[0] -= storage.memory.numel() if is_new else 0
        if len(identity) == 5 or identity[5] is None:
            return storage
        name, offset, length = identity[5]
        inside = is_count(offset) and is_count(length) and offset + length <= storage.numel
        need(inside, 'is damaged: a part of a storage that lies outside')
        return parts.setdefault(str(name), Storage(storage.key, storage.dtype, storage.memory, offset, length))

    preface = [Machine(source.file, source.size, _no_storage).load() for _ in range(3)]
    machine = Machine(source.file, source.size, storage_of)
    loaded = machine.load()
    keys = Machine(source.file, source.size, _no_storage).load()
    if preface[:2] != [_MAGIC, _LEGACY_VERSION]:
        raise damaged(source.size, 'its preface')
    if type(keys) is not list or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(known):
        raise damaged(source.size, 'its list of tensors does not name all of them')
    place = source.file.tell()
    for key in keys:
        if int.from_bytes(source.at(place, 8), 'little') != known[key].numel:
            raise damaged(source.size, 'its numbers end too early')
        source.into(place + 8, _memory(known[key]))
        place += 8 + known[key].memory.numel()
    return loaded, machine


def _move(machine: Machine, device: torch.device) -> None:
    """Bring the tensors to a device; those that share memory share it there, too."""
    moved: dict[int, Tensor] = {}
    for tensor, storage in machine.tensors.values():
        if id(storage.memory) not in moved:
            moved[id(storage.memory)] = storage.memory.to(device)
        there = torch.empty(0, dtype=tensor.dtype, device=device)
        base = moved[id(storage.memory)].untyped_storage()
        tensor.data = there.set_(base, tensor.storage_offset(), tensor.size(), tensor.stride())
