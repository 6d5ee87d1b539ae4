"""Classification through mmpretrain, as a user does it and beside mmpretrain's own Swin; asked of one process, which has to
be another than that of the tests: classify_steps.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmswin import shipped
from mmswin.analysis.paper import load_tables
from mmswin.checkpoints import load_file
from mmswin.environment.importable import export_folder, mmpretrain_folder

STEPS = Path(__file__).with_name('classify_steps.py')


@pytest.fixture(scope='module')
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('classify')


@pytest.fixture(scope='module')
def answers(directory: Path) -> dict[str, Any]:
    """By step, what came of it."""
    if not (mmpretrain_folder() / 'mmpretrain').is_dir():
        pytest.skip(f'mmpretrain: NOT CHECKED, it is not in {mmpretrain_folder()} (make pretrain installs it)')
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(STEPS.parents[2])}
    done = subprocess.run([sys.executable, STEPS, directory], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith('{'):
            found |= json.loads(line)
    return found


def succeeded(step: dict[str, Any]) -> str:
    assert not step['status'], step['output']
    return step['output']


def test_it_trains_tests_and_resumes(answers: dict[str, Any], directory: Path) -> None:
    assert '30 pictures, 3 classes' in succeeded(answers['check'])
    assert 'CustomDataset: 30 images, 3 classes' in succeeded(answers['train'])
    accuracy = answers['train']['output'].split('accuracy/top1: ')[1].split()[0]
    assert f'accuracy/top1: {accuracy}' in succeeded(answers['test'])
    succeeded(answers['stopped'])
    assert 'resumed after iteration 5' in succeeded(answers['resumed'])
    whole, parts = (load_file(directory / name / 'epoch_2.pth') for name in ('whole', 'parts'))
    assert all(np.array_equal(value, parts['state_dict'][name]) for name, value in whole['state_dict'].items())


def test_it_predicts_and_explains(answers: dict[str, Any], directory: Path) -> None:
    assert '6 pictures' in succeeded(answers['predict'])
    found = json.loads((directory / 'found' / 'predictions.json').read_text())
    assert len(found) == 6
    for one in found:
        assert set(one['scores']) == {'bar', 'cross', 'square'}
        assert sum(one['scores'].values()) == pytest.approx(1, abs=1e-4)
        assert one['class'] == max(one['scores'], key=one['scores'].get)
    assert Image.open(directory / 'found' / 'bar' / '0.jpg').size == (480, 480)
    succeeded(answers['explain'])
    (path,) = (directory / 'why').iterdir()
    assert Image.open(path).width > 2 * 480
    assert '2 images' in succeeded(answers['browse'])
    assert len(list((directory / 'shown').glob('*/*.png'))) == 6
    assert len(list((directory / 'seen').iterdir())) == 2


def test_an_exported_classifier_predicts_the_same(answers: dict[str, Any], directory: Path) -> None:
    if not (export_folder() / 'onnxruntime').is_dir():
        pytest.skip(f'onnx, onnxruntime: NOT CHECKED, they are not in {export_folder()} (make peers installs them)')
    assert 'scores' in succeeded(answers['export'])
    assert '6 pictures' in succeeded(answers['predict by program'])
    found, mine = (json.loads((directory / name / 'predictions.json').read_text()) for name in ('found', 'by_program'))
    for one, other in zip(found, mine, strict=True):
        assert (one['name'], one['class']) == (other['name'], other['class'])
        assert other['scores'] == pytest.approx(one['scores'], abs=1e-4)


@pytest.mark.parametrize(
    ('fault', 'status', 'word'),
    [
        ('other classes', 1, 'zebra'),
        ('empty', 0, 'bar'),
        ('unreadable', 1, '0.png'),
        ('list', 1, "'train/cross/1.png one'"),
        ('heads', 1, 'model.head.num_classes=3'),
        ('rows of labels', 1, 'model.data_preprocessor.num_classes=3'),
        ('order', 1, 'metainfo'),
        ('endings', 1, '1 of .webp'),
        ('top 5', 2, 'topk'),
        ('download', 2, 'CIFAR'),
    ],
)
def test_faults_are_found_before_a_run(answers: dict[str, Any], fault: str, status: int, word: str) -> None:
    found = answers['faults'][fault]
    assert found['status'] == status and word in found['output'], found['output']


@pytest.mark.parametrize('side', [224, 256, 384])
def test_it_equals_mmpretrains_own_swin(answers: dict[str, Any], side: int) -> None:
    logits, gradients = answers['parity'][f'{side} float32']
    assert logits < 1e-5 and gradients < 1e-4
    assert max(answers['parity'][f'{side} float64']) < 1e-10


@pytest.mark.parametrize('library', ['authors', 'timm', 'torchvision', 'transformers', 'mmpretrain'])
def test_whole_files_load_as_they_are(answers: dict[str, Any], library: str) -> None:
    assert answers['files'][library] < 1e-5


def test_a_conversion_is_proved_by_running_mmpretrain(answers: dict[str, Any]) -> None:
    assert 'computes the same features' in succeeded(answers['convert'])


def test_mmdet_and_mmseg_can_be_imported_besides(answers: dict[str, Any]) -> None:
    assert answers['others'] == ['mmdet.models', 'mmseg.models']


def test_every_shipped_classifier_builds(answers: dict[str, Any]) -> None:
    """Millions of parameters, as published; a classifier of ImageNet-22K has a larger head alone."""
    rows = [row for table in load_tables(shipped.directory() / 'paper_tables.yaml') for row in table.rows]
    published = {row.config: row.params for row in rows if 'top1' in row.accuracy and row.params}
    assert len(published) == 21 and published.keys() <= answers['shipped'].keys()
    for name, millions in published.items():
        assert answers['shipped'][name] == pytest.approx(millions, abs=0.8), name
    more = answers['shipped']['swin_b_in22k'] - answers['shipped']['swin_b_in22k_in1k']
    assert more * 1e6 == pytest.approx((21841 - 1000) * 1025)
