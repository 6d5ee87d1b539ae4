"""One run at a time in a work dir: the holder is named, and a dead one holds nothing."""

import os
import signal

import pytest

from mmswin.engine import lock
from mmswin.errors import RunError


@pytest.fixture
def held(tmp_path):
    """A work dir in which another process trains; returns its number."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        with lock.only_run_in(tmp_path):
            os.write(sending, b'.')
            signal.pause()
    os.read(receiving, 1)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_living_run_is_named_and_may_be_overruled(tmp_path, held):
    for enter in (lambda: lock.check(tmp_path), lambda: lock.only_run_in(tmp_path).__enter__()):
        with pytest.raises(RunError, match=rf'process {held} on .*since .*--ignore-lock'):
            enter()
    lock.check(tmp_path, ignore=True)
    with lock.only_run_in(tmp_path, ignore=True):
        pass


def test_a_run_that_was_killed_holds_nothing(tmp_path, held):
    os.kill(held, signal.SIGKILL)
    os.waitid(os.P_PID, held, os.WEXITED | os.WNOWAIT)
    assert (tmp_path / lock.NAME).exists()
    lock.check(tmp_path)
    with lock.only_run_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_looking_writes_nothing(tmp_path):
    lock.check(tmp_path / 'new')
    assert list(tmp_path.iterdir()) == []
