"""benchmarks/run.py: what it refuses before any work, whom it lets take part, and what it writes."""

import json
import os
import sys
from pathlib import Path

import predictors
import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import run  # noqa: E402
from swinbench import cases, gpu, implementations, report, whole  # noqa: E402


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Calls the script in this process; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['run.py', *arguments])
        try:
            status = run.main()
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--sizes', '800x1344'], "'800x1344' is not IMAGESxROWSxCOLUMNS"),
        (['--implementations', 'mmdet3'], '--implementations mmdet3: unknown (did you mean mmdet?)'),
        (['--implementations', 'openvino+compile'], '--implementations openvino+compile: unknown'),
        (['--model', 'upernet', '--modes', 'training'], '--model upernet: whole models are for inference'),
        (['--model', 'upernet', '--implementations', 'timm'], '--implementations timm: whole models are of mmdet'),
        (['--rounds', '0'], '0 is less than 1'),
        (['--device', 'cuda'], '--device cuda: torch'),
        (['--gpu'], 'finds no CUDA device'),
        (['--gpu', '--sizes', '1x32x32', '--repetitions', '2'], 'leave out --sizes, --repetitions'),
        (['--out', 'figures.txt'], 'expected a name that ends in .json'),
        (['--out', str(ROOT / 'pyproject.json')], 'exists: name another file with --out'),
    ],
)
def test_bad_input_is_refused_before_any_work(call, tmp_path, monkeypatch, arguments, said):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(Path, 'exists', lambda path: path.name == 'pyproject.md')
    status, output, errors = call(*arguments)
    assert (status, output) == (2, '')
    assert said in errors
    assert not os.listdir(tmp_path)


def test_a_missing_library_is_named(call, monkeypatch):
    monkeypatch.setattr(implementations, 'find_spec', lambda package: None if package == 'timm' else package)
    status, _, errors = call('--implementations', 'timm')
    assert status == 2 and 'timm is not installed' in errors


@pytest.mark.slow
def test_a_small_run(call):
    pytest.importorskip('mmdet.models')
    status, output, errors = call('--sizes', '1x32x64', '--rounds', '2', '--threads', '1', '--implementations', 'mmswin',
                                  '--allocators', 'default', '--modes', 'training')  # fmt: skip
    assert status == 0, errors
    (result,) = json.loads(Path('work_dirs/benchmark.json').read_text())['results']
    assert list(result['implementations']) == ['mmdet', 'mmswin']
    for found in result['implementations'].values():
        assert [len(seconds) for seconds in found['seconds']] == [1, 1]
        assert found['error'] <= run.FLOAT32_LIMIT and found['peak_bytes'] > 1e8
    assert '| mmswin |' in output and '| mmswin |' in Path('work_dirs/benchmark.md').read_text()


@pytest.mark.parametrize('model', ['mask_rcnn', 'upernet'])
def test_whole_models_are_equal(model, tmp_path, monkeypatch):
    pytest.importorskip('mmcv.ops')
    torch.manual_seed(0)  # of the picture
    config = predictors.mask_rcnn() if model == 'mask_rcnn' else predictors.segmentation()
    Config(config).dump(tmp_path / 'config.py')
    monkeypatch.setitem(whole.CONFIGS, model, str(tmp_path / 'config.py'))
    case = cases.Case('T', 4, (1, 64, 96), 'inference', 'float32', 'cpu', model)
    state, found = whole.weights(case), {}
    for name, precision in (('mmdet', 'float32'), ('mmswin', 'float32'), ('mmswin', 'bfloat16')):
        network = whole.network(name, case, state, 1, tmp_path / 'model.onnx')
        found[name, precision] = cases.Repetition(network, case._replace(precision=precision)).outputs()
    theirs, ours, low = found.values()
    assert cases.error(ours, theirs) < 1e-4 < cases.error(low, theirs) < 0.2


def test_errors_are_relative_and_shapes_must_agree():
    plain = [torch.randn(2, 3, 4, 4)]
    assert cases.error([1.001 * plain[0]], plain) == pytest.approx(1e-3, rel=1e-2)
    assert cases.error([plain[0][:1]], plain) == float('inf')


def test_the_check_of_a_backend_sees_what_is_wrong(monkeypatch):
    monkeypatch.setattr(gpu, 'GEOMETRIES', [(4, (1, 20, 40), {})])
    assert gpu.check('sdpa', 'cpu')['agrees']
    compute = gpu._compute

    def wrong(backend, *rest):
        found = compute(backend, *rest)
        if backend == 'sdpa':
            found['bias_table'] = found['bias_table'] * 1.5
        return found

    monkeypatch.setattr(gpu, '_compute', wrong)
    found = gpu.check('sdpa', 'cpu')
    assert not found['agrees'] and not any(row['agrees'] for row in found['rows'])


def test_ratios_are_taken_round_by_round():
    def entry(*seconds):
        return {'seconds': [[s] for s in seconds], 'error': 1e-7, 'peak_bytes': 2_000_000}

    result = {'label': 'a case', 'allocator': 'tuned', 'baseline': 'mmdet', 'implementations': {
        'mmdet': entry(2, 4, 8), 'mmswin': entry(1, 1, 4), 'timm': {'left_out': 'not equal'}}}  # fmt: skip
    lines = report.table(result).splitlines()
    assert lines[4].startswith('| mmswin | 1000 ms | 1000 ms to 2500 ms | 2.00 (2.00 to 3.00) | 2 MB | 1.0e-07 |')
    assert lines[-1] == 'Left out: timm: not equal.'
