"""Errors that a user can mend become one line and a status; others keep their traceback."""

import os
import signal
import sys
import time
from collections import Counter, OrderedDict

import pytest

from mmswin import errors
from mmswin.errors import (
    BadImageError,
    CheckpointError,
    NonFiniteLossError,
    RunError,
    SavingError,
    plain_message,
    printable,
    run_tool,
)


def raising(error: BaseException):
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (RunError('no such key'), 2),
        (CheckpointError('cut off'), 2),
        (NonFiniteLossError('nan'), 1),
        (SavingError('no room'), 1),
        (BadImageError('cut off'), 1),
    ],
)
def test_known_errors_are_one_line(capsys, monkeypatch, error, status):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    assert run_tool(raising(error)) == status
    assert capsys.readouterr().err == f'error: {error}\n'


def first_to_end(children: list[int]) -> tuple[int, int]:
    """Process id and wait status; os.wait() would take any child of the tests' process."""
    while True:
        for pid in children:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return ended, status
        time.sleep(0.01)


@pytest.mark.parametrize('slow', [0, 1])
def test_one_process_of_several_says_it(tmp_path, slow, monkeypatch):
    """A launcher ends all processes as soon as one has ended, and the first one may be the slower."""
    monkeypatch.setattr(errors, '_PATIENCE', 600)  # however busy the machine is
    said, children = tmp_path / 'stderr', []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            os.environ['LOCAL_RANK'] = str(rank)
            if rank != slow:
                signal.signal(signal.SIGTERM, lambda *_: None)  # as a run that stops at a time of its own
            sys.stderr = said.open('a')
            time.sleep(0.5 if rank == slow else 0)
            os._exit(run_tool(raising(RunError('no such key'))))
        children.append(pid)
    ended, status = first_to_end(children)
    children.remove(ended)
    os.kill(children[0], signal.SIGTERM)
    os.waitpid(children[0], 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert said.read_text() == 'error: no such key\n'


def test_a_process_that_is_alone_with_its_error_says_it(capsys, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr(errors, '_PATIENCE', 0.1)
    assert run_tool(raising(RunError('no such key'))) == 2
    assert capsys.readouterr().err == 'error: no such key\n'


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError):
        run_tool(raising(ZeroDivisionError()))
    with pytest.raises(ValueError, match='a bug'):
        run_tool(raising(ValueError('a bug')))


def test_success():
    assert run_tool(lambda: None) == 0


def test_ctrl_c():
    assert run_tool(raising(KeyboardInterrupt())) == 130


def test_registrys_chain_of_classes_is_cut():
    chained = 'class `CascadeRCNN` in mmdet/models/x.py: class `SwinTransformer` in mmswin/backbones/swin.py: depths=3'
    assert plain_message(ValueError(chained)) == 'depths=3'
    assert plain_message(KeyError('X is not in the registry')) == 'X is not in the registry'


def test_what_strangers_say_is_escaped(capsys):
    assert printable('caf\u00e9 \x1b[2J\n\ud800') == 'caf\u00e9 \\x1b[2J\\n\\ud800'
    assert len(printable('x' * 10_000)) == 400
    run_tool(raising(RunError('two lines\nof \x1b[31m names')))
    assert capsys.readouterr().err == 'error: two lines\nof \\x1b[31m names\n'


def test_what_is_said_is_escaped_line_by_line(capsys):
    errors.say('a\x1b[2J\nb\r', sys.stderr)
    assert capsys.readouterr().err == 'a\\x1b[2J\nb\\r\n'


def test_what_is_endless_when_written_in_full_is_cut():
    nested = []
    for _ in range(60):
        nested = [nested, nested]
    for kind in (dict, OrderedDict, Counter):
        assert len(printable(kind(a=nested))) <= 400
