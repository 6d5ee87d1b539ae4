"""SAHI predicts with our configurations and checkpoints as they are, and supervision takes mmdet's results of them and ours."""

import os
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from predictors import CLASSES, detection, mask_rcnn, write

import mmswin

FOLDER = Path(os.environ.get('MMSWIN_INFERENCE') or Path(sys.prefix, 'inference'))


@pytest.fixture(scope='module', autouse=True)
def libraries():
    """Make SAHI and supervision importable, which `make peers` installs next to the environment and not in it."""
    if not (FOLDER / 'sahi').is_dir():
        pytest.skip(f'SAHI, supervision: NOT CHECKED, they are not in {FOLDER} (make peers installs them)')
    sys.path.append(str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def file(tmp_path: Path) -> str:
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 14, 3), np.uint8), (160, 100))
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    return str(tmp_path / 'image.png')


def test_sahi_finds_what_we_find(tmp_path: Path, file: str) -> None:
    from sahi import AutoDetectionModel
    from sahi.predict import get_prediction, get_sliced_prediction

    config, weights = write(tmp_path, detection(), dataset_meta={'classes': CLASSES})
    theirs = AutoDetectionModel.from_pretrained(
        model_type='mmdet', model_path=weights, config_path=config, device='cpu', confidence_threshold=0.0
    )
    found = get_prediction(file, theirs).object_prediction_list
    (ours,) = mmswin.load(config, weights, device='cpu')(file)
    assert len(found) == len(ours.instances) > 0
    for one, box, score, label in zip(found, ours.instances.boxes, ours.instances.scores, ours.instances.labels):
        assert (one.category.id, one.category.name) == (label, CLASSES[label])
        assert one.score.value == pytest.approx(score, abs=1e-5)
        np.testing.assert_allclose(one.bbox.to_xyxy(), box, atol=1)  # theirs are whole pixels
    sliced = get_sliced_prediction(file, theirs, 80, 80, verbose=0).object_prediction_list
    assert sliced and {one.category.name for one in sliced} <= set(CLASSES)


def test_supervision_takes_mmdets_results_and_ours(tmp_path: Path, file: str) -> None:
    supervision: ModuleType = pytest.importorskip('supervision')
    from mmdet.apis import inference_detector, init_detector

    config, weights = write(tmp_path, mask_rcnn(), dataset_meta={'classes': CLASSES})
    theirs = supervision.Detections.from_mmdetection(
        inference_detector(init_detector(config, weights, device='cpu'), file)
    )
    (result,) = mmswin.load(config, weights, device='cpu')(file)
    ours = result.to_supervision()
    order = np.argsort(-theirs.confidence, kind='stable')
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy[order], atol=1e-3)
    np.testing.assert_allclose(ours.confidence, theirs.confidence[order], atol=1e-5)
    np.testing.assert_array_equal(ours.class_id, theirs.class_id[order])
    np.testing.assert_array_equal(ours.mask, theirs.mask[order])
    assert list(ours.data['class_name']) == [CLASSES[label] for label in ours.class_id]
