"""tools/complexity.py as a user calls it: the printed parts, the picture of --sweep, and what it refuses."""

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import mmdet.datasets  # noqa: F401  now, since the forks print a line of their own when they are imported
import pytest

from mmswin.analysis import growth, scaling

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(workplace, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls the tool in this process; returns status, output and errors."""
    spec = importlib.util.spec_from_file_location('tool_complexity', ROOT / 'tools' / 'complexity.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(workplace.directory)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', ['complexity.py', *arguments])
        status = module.main()
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


def test_sweep_draws_a_picture_once(call, monkeypatch):
    monkeypatch.setattr(scaling, 'MAX_TOKENS', 1024)
    monkeypatch.setattr(scaling, 'ROUNDS', 1)
    monkeypatch.setattr(scaling, 'SHORTEST', 0)
    arguments = ('tiny_segmentation.py', '--shape', '64', '96', '--sweep')
    status, output, errors = call(*arguments)
    assert (status, errors) == (0, '')
    assert 'pixels^1.00' in output and 'over the whole map' in output
    picture = Path('work_dirs/complexity/tiny_segmentation.png')
    assert output.endswith(f'picture: {picture}\n')
    assert picture.read_bytes().startswith(b'\x89PNG')
    drawn = picture.read_bytes()
    status, output, errors = call(*arguments)
    assert (status, output) == (2, '')
    assert errors == f'error: {picture} exists; add --overwrite, or name another with --out\n'
    assert picture.read_bytes() == drawn
    assert call(*arguments, '--overwrite')[0] == 0


def test_growth_draws_and_writes_once(call, monkeypatch):
    monkeypatch.setattr(growth, 'in_own_process', growth.measure)
    arguments = ('tiny_segmentation.py', '--growth', '--megapixels', '0.02', '0.07', '--modes', 'training')
    status, output, errors = call(*arguments)
    assert (status, errors) == (0, '')
    assert 'images of multiples of 128 x 128 pixels' in output
    picture = Path('work_dirs/complexity/tiny_segmentation_growth.png')
    assert output.endswith(f'picture: {picture}, and the figures beside it in tiny_segmentation_growth.json\n')
    assert picture.read_bytes().startswith(b'\x89PNG')
    values = json.loads(picture.with_suffix('.json').read_text())
    assert [(one['height'], one['width']) for one in values['points']['training']] == [(128, 128), (256, 256)]
    assert values['exponents']['training']['saved'] == pytest.approx(1, abs=0.05)
    assert f'pixels^{values["exponents"]["training"]["seconds"]:.3f}' in output
    picture.unlink()
    status, output, errors = call(*arguments)
    assert (status, output) == (2, '')
    assert 'tiny_segmentation_growth.json exists; add --overwrite' in errors


def test_growth_that_is_stopped_leaves_what_it_measured(call, monkeypatch):
    orders = []

    def stopped(order: growth.Order) -> growth.Point:
        orders.append(order)
        if len(orders) == 2:
            raise KeyboardInterrupt
        return growth.Point(order.height, order.width, [1.0], [1.0], 2**20, None, 2**20)

    monkeypatch.setattr(growth, 'in_own_process', stopped)
    with pytest.raises(KeyboardInterrupt):
        call('tiny_segmentation.py', '--growth', '--megapixels', '0.02', '0.07', '--modes', 'inference')
    values = json.loads(Path('work_dirs/complexity/tiny_segmentation_growth.json').read_text())
    assert [one['height'] for one in values['points']['inference']] == [128]


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['gone.py'], 'gone.py does not exist'),
        (['tiny_detection.py', '--shape', '0', '64'], 'an image of 0 x 64 pixels: expected at least 32'),
        (['tiny_detection.py', '--cfg-options', 'model.backbone.window_sise=4'], 'model.backbone.window_size'),
        (['tiny_detection.py', '--cfg-options', 'model.backbone.num_heads=3,3,3,3'], 'num_heads'),
        (['tiny_detection.py', '--sweep', '--out', 'sweep.gif'], 'sweep.gif: expected a name that ends in .png'),
        (['tiny_detection.py', '--growth', '--megapixels', '-1'], '--megapixels -1: expected a positive number'),
        (['tiny_detection.py', '--growth', '--device', 'gpu'], '--device gpu: '),
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


@pytest.mark.parametrize(
    'arguments', [['--out', 'x.png'], ['--sweep', '--growth'], ['--device', 'cuda'], ['--sweep', '--megapixels', '1']]
)
def test_options_that_do_not_belong_together(call, arguments):
    with pytest.raises(SystemExit) as stopped:
        call('tiny_detection.py', *arguments)
    assert stopped.value.code == 2
