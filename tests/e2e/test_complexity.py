"""mmswin complexity as a user calls it: the printed parts, --sweep, and what it refuses."""

import re
from collections.abc import Callable

import mmdet.datasets  # noqa: F401  now, since the forks print a line of their own when they are imported
import pytest

from mmswin import cli
from mmswin.analysis import scaling


@pytest.fixture
def call(workplace, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls the command in this process; returns status, output and errors."""
    monkeypatch.chdir(workplace.directory)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(['complexity', *arguments])
        return status, *capsys.readouterr()

    return run


def numbers(output: str, part: str) -> list[float]:
    line = next(line for line in output.splitlines() if line.startswith(part))
    return [float(cell) for cell in re.split(r' {2,}', line)[1:]]


def test_parts_of_a_detector_sum_up(call):
    status, output, errors = call('tiny_detection.py', '--shape', '320', '512')
    assert (status, errors) == (0, '')
    assert output.startswith('one image of 320 x 512 pixels; ')
    parts = [numbers(output, name) for name in ('backbone', 'neck', 'bbox_head')]
    whole = numbers(output, 'all')
    for column, total in enumerate(whole):
        assert sum(part[column] for part in parts) == pytest.approx(total, abs=0.016)
    assert whole[0] == whole[1] > 0
    assert whole[-1] == pytest.approx(sum(whole[2:-1]), abs=0.02)


def test_options_of_the_config_and_frozen_parameters(call):
    status, output, _ = call(
        'tiny_segmentation.py', '--shape', '64', '64', '--cfg-options', 'model.backbone.frozen_stages=4'
    )
    assert status == 0
    params, trainable, *_ = numbers(output, 'all')
    backbone_params, backbone_trainable, *_ = numbers(output, 'backbone')
    assert backbone_trainable == 0 < backbone_params
    assert trainable == pytest.approx(params - backbone_params, abs=0.002)


def test_sweep(call, monkeypatch):
    monkeypatch.setattr(scaling, 'MAX_TOKENS', 1024)
    status, output, errors = call('tiny_segmentation.py', '--shape', '64', '96', '--sweep')
    assert (status, errors) == (0, '')
    assert 'pixels^' in output and 'over the whole map' in output


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['gone.py'], 'gone.py does not exist'),
        (['tiny_detection.py', '--shape', '0', '64'], 'an image of 0 x 64 pixels: expected at least 32'),
        (['tiny_detection.py', '--cfg-options', 'model.backbone.window_sise=4'], 'model.backbone.window_size'),
        (['tiny_detection.py', '--cfg-options', 'model.backbone.num_heads=3,3,3,3'], 'num_heads'),
        (
            ['tiny_detection.py', '--sweep', '--cfg-options', 'model.backbone.type=mmswin.SwinTransfomer'],
            'mmswin.SwinTransfomer',
        ),
    ],
)
def test_bad_input(call, workplace, arguments, said):
    before = workplace.files()
    status, output, errors = call(*arguments)
    assert (status, output) == (2, '')
    assert errors.startswith('error: ') and said in errors and errors.count('\n') == 1
    assert workplace.files() == before


def test_time_belongs_to_a_sweep(call):
    with pytest.raises(SystemExit) as stopped:
        call('tiny_detection.py', '--time')
    assert stopped.value.code == 2
