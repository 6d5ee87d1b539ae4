"""The terminal stays free of what each parameter gets; the log file has it."""

import logging

import pytest

from mmswin.engine.saving import Runner

EPOCHS = {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 1}
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
