"""Curves: all starts of a run make one line, and a work dir without a run is said to be one."""

import json
from pathlib import Path

import cv2
import pytest
from matplotlib.axes import Axes

from demo.curves import draw_curves, read_scalars


def log(work_dir: Path, start: str, records: list[dict]) -> None:
    path = work_dir / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))


def trained(step: int, loss: float) -> dict:
    parts = {'loss_rpn_cls': 0.1, 's0.loss_cls': loss - 0.4, 's1.loss_bbox': 0.2, 's0.loss_mask': 0.1}
    return {'lr': 1e-3, 'loss': loss, **parts, 'iter': step, 'step': step}


def validated(step: int, value: float) -> dict:
    return {'coco/bbox_mAP': value / 2, 'coco/bbox_mAP_50': value, 'coco/segm_mAP': value / 2, 'time': 1, 'step': step}


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    log(tmp_path, '20260101_000000', [trained(10, 3.0), validated(10, 0.1), trained(20, 2.0), trained(30, 9.0)])
    log(tmp_path, '20260102_000000', [trained(30, 1.5), trained(40, 1.0), validated(40, 0.6)])
    log(tmp_path, '20260103_000000', [{'coco/bbox_mAP': 0.3}])  # a test, which has no step
    return tmp_path


def test_a_resumed_run_is_one_line(work_dir: Path) -> None:
    train, val = read_scalars(work_dir)
    assert [(record['step'], record['loss']) for record in train] == [(10, 3.0), (20, 2.0), (30, 1.5), (40, 1.0)]
    assert [(record['step'], record['coco/bbox_mAP_50']) for record in val] == [(10, 0.1), (40, 0.6)]


@pytest.mark.parametrize('counted', [(0, 0), (1, 2)])
def test_validations_stand_at_the_iteration_they_came_after(tmp_path: Path, counted: tuple[int, int]) -> None:
    """mmengine numbers them by epochs; where a run has no epochs, all were drawn at 0, one over the other."""
    first, second = (validated(step, 0.1 * i) for i, step in enumerate(counted))
    log(tmp_path, '20260101_000000', [trained(10, 3.0), first, trained(20, 2.0), second])
    assert [record['step'] for record in read_scalars(tmp_path)[1]] == [10, 20]


def test_the_picture_shows_both_panels(work_dir: Path, tmp_path: Path) -> None:
    path = draw_curves(work_dir, tmp_path / 'new' / 'curves.png', 'a title')
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 300 and picture.shape[1] > 1000
    middle = picture.shape[1] // 2
    coloured = picture.max(axis=2).astype(int) - picture.min(axis=2) > 60
    assert coloured[:, :middle].sum() > 500 and coloured[:, middle:].sum() > 500


def test_a_run_without_validation_has_a_loss_curve_all_the_same(tmp_path: Path) -> None:
    log(tmp_path, '20260101_000000', [trained(1, 3.0), trained(2, 2.0)])
    picture = cv2.imread(str(draw_curves(tmp_path, tmp_path / 'curves.png')))
    coloured = picture.max(axis=2).astype(int) - picture.min(axis=2) > 60
    middle = picture.shape[1] // 2
    assert coloured[:, :middle].sum() > 500 and not coloured[:, middle:].any()


def test_a_directory_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='is it the work dir of a training'):
        draw_curves(tmp_path, tmp_path / 'curves.png')
    assert not (tmp_path / 'curves.png').exists()


def test_segmentation_is_drawn_from_0_to_1(tmp_path: Path) -> None:
    losses = [
        {'loss': 2.0 / step, 'decode.loss_ce': 1.5 / step, 'aux.loss_ce': 0.5 / step, 'iter': step, 'step': step}
        for step in (10, 20)
    ]
    log(tmp_path, '20260101_000000', [*losses, {'mIoU': 61.0, 'mAcc': 70.0, 'aAcc': 90.0, 'step': 20}])
    drawn: dict[str, list] = {}
    original = Axes.plot

    def plot(axes: Axes, xs, ys, *args, **kwargs):
        drawn[kwargs['label']] = list(ys)
        return original(axes, xs, ys, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, 'plot', plot)
        draw_curves(tmp_path, tmp_path / 'curves.png')
    assert drawn['mIoU'] == [pytest.approx(0.61)] and drawn['accuracy of all pixels'] == [pytest.approx(0.9)]
    assert drawn['loss_ce'] == [0.2, 0.1], 'of both heads'
    assert 'loss_bbox' not in drawn and 'box AP' not in drawn
