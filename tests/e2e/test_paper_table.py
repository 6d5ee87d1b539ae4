"""mmswin table as a user calls it: what it prints, writes and returns, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import mmdet.datasets  # noqa: F401  now, since the forks print a line of their own when they are imported
import pytest

import model_zoo
from mmswin import cli

TABLES = """
1x:
  title: Tiny
  source: nobody
  shape: [64, 64]
  rows:
    - {method: RetinaNet, backbone: Swin, config: tiny_detection, accuracy: {box_ap: 1.0}, params: PARAMS,
       flops: FLOPS, reproduced: false}
    - {method: Other, backbone: Swin, config: null, why_none: nobody wrote it, accuracy: {}, reproduced: false}
"""


@pytest.fixture
def call(workplace, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls the tool in this process, with a table about the tiny detector; returns status, output and errors."""
    monkeypatch.chdir(workplace.directory)

    def run(*arguments: str, params: float = 0.0131, flops: float = 0.00237) -> tuple[int, str, str]:
        Path('tables.yaml').write_text(TABLES.replace('PARAMS', str(params)).replace('FLOPS', str(flops)))
        status = cli.main(['table', '--tables', 'tables.yaml', *arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def counted(call) -> dict[str, float]:
    """What the tiny detector really has."""
    call('--json', 'truth.json')
    return json.loads(Path('truth.json').read_text())[0]['counted']


def test_agreement(call, counted):
    status, output, errors = call(params=counted['params'], flops=counted['flops'])
    assert status == 0
    assert errors == ''
    lines = output.splitlines()
    assert lines[1].split()[-1] == 'ok'
    assert lines[2].endswith('no configuration')
    assert 'Other, Swin: no configuration: nobody wrote it' in output
    assert lines[-1] == '1 rows agree, 0 are off for a known reason, 0 are off'


@pytest.mark.parametrize(('factor', 'plus', 'status'), [(1.009, 0, 0), (1.011, 0, 1), (1, 0.49, 0), (1, 0.51, 1)])
def test_the_status_tells_what_is_beyond_the_tolerance(call, counted, factor, plus, status):
    found, output, _ = call(params=counted['params'] + plus, flops=counted['flops'] * factor)
    assert found == status
    assert ('more than the tolerance' in output) == bool(status)


def test_json_is_written_and_not_overwritten(call, counted):
    assert counted['params'] == pytest.approx(counted['trainable'])
    assert 0 < counted['computed'] < counted['flops']
    before = Path('truth.json').read_text()
    status, _, errors = call('--json', 'truth.json', '--only', 'retina')
    assert status == 2
    assert errors == 'error: --json: truth.json exists; add --overwrite or name another file\n'
    assert Path('truth.json').read_text() == before
    assert call('--json', 'truth.json', '--only', 'retina', '--overwrite')[0] in (0, 1)
    assert len(json.loads(Path('truth.json').read_text())) == 1


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--table', '2a'], "no table '2a'; the tables are 1x"),
        (['--only', 'detr'], "matches 'detr'"),
        (['--json', 'nowhere/x.json'], 'no directory nowhere'),
    ],
)
def test_bad_input(call, arguments, said):
    status, output, errors = call(*arguments)
    assert (status, output) == (2, '')
    assert errors.startswith('error: ') and said in errors and errors.count('\n') == 1


def test_a_document_is_updated_and_checked(call, capsys):
    def zoo(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        return model_zoo.main([*arguments, '--tables', 'tables.yaml']), capsys.readouterr().out

    call()
    Path('README.md').write_text(f'# Title\n\n{model_zoo.BEGIN}\n{model_zoo.END}\n\nrest\n')
    before = Path('README.md').read_text()
    assert zoo('README.md', '--check') == (1, 'README.md: the tables are not current; run make docs\n')
    assert Path('README.md').read_text() == before
    assert zoo('README.md') == (0, 'README.md: the tables are now current\n')
    text = Path('README.md').read_text()
    assert text.startswith('# Title\n') and text.endswith('\nrest\n') and '| RetinaNet | Swin |' in text
    assert zoo('README.md', '--check') == (0, 'README.md: the tables were current\n')
    call(params=3)
    assert zoo('README.md', '--check')[0] == 1
    assert zoo('gone.md')[0] == zoo('tables.yaml', '--check')[0] == 2
