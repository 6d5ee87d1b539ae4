"""The demo from end to end in a few iterations through the real tools: every file that it promises is there, its tables
show the figures of the tests, it shows progress, and it leaves what an earlier run made alone.
"""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.curves import read_scalars
from demo.run import DemoError, new_run_dir, read_scores, run_demo, run_tool, shown
from demo.tasks import TASKS, ap_table, iou_table
from mmswin.data.miniature import MiniatureError, is_complete

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Work dir and output of one quick demo, which follows an older one."""
    base = tmp_path_factory.mktemp('demo')
    (base / 'work' / 'run_1').mkdir(parents=True)
    (base / 'work' / 'run_1' / 'mine.txt').write_text('mine')
    command = [sys.executable, ROOT / 'tools' / 'demo.py', '--quick', '--data-dir', base / 'data']
    result = subprocess.run(
        [*command, '--work-dir', base / 'work'], cwd=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    return base, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize('task, pictures', [('detection', '0*.png'), ('segmentation', 'ADE_val_*.png')])
def test_all_that_is_promised_is_there(demo: tuple[Path, str], task: str, pictures: str) -> None:
    base, output = demo
    run = base / 'work' / 'run_2' / task
    for path in ('pictures/contact_sheet.png', 'curves.png'):
        assert str(Path('work', 'run_2', task, path)) in output
        assert min(cv2.imread(str(run / path)).shape[:2]) > 200
    assert len(list((run / 'pictures').glob(pictures))) == 4
    train, val = read_scalars(run / 'train')
    assert [record['step'] for record in train] == [1, 2, 3, 4] and [record['step'] for record in val] == [2, 4]
    assert (run / 'predictions.pkl').stat().st_size > 0
    checkpoint = Path((run / 'train' / 'last_checkpoint').read_text())
    assert checkpoint.is_file() and str(checkpoint.relative_to(base)) in output


@pytest.mark.slow
def test_the_tables_have_the_figures_of_the_tests(demo: tuple[Path, str]) -> None:
    base, output = demo
    run, data = base / 'work' / 'run_2', base / 'data'
    for task in TASKS:
        assert is_complete(data / f'{task.folder}_quick', task.quick_settings, task.kind)
    scores = read_scores(run / 'detection' / 'test', 'coco/')
    assert {'coco/bbox_mAP_50', 'coco/segm_mAP_50'} <= set(scores)
    assert ap_table(scores) in output
    scores = read_scores(run / 'segmentation' / 'test', 'mIoU')
    assert iou_table(scores, data / 'miniature_ade_quick') in output


@pytest.mark.slow
def test_each_step_is_visible_while_it_runs(demo: tuple[Path, str]) -> None:
    output = demo[1]
    for text in ('a miniature COCO in', 'a miniature ADE20K in', 'detection: train', 'This run (', 'Iter(train) [1/4]',
                 'Iter(train) [4/4]', 'eta: ', 'coco/bbox_mAP_50: ', 'segmentation: test', 'mIoU: '):  # fmt: skip
        assert text in output, text
    assert 'paramwise_options' not in output, 'the full log belongs into the file'


@pytest.mark.slow
def test_an_older_run_is_left_alone(demo: tuple[Path, str]) -> None:
    base = demo[0]
    assert [path.name for path in (base / 'work' / 'run_1').iterdir()] == ['mine.txt']
    assert sorted(path.name for path in (base / 'work').iterdir()) == ['run_1', 'run_2']


def test_data_of_others_stop_the_demo_before_anything_is_trained(tmp_path: Path) -> None:
    for task in TASKS:
        precious = tmp_path / task.name / f'{task.folder}_quick' / 'precious'
        precious.parent.mkdir(parents=True)
        precious.write_text('x')
        with pytest.raises(MiniatureError, match='not made by'):
            run_demo(ROOT, tmp_path / task.name, tmp_path / 'work', quick=True, say=lambda line: None)
        assert [path.name for path in precious.parent.iterdir()] == ['precious']
    assert not (tmp_path / 'work').exists()


def test_a_tool_that_fails_stops_the_demo_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text('print("one")\nraise SystemExit("error: no room on the moon")\n')
    said: list[str] = []
    with pytest.raises(DemoError, match='train.py failed with status 1(.|\n)*no room on the moon(.|\n)*train.txt'):
        run_demo(tmp_path, quick=True, only='segmentation', say=said.append)
    assert '  error: no room on the moon' in said
    log = tmp_path / 'work_dirs' / 'demo_quick' / 'run_1' / 'segmentation' / 'train.txt'
    assert log.read_text() == 'one\nerror: no room on the moon\n'
    assert not (log.parents[1] / 'detection').exists()


def test_what_matters_is_shown_and_all_of_it_kept(tmp_path: Path) -> None:
    lines = ['noise', '2026/01/01 10:00:00 - mmengine - INFO - Iter(train) [ 1/2]  lr: 1.0  eta: 0:01:00  time: 1.0  '
             'data_time: 0.1  memory: 5  loss: 3.5000  loss_rpn_cls: 0.1', 'x - INFO - This run (mmswin 0.1)',
             '  device     CPU', 'more noise', '  (x)', 'error: wrong']  # fmt: skip
    script = tmp_path / 'tool.py'
    script.write_text(f'print({chr(10).join(lines)!r})\n')
    said: list[str] = []
    run_tool([sys.executable, script], tmp_path / 'log.txt', tmp_path, said.append)
    assert (tmp_path / 'log.txt').read_text().splitlines() == lines
    assert [' '.join(line.split()) for line in said] == [
        'Iter(train) [ 1/2] eta: 0:01:00 loss: 3.5000', 'x - INFO - This run (mmswin 0.1)', 'device CPU', 'error: wrong'
    ]  # fmt: skip


def test_the_table() -> None:
    scores = {'coco/bbox_mAP': 0.4312, 'coco/bbox_mAP_50': 0.7, 'coco/bbox_mAP_l': -1.0, 'coco/segm_mAP': 0.25}
    lines = [line.split() for line in ap_table(scores).splitlines()]
    assert lines[0] == ['AP', 'AP50', 'AP75', 'small', 'medium', 'large']
    assert lines[1] == ['box', '0.431', '0.700', '-', '-', '-', '-']
    assert lines[2] == ['mask', '0.250', '-', '-', '-', '-', '-']


def test_the_table_of_segmentation_has_what_calling_all_ground_scores(tmp_path: Path) -> None:
    (tmp_path / 'annotations' / 'validation').mkdir(parents=True)
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 0]], np.uint8)  # six of ground, one of another class, one not labelled
    cv2.imwrite(str(tmp_path / 'annotations' / 'validation' / 'a.png'), labels)
    lines = iou_table({'mIoU': 61.25, 'mAcc': 70.0, 'aAcc': 95.0, 'time': 1.0}, tmp_path).splitlines()
    assert lines[0].split() == ['mIoU', 'mAcc', 'aAcc']
    assert lines[1].split() == ['model', '0.613', '0.700', '0.950']
    assert lines[2].split() == ['all', 'ground', '0.143', '0.167', '0.857']
    assert len({len(line) for line in lines}) == 1


def test_scores_are_those_of_the_newest_test(tmp_path: Path) -> None:
    for name, value in (('20260101_000000', 0.1), ('20260102_000000', 0.2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / f'{name}.json').write_text(json.dumps({'coco/bbox_mAP': value, 'time': 1}) + '\n')
    assert read_scores(tmp_path, 'coco/')['coco/bbox_mAP'] == 0.2
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DemoError, match='no AP in'):
        read_scores(tmp_path / 'empty', 'coco/')
    with pytest.raises(DemoError, match='no mIoU in'):
        read_scores(tmp_path, 'mIoU')


def test_run_directories_are_never_used_twice(tmp_path: Path) -> None:
    for name in ('run_1', 'run_12', 'run_x', 'other'):
        (tmp_path / name).mkdir()
    assert new_run_dir(tmp_path) == tmp_path / 'run_13'
    assert new_run_dir(tmp_path / 'fresh') == tmp_path / 'fresh' / 'run_1'


def test_paths_below_the_current_directory_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    assert shown(tmp_path / 'here' / 'a' / 'b') == str(Path('a', 'b'))
    assert shown(tmp_path / 'there') == str(tmp_path / 'there')
