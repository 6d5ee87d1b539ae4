"""Checkpoints are complete or not there, whichever hook saves them."""

import errno
import logging
import os
from pathlib import Path

import pytest

from mmswin import atomic
from mmswin.checkpoints import load_file
from mmswin.engine.saving import Runner, explained_lack_of_room
from mmswin.errors import SavingError

EPOCHS = {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 3}


def test_runner_saves_complete_files_for_every_hook(toy_runner, tmp_path, monkeypatch):
    """mmengine's own checkpoint hook, too."""
    written = []
    monkeypatch.setattr(atomic, 'write', lambda path, content: written.append(Path(path).name))
    runner = toy_runner(tmp_path, EPOCHS, runner_class=Runner, default_hooks={'logger': None})
    runner.train()
    assert written == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    runner.save_checkpoint(str(tmp_path), 'plain.pth', backend_args={'backend': 'local'})
    assert written[-1] == 'plain.pth'


def test_saved_by_epoch_or_iteration_the_meta_is_mmengines(toy_runner, tmp_path):
    runner = toy_runner(tmp_path, EPOCHS, runner_class=Runner, default_hooks={'logger': None})
    runner.train()
    meta = load_file(tmp_path / 'epoch_2.pth')['meta']
    assert (meta['epoch'], meta['iter'], meta['random_state']['iteration']) == (2, 10, 10)


def test_lack_of_room_for_a_log_line_is_one_sentence(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/runs/a/epoch_4.pth')
    said = r'No space left on device.*the last complete checkpoint is /runs/a/epoch_4\.pth'
    with pytest.raises(SavingError, match=said), explained_lack_of_room(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), explained_lack_of_room(tmp_path):
        raise FileNotFoundError(errno.ENOENT, 'x')


PARAMWISE = {'optimizer': {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.05}, 'paramwise_cfg': {'bias_decay_mult': 0.0}}


@pytest.mark.parametrize('frozen', [False, True])
def test_lines_per_parameter_are_in_the_file_alone(toy_runner, tmp_path, capsys, frozen):
    runner = toy_runner(tmp_path, EPOCHS, runner_class=Runner)
    runner.model.layer.bias.requires_grad_(not frozen)
    for handler in runner.logger.handlers:
        handler.setLevel(logging.INFO)
    filters = [list(handler.filters) for handler in runner.logger.handlers]
    runner.build_optim_wrapper(PARAMWISE)
    runner.logger.info('paramwise_options -- of another time')
    terminal = capsys.readouterr().out
    (log,) = tmp_path.rglob('*.log')
    line = 'layer.bias is skipped' if frozen else 'layer.bias:weight_decay=0.0'
    assert line in log.read_text() and line not in terminal
    assert 'of another time' in terminal
    assert [handler.filters for handler in runner.logger.handlers] == filters
