"""Errors that a user can mend become one line and a status; others keep their traceback."""

import pytest

from mmswin.checkpoints import CheckpointError
from mmswin.runner.errors import NonFiniteLossError, RunError, plain_message, run_tool


def raising(error: BaseException):
    def work() -> None:
        raise error
    return work


@pytest.mark.parametrize(('error', 'status'), [
    (RunError('no such key'), 2), (CheckpointError('cut off'), 2), (NonFiniteLossError('nan'), 1)])
def test_known_errors_are_one_line(capsys, monkeypatch, error, status):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    assert run_tool(raising(error)) == status
    assert capsys.readouterr().err == f'error: {error}\n'


def test_only_the_first_process_of_a_machine_prints(capsys, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert run_tool(raising(RunError('no such key'))) == 2
    assert capsys.readouterr().err == ''


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError):
        run_tool(raising(ZeroDivisionError()))
    with pytest.raises(ValueError, match='a bug'):
        run_tool(raising(ValueError('a bug')))


def test_success():
    assert run_tool(lambda: None) == 0


def test_registrys_chain_of_classes_is_cut():
    chained = 'class `CascadeRCNN` in mmdet/models/x.py: class `SwinTransformer` in mmswin/backbones/swin.py: depths=3'
    assert plain_message(ValueError(chained)) == 'depths=3'
    assert plain_message(KeyError('X is not in the registry')) == 'X is not in the registry'
