"""What is given as a checkpoint and is none, in words; and the opening of files that are files."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from mmswin.errors import printable


class FileRefused(Exception):
    """The file is no complete checkpoint of weights; the message completes the sentence 'the checkpoint ...'."""


class FileUnsafe(FileRefused):
    """The file asks for what could run code."""


def unsafe(name: str) -> FileUnsafe:
    """The error for a type or function that is not on the list."""
    return FileUnsafe(
        f'needs the type {printable(name, 160)}, which is not among the safe ones, and was not opened: loading it could '
        'run code from the file. Whoever made it can save its weights alone: torch.save(model.state_dict(), FILE)'
    )


def need(holds: bool, fault: str) -> None:
    """Refuse the file for a fault unless something holds."""
    if not holds:
        raise FileRefused(fault)


def damaged(size: int, detail: str) -> FileRefused:
    """The error for a file of this size that breaks its format."""
    return FileRefused(f'is a damaged or truncated checkpoint of {size} bytes ({detail}): copy or download it again')


def kind_of_other(head: bytes, size: int) -> str | None:
    """What a file that is no checkpoint is, as far as its first bytes tell."""
    start = head.lstrip(b'\xef\xbb\xbf \t\r\n')
    if not size:
        return 'is empty'
    if start[:1] == b'<':
        return 'is a web page, not a checkpoint: the download went to an error or login page'
    if start.startswith(b'version https://git-lfs'):
        return 'is a git-lfs pointer, not the weights: run git lfs pull in the clone, or download the file itself'
    if start.startswith((b'{"', b'{\n')):
        if b'"weight_map"' in head:
            return 'is the list of a checkpoint in several files, which are not put together here: save it as one file'
        return 'is a JSON text, not a checkpoint: perhaps the answer of a server that refused the download'
    if head.startswith((b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'7z\xbc\xaf', b'Rar!')):
        return 'is a compressed archive: unpack it and give the checkpoint inside'
    if head.startswith(b'\x89HDF'):
        return 'is an HDF5 file (Keras?), not a PyTorch checkpoint'
    if head[257:262] == b'ustar':
        return (
            'is written in the tar format of 2017, which is not read: load it with torch.load(FILE, '
            'weights_only=False) if you trust its origin, and save its weights with torch.save(weights, FILE)'
        )
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


def folder(path: Path) -> str:
    """What a folder is that was given in place of a file, as the end of a sentence that begins with the folder."""
    names = [entry.name for entry in path.iterdir()]
    nested = [entry.name for child in path.iterdir() if child.is_dir() for entry in child.iterdir()]
    if any(name == 'zero_to_fp32.py' or name.endswith('_optim_states.pt') for name in (*names, *nested)):
        return (
            'is a folder of DeepSpeed (ZeRO shards), which cannot be read as it is; put it together first: python '
            f'{path}/zero_to_fp32.py {path} DST'
        )
    if '.metadata' in names:
        return (
            'is a folder of torch.distributed.checkpoint, which cannot be read as it is; put it together first: python '
            f'-m torch.distributed.checkpoint.format_utils dcp_to_torch {path} FILE.pth'
        )
    for name in ('model.safetensors', 'pytorch_model.bin'):
        if name in names:
            return f'is a folder; name the file in it: {path / name}'
    return 'is a directory; give the path or URL of a .pth or .safetensors file'
