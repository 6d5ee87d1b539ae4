"""A file is complete or not there, whatever ends the process that writes it; a full disk costs the new file alone."""

import errno
import os
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from mmswin import atomic
from mmswin.errors import SavingError


def limited(path: Path, size: int, limit: int) -> str:
    """What atomic.write says in a process whose files may have ``limit`` bytes."""
    receiving, sending = os.pipe()
    pid = os.fork()  # a new Python would take longer to import torch than all the rest
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            atomic.write(path, b'x' * size)
        except SavingError as error:
            os.write(sending, str(error).encode())
        os._exit(0)
    os.close(sending)
    with open(receiving) as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def test_file_that_does_not_fit_leaves_the_old_one_and_nothing_else(tmp_path):
    """A real failure in the middle of writing, by the limit on file sizes."""
    path = tmp_path / 'epoch_2.pth'
    path.write_bytes(b'old')
    said = limited(path, 300_000, limit=100_000)
    assert 'epoch_2.pth could not be saved: File too large. It needs 300.0 kB, ' in said
    assert 'may not be used' in said
    assert path.read_bytes() == b'old'
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_2.pth']
    assert limited(path, 300_000, limit=400_000) == ''
    assert path.read_bytes() == b'x' * 300_000


def test_full_disk_is_said_with_what_is_needed_and_free(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, 'fsync', full)
    monkeypatch.setattr(atomic.shutil, 'disk_usage', lambda path: type('Usage', (), {'free': 12_000}))
    with pytest.raises(SavingError) as caught:
        atomic.write(tmp_path / 'a.pth', b'x' * 2_500_000)
    assert str(caught.value) == (
        f'{tmp_path}/a.pth could not be saved: No space left on device. It needs 2.5 MB, '
        '12.0 kB are free there: make room'
    )
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(SavingError, match=r'file/a\.pth could not be saved'):
        atomic.write(tmp_path / 'file' / 'a.pth', b'x')


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, 'replace', lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        atomic.write(tmp_path / 'a.pth', b'x')
    assert list(tmp_path.iterdir()) == []


def test_kill_9_while_writing_never_shows_half_a_file(tmp_path):
    """A writer is killed 30 times at moments spread over a few writes; what it leaves is one content or the next."""
    path = tmp_path / 'last.pth'
    pids = []
    for index in range(30):
        pid = os.fork()
        while pid == 0:
            for content in range(256):
                atomic.write(path, bytes([content]) * 3_000_000)
        time.sleep(0.01 + index * 0.003)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pids.append(pid)
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 3_000_000
            assert len(set(content[::1000])) == 1
    left = {p.name for p in tmp_path.iterdir()} - {'last.pth'}
    assert left <= {f'last.pth.{socket.gethostname()}.{pid}.mmswin-tmp' for pid in pids}
    assert path.exists()
    atomic.remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['last.pth']


@pytest.mark.parametrize('name', ['a' * 251, 'ü' * 125 + 'a'])
def test_a_name_may_be_as_long_as_the_file_system_lets_it(tmp_path, name):
    atomic.write(tmp_path / f'{name}.jpg', b'picture')
    assert [path.name for path in tmp_path.iterdir()] == [f'{name}.jpg']


def test_only_our_abandoned_leftovers_are_removed(tmp_path):
    host, dead = socket.gethostname(), 2**22 + 1
    gone = [f'epoch_1.pth.{host}.{dead}.mmswin-tmp', 'epoch_1.pth.elsewhere.17.mmswin-tmp']
    kept = [
        f'epoch_2.pth.{host}.{os.getpid()}.mmswin-tmp',
        'epoch_2.pth.elsewhere.18.mmswin-tmp',
        'epoch_1.pth.tmp',
        'epoch_1.pth',
        'notes.txt',
    ]
    for name in gone + kept:
        (tmp_path / name).touch()
    os.utime(tmp_path / gone[1], (1e9, 1e9))
    (tmp_path / 'epoch_3.pth.elsewhere.19.mmswin-tmp').symlink_to('renamed_meanwhile')
    kept.append('epoch_3.pth.elsewhere.19.mmswin-tmp')
    assert sorted(atomic.remove_leftovers(tmp_path)) == sorted(gone)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_sizes_are_readable():
    assert [atomic.size_text(n) for n in (0, 999, 1500, 2_340_000, 1.5e9, 2e13)] == [
        '0 bytes',
        '999 bytes',
        '1.5 kB',
        '2.3 MB',
        '1.5 GB',
        '20000.0 GB',
    ]
