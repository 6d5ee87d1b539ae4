"""Feeds damaged copies of small checkpoints to the reader: fuzz_reader.py INPUTS [SEED] [SECONDS].

Of every input it wants one of two things: a dictionary whose numbers can be used, or a CheckpointError in one line. The
process may take a gigabyte of addresses, an input five seconds of computing, and no input may make it write, start or
connect to anything. Ends with a line of counts; with status 1 at the first input that got more.
"""

import argparse
import contextlib
import io
import os
import pickle
import pickletools
import random
import resource
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from safetensors.torch import save as safetensors_save

from mmswin.checkpoints import CheckpointError, load_file

FORBIDDEN = ('os.system', 'os.exec', 'os.posix_spawn', 'os.fork', 'os.remove', 'os.rename', 'os.mkdir', 'os.chmod',
             'subprocess.', 'socket.', 'shutil.', 'urllib.', 'ctypes.dlopen')  # fmt: skip
NUMBERS = [0, 1, -1, 3, 127, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63)]
NAMES = [b'cos\nsystem\n', b'c__builtin__\neval\n', b'c__builtin__\ngetattr\n', b'c__builtin__\nbytearray\n',
         b'c__builtin__\nset\n', b'ctorch._utils\n_rebuild_tensor_v2\n', b'ctorch._utils\n_rebuild_tensor_v3\n',
         b'ctorch._utils\n_rebuild_parameter\n', b'ctorch._tensor\n_rebuild_from_type_v2\n', b'cnumpy\ndtype\n',
         b'cnumpy\nndarray\n', b'cnumpy._core.multiarray\n_reconstruct\n', b'cnumpy._core.multiarray\nscalar\n',
         b'c_codecs\nencode\n', b'ccollections\nOrderedDict\n', b'ccollections\nCounter\n', b'ctorch\nSize\n',
         b'cmmengine.logging.history_buffer\nHistoryBuffer\n', b'ctorch\nFloatStorage\n', b'ctorch\nfloat16\n',
         b'ctorch.storage\nUntypedStorage\n', b'ctorch\ndevice\n', b'cargparse\nNamespace\n',
         b'cyacs.config\nCfgNode\n', b'cargparse\nArgumentParser\n', b'cyacs.config\n_VALID_TYPES\n']  # fmt: skip
OPCODES = [ord(opcode.code) for opcode in pickletools.opcodes]
# What an argument that is read by the lines, or of a length that stands before it, may be.
TEXTS = [
    b'',
    b'a',
    b'0',
    b'-1',
    b'9999999999999999999999',
    b'L',
    b'storage',
    b'cpu',
    b'latin1',
    b'\xff\xfe',
    b'<',
    b'f4',
]


class CfgNode(dict):
    """Pickles as yacs's does."""

    def __init__(self, **entries: object) -> None:
        super().__init__(entries)
        self.__dict__.update({'__immutable__': True, '__deprecated_keys__': {'a'}, '__renamed_keys__': {'b': ('c', '')},
                              '__new_allowed__': False})  # fmt: skip


CfgNode.__module__ = 'yacs.config'


def good_files() -> list[bytes]:
    """Training checkpoints and weights, as archives (plain and compressed) and in the format before them."""
    hub = MessageHub.get_instance('fuzz')
    hub.update_scalar('train/loss', 0.5)
    hub.update_info('scores', np.arange(6.0).reshape(2, 3))
    hub.update_info('best', np.float64(0.5))
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    run = {
        'state_dict': model.state_dict(),
        'optimizer': optimizer.state_dict(),
        'message_hub': hub.state_dict(),
        'meta': {'names': ('a', 'b'), 'bytes': b'abc', 'set': {1, 2}, 'size': torch.Size([1]), 'large': 2**70},
        'param_schedulers': [{'milestones': Counter([1, 3])}],
    }
    weight = torch.randn(6, 8)
    views = {'model': {'a': weight, 'b': weight.t(), 'c': weight[2:], 'd': torch.zeros(0), 'e': torch.zeros(2).half()}}
    config = CfgNode(BASE=[''], DATA=CfgNode(SIZE=192, MEAN=(0.5, 0.5)), AMP=True, TAG=None, RATE=1e-3)
    options = argparse.Namespace(lr=1e-3, betas=[0.9, 0.95], model='swin', inner=argparse.Namespace(a=1), config=config)
    run_of_others = {'model': {'a': weight}, 'epoch': 1, 'config': config, 'args': options}
    files, module = [], ModuleType('yacs.config')
    module.CfgNode = CfgNode
    sys.modules |= {'yacs': ModuleType('yacs'), 'yacs.config': module}
    for content in (run, views, run_of_others):
        for archive in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=archive)
            files.append(file.getvalue())
    del sys.modules['yacs'], sys.modules['yacs.config']
    files.append(_rewritten(files[0], zipfile.ZIP_DEFLATED, lambda _, content: content))
    arrays = {'model': {'a': np.ones((2, 3), 'f4'), 'b': np.arange(4)}, '__author__': 'x', 'matching_heuristics': True}
    files += [pickle.dumps(arrays, protocol) for protocol in (2, 4, 5)]
    for archive in (True, False):
        file = io.BytesIO()
        torch.save(views, file, pickle_protocol=4, _use_new_zipfile_serialization=archive)
        files.append(file.getvalue())
    files.append(safetensors_save({'a': weight, 'b': torch.zeros(0, 2), 'c': torch.ones(3).half()}, {'format': 'pt'}))
    return files


