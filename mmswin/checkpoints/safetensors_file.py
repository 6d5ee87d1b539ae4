"""Reading of .safetensors files: a length, a JSON header that places each tensor, then the numbers; no code by design.

Needs no further library; the description is at https://github.com/huggingface/safetensors (section Format).
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
from typing import Any, BinaryIO

import torch
from torch import Tensor

DTYPES = {
    'F64': torch.float64, 'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16, 'I64': torch.int64,
    'I32': torch.int32, 'I16': torch.int16, 'I8': torch.int8, 'U8': torch.uint8, 'BOOL': torch.bool,
    'C64': torch.complex64, 'F8_E4M3': getattr(torch, 'float8_e4m3fn', None),
    'F8_E5M2': getattr(torch, 'float8_e5m2', None),
}  # fmt: skip
# The reference implementation's own limit.
_MAX_HEADER = 100_000_000
_METADATA = '__metadata__'


class SafetensorsDamaged(Exception):
    """The file breaks its format; the message completes the sentence 'the checkpoint ...'."""


def recognised(head: bytes) -> bool:
    """Whether a file that begins with these bytes (16 or more) is one: a length in eight bytes, then ``{"``."""
    return len(head) > 9 and head[8:9] == b'{' and struct.unpack('<Q', head[:8])[0] <= _MAX_HEADER


def _header(file: BinaryIO) -> tuple[dict[str, Any], int, int]:
    """The header, where the numbers begin, and how many bytes of them there are."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    start = 8 + struct.unpack('<Q', file.read(8))[0]
    if start > size:
        raise SafetensorsDamaged(f'is truncated: its header needs {start} bytes and the file has {size}; copy it again')
    try:
        header = json.loads(file.read(start - 8))
    except (ValueError, RecursionError) as error:
        raise SafetensorsDamaged('is damaged: its header is no JSON; copy or download it again') from error
    if not isinstance(header, dict):
        raise SafetensorsDamaged('is damaged: its header lists no tensors; copy or download it again')
    return header, start, size - start


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _place(name: str, entry: Any, available: int) -> tuple[torch.dtype, list[int], int, int]:
    """dtype, shape, first and last byte of a tensor as the header declares it."""
    try:
        dtype, shape, (begin, end) = entry['dtype'], entry['shape'], entry['data_offsets']
        plain = isinstance(shape, list) and all(map(_is_count, [*shape, begin, end]))
    except (TypeError, KeyError, ValueError) as error:
        raise SafetensorsDamaged(f'is damaged: its header does not place {name!r}') from error
    if not isinstance(dtype, str) or DTYPES.get(dtype) is None:
        raise SafetensorsDamaged(f'holds numbers of the type {str(dtype)[:20]!r} ({name!r}), which torch cannot read')
    if not plain or end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise SafetensorsDamaged(f'is damaged: the place of {name!r} does not fit its shape')
    if end > available:
        raise SafetensorsDamaged(f'is truncated: {name!r} ends at byte {end} of {available}; copy or download it again')
    return DTYPES[dtype], shape, begin, end


def read(file: BinaryIO, map_location: Any = 'cpu') -> dict[str, Tensor]:
    """The tensors of a file.

    Args:
        file: Opened for reading, in bytes.
        map_location: A device; anything else that torch.load takes leaves the tensors on the CPU.

    Raises:
        SafetensorsDamaged: The file is truncated or breaks its format.
    """
    header, start, available = _header(file)
    places = {name: _place(name, entry, available) for name, entry in header.items() if name != _METADATA}
    end = 0
    for name, (_, _, begin, stop) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise SafetensorsDamaged(f'is damaged: the numbers of {name!r} overlap others or leave a gap')
        end = stop
    if not end:
        return {name: torch.empty(shape, dtype=dtype) for name, (dtype, shape, _, _) in places.items()}
    tensors = {}
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory:
        for name, (dtype, shape, begin, stop) in places.items():
            # Copied out of the file byte by byte, so that neither its alignment nor its closing matters.
            raw = torch.empty(stop - begin, dtype=torch.uint8)
            if len(raw):
                raw.numpy()[:] = memoryview(memory)[start + begin : start + stop]
            tensors[name] = raw.view(dtype).reshape(shape)
    if isinstance(map_location, (str, torch.device)):
        tensors = {name: tensor.to(map_location) for name, tensor in tensors.items()}
    return tensors


def metadata(file: BinaryIO) -> dict[str, str]:
    """What the file's writer noted in it, text by text; empty without notes.

    Raises:
        SafetensorsDamaged: The file is truncated or breaks its format.
    """
    notes = _header(file)[0].get(_METADATA)
    return {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}
