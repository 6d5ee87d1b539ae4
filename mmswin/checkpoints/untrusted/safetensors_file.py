"""Files of safetensors, by the library of that name; it holds them to their format. Bounded here is its memory."""

import struct
from typing import Any

from mmswin.checkpoints.untrusted.names import DTYPES, MAX_DIMS, MAX_NAME
from mmswin.checkpoints.untrusted.other_files import FileRefused, need
from mmswin.errors import printable

# The library admits 100 MB, of which it takes a gigabyte and more; 16 MB place a hundred thousand tensors.
_MAX_HEADER = 1 << 24


def recognised(head: bytes) -> bool:
    """Whether a file that begins with these bytes (16 or more) is one: a length in eight bytes, then a ``{``."""
    return len(head) > 9 and head[8:9] == b'{' and struct.unpack('<Q', head[:8])[0] < 1 << 40


def read(path: str, head: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors of a file that begins with ``head``, and its writer's notes.

    Raises:
        FileRefused: It breaks its format.
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise FileRefused('is a file of safetensors, which needs that library: pip install safetensors') from error
    length = struct.unpack('<Q', head[:8])[0]
    need(length <= _MAX_HEADER, f'is damaged: a header of {length} bytes, and {_MAX_HEADER} are the most that is read')
    try:
        with safe_open(path, framework='pt') as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            told = dict(file.metadata() or {})
    except MemoryError:
        raise
    except Exception as error:  # the library's own, or torch's for numbers and dimensions that it does not have
        fault = f'is damaged, truncated or of numbers that torch cannot read: {printable(error, 200)}'
        raise FileRefused(fault) from error
    known = all(tensor.dtype in DTYPES.values() and len(name) <= MAX_NAME for name, tensor in tensors.items())
    need(known, 'holds numbers of less than a byte, or a name that is too long for one')
    few = all(tensor.dim() <= MAX_DIMS for tensor in tensors.values())
    need(few, f'is damaged: a tensor of more than {MAX_DIMS} dimensions')
    return tensors, told