def _rewritten(archive: bytes, compression: int, change) -> bytes:
    """An archive with other records, and with the checksums that belong to them."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(target, 'w', compression) as made:
        for entry in source.infolist():
            made.writestr(entry.filename, change(entry.filename, source.read(entry)))
    return target.getvalue()


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Flip, overwrite, cut out and repeat bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        place, other = rng.randrange(len(changed) + 1), rng.randrange(len(changed) + 1)
        length = rng.choice([1, 2, 4, 8, 64, 1000])
        kind = rng.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[other : other + length]
        elif kind == 3:
            changed[place : place + 8] = (rng.choice(NUMBERS) % 2**64).to_bytes(8, 'little')[:length]
        else:
            changed[place : place + 1] = bytes([rng.choice(OPCODES)])
    return bytes(changed)


def damage_pickle(rng: random.Random, pickled: bytes) -> bytes:
    """Drop, repeat and exchange instructions; put other names and numbers in."""
    try:
        starts = [position for _, _, position in pickletools.genops(pickled)]
    except Exception:  # not a single pickle
        return damage_bytes(rng, pickled)
    parts = [pickled[begin:end] for begin, end in zip(starts, [*starts[1:], len(pickled)])]
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        place, kind = rng.randrange(1, len(parts)), rng.randrange(7)
        if kind == 0 and len(parts) > 3:
            parts.pop(place)
        elif kind == 1:
            parts.insert(place, rng.choice(parts))
        elif kind == 2:
            parts[place] = rng.choice(parts)
        elif kind == 3:
            parts.insert(place, rng.choice(NAMES))
        elif kind == 4:
            named = [i for i, part in enumerate(parts) if part[:1] == b'c'] or [place]
            parts[rng.choice(named)] = rng.choice(NAMES)
        elif kind == 5:
            numbers = [i for i, part in enumerate(parts) if part[:1] in b'KMJ\x8a'] or [place]
            parts[rng.choice(numbers)] = b'\x8a\x09' + rng.choice(NUMBERS).to_bytes(9, 'little', signed=True)
        else:
            parts.insert(place, bytes([rng.choice(OPCODES)]))
    return b''.join(parts)


def instruction(rng: random.Random) -> bytes:
    """Any instruction of any protocol, with an argument of its kind; more often one that leaves something."""
    push = [b'N', b')', b']', b'}', b'(', b'K\x01', b'M\x00\x10', b'\x88', b'X\x01\x00\x00\x00a', b'h\x00', b'h\x01',
            b'q\x00', b'q\x01', b'\x85', b'\x86', b't']  # fmt: skip
    if rng.random() < 0.6:
        return rng.choice([*push, rng.choice(NAMES), b'R', b'b', b'\x81', b'Q', b's', b'u', b'a', b'e'])
    opcode = rng.choice(pickletools.opcodes)
    code, size = opcode.code.encode('latin-1'), opcode.arg.n if opcode.arg else 0
    if size >= 0:
        return code + rng.randbytes(size)
    text = rng.choice(TEXTS)
    if size == pickletools.UP_TO_NEWLINE:
        return code + text + b'\n' + (rng.choice(TEXTS) + b'\n') * (opcode.name in ('GLOBAL', 'INST'))
    width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(size, 4)
    length = len(text) if rng.random() < 0.8 else rng.choice(NUMBERS)
    return code + (length % 256**width).to_bytes(width, 'little') + text


def program(rng: random.Random) -> bytes:
    """A pickle of random instructions."""
    parts = [instruction(rng) for _ in range(rng.choice([5, 20, 80, 300]))]
    return b'\x80' + bytes([rng.choice([0, 2, 2, 4, 5])]) + b'}q\x00' + b''.join(parts) + b'.'


def damaged(rng: random.Random, files: list[bytes]) -> bytes:
    """One input."""
    content, kind = rng.choice(files), rng.randrange(8)
    if kind == 6:
        return program(rng) if rng.random() < 0.5 else damage_pickle(rng, rng.choice(files[7:10]))
    if kind == 7:
        source = rng.choice([file for file in files if file.startswith(b'PK')])
        return _rewritten(
            source, zipfile.ZIP_STORED, lambda name, record: program(rng) if name.endswith('.pkl') else record
        )
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        other = rng.choice(files)
        return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]
    if kind == 2 or not content.startswith(b'PK'):
        return damage_bytes(rng, content)
    if kind == 3:  # the headers of the archive
        header = rng.choice([b'PK\x01\x02', b'PK\x03\x04', b'PK\x05\x06', b'PK\x06\x06'])
        start = content.find(header, rng.randrange(len(content))) + rng.randrange(4, 46)
        return content[:start] + (rng.choice(NUMBERS) % 2**32).to_bytes(4, 'little') + content[start + 4 :]
    compression = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    return _rewritten(
        content, compression, lambda name, record: damage_pickle(rng, record) if name.endswith('.pkl') else record
    )


def use(value: object) -> None:
    """Touch every number."""
    if torch.is_tensor(value):
        value.clone()
    elif isinstance(value, np.ndarray):
        value.sum()
    elif isinstance(value, dict):
        [use(item) for item in value.values()]
    elif isinstance(value, (list, tuple)):
        [use(item) for item in value]
    elif isinstance(value, HistoryBuffer):
        use(vars(value))


class Watch:
    """Notes what an input makes the process do; Python has no way to take an audit hook off again."""

    def __init__(self) -> None:
        self.on, self.seen = False, []
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple) -> None:
        writing = event == 'open' and isinstance(arguments[1], str) and set(arguments[1]) & set('wax+')
        if self.on and (writing or event.startswith(FORBIDDEN)):
            self.seen.append((event, str(arguments)[:100]))


def read(path: str, watch: Watch) -> str:
    """'read' or 'refused'; any other exception passes through."""
    signal.alarm(60)
    watch.on, begin = True, time.process_time()
    try:
        use(load_file(path))
        return 'read'
    except CheckpointError as error:
        assert '\n' not in str(error) and len(str(error)) < 1000, error
        return 'refused'
    finally:
        watch.on = False
        signal.alarm(0)
        assert time.process_time() - begin < 5
        assert not watch.seen, watch.seen


def main(inputs: int, seed: int, seconds: float) -> None:
    """Feed so many inputs, or as many as fit into the seconds."""
    torch.manual_seed(seed)
    rng, files, counts, watch = random.Random(seed), good_files(), Counter(), Watch()
    path = os.path.join(tempfile.mkdtemp(), 'input.pth')
    mapped = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (1 << 30), mapped + (1 << 30)))
    end = time.monotonic() + seconds
    for count in range(inputs):
        content = files[count] if count < len(files) else damaged(rng, files)
        with open(path, 'wb') as file:
            file.write(content)
        try:
            counts[read(path, watch)] += 1
        except BaseException:
            print(f'input {count} of seed {seed} got more than an error; it is kept at {path}', flush=True)
            raise
        assert count != len(files) - 1 or counts['refused'] == 0, 'a good file is refused'
        if time.monotonic() > end:
            break
    with contextlib.suppress(OSError):
        os.remove(path)
        os.rmdir(os.path.dirname(path))
    print(f'{counts.total()} inputs, {counts["read"]} read, {counts["refused"]} refused')


if __name__ == '__main__':
    main(int(sys.argv[1]), int((sys.argv[2:] or [0])[0]), float((sys.argv[3:] or [1e9])[0]))
