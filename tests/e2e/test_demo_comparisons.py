"""Pictures of predictions next to the truth: both are drawn where they are, and only what scores enough."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.fileio import dump
from pycocotools import mask as coco_mask

from demo.comparisons import SIDE, contact_sheet, draw_instances, draw_label_maps

ZOOM = round(SIDE / 60)


def square(left: int, top: int, side: int) -> np.ndarray:
    mask = np.zeros((40, 60), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def changed(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel of the truth (left) and of the prediction (right) is from the grey image."""
    picture = np.abs(cv2.imread(str(path)).astype(int) - 128).max(axis=2)
    assert picture.shape == (40 * ZOOM, 2 * 60 * ZOOM)
    return picture[:, : 60 * ZOOM], picture[:, 60 * ZOOM :]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / 'a_001.png'
    cv2.imwrite(str(path), np.full((40, 60, 3), 128, np.uint8))
    return path


def test_instances(image: Path, tmp_path: Path) -> None:
    entry = {'id': 1, 'image_id': 7, 'category_id': 5, 'bbox': [4, 6, 20, 20], 'area': 400, 'iscrowd': 0,
             'segmentation': [[4, 6, 24, 6, 24, 26, 4, 26]]}  # fmt: skip
    content = {
        'images': [{'id': 7, 'file_name': image.name, 'width': 60, 'height': 40}],
        'annotations': [entry],
        'categories': [{'id': 2, 'name': 'disc'}, {'id': 5, 'name': 'square'}],
    }
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    masks = [coco_mask.encode(np.asfortranarray(square(*place))) for place in ((36, 12, 16), (2, 28, 10))]
    boxes = np.array([[36, 12, 52, 28], [2, 28, 12, 38]], np.float32)
    found = {'bboxes': boxes, 'labels': np.array([0, 1]), 'scores': np.array([0.9, 0.1]), 'masks': masks}
    results = [{'img_id': 7, 'img_path': str(image), 'pred_instances': found}]
    dump(results, tmp_path / 'predictions.pkl')
    arguments = (tmp_path / 'predictions.pkl', tmp_path / 'truth.json', tmp_path / 'out', ('disc', 'square'))
    sheet, picture = draw_instances(*arguments)
    assert sheet.is_file() and picture.name == 'a_001.png'
    truth, prediction = changed(picture)
    assert truth[20 * ZOOM, 20 * ZOOM] > 20 and prediction[24 * ZOOM, 48 * ZOOM] > 20, 'masks are coloured'
    assert (truth[:, 45 * ZOOM :] <= 8).all(), 'the truth has nothing on the right'
    assert (prediction[29 * ZOOM :, : 15 * ZOOM] <= 8).all(), 'below the threshold nothing is drawn'
    results[0]['img_id'] = 8
    dump(results, tmp_path / 'predictions.pkl')
    with pytest.raises(ValueError, match='image id 8'):
        draw_instances(*arguments)


def test_label_maps(image: Path, tmp_path: Path) -> None:
    maps = {'gt_sem_seg': square(4, 6, 20)[None], 'pred_sem_seg': square(30, 6, 20)[None]}
    result = {'img_path': str(image), **{key: {'data': value} for key, value in maps.items()}}
    dump([result], tmp_path / 'predictions.pkl')
    _, picture = draw_label_maps(tmp_path / 'predictions.pkl', tmp_path / 'out', ('ground', 'square'))
    truth, prediction = changed(picture)
    assert truth[8 * ZOOM, 6 * ZOOM] > 40 and truth[8 * ZOOM, 32 * ZOOM] < 40
    assert prediction[8 * ZOOM, 6 * ZOOM] < 40 and prediction[8 * ZOOM, 32 * ZOOM] > 40
    image.unlink()
    with pytest.raises(ValueError, match='missing'):
        draw_label_maps(tmp_path / 'predictions.pkl', tmp_path / 'out', ('ground', 'square'))


def test_no_predictions(tmp_path: Path) -> None:
    dump([], tmp_path / 'predictions.pkl')
    with pytest.raises(ValueError, match='no predictions'):
        draw_label_maps(tmp_path / 'predictions.pkl', tmp_path / 'out', ('ground',))


def test_contact_sheet() -> None:
    red, blue = (np.full((10, 20, 3), colour, np.uint8) for colour in ((0, 0, 255), (255, 0, 0)))
    sheet = contact_sheet([red, blue, red], columns=2, gap=2)
    assert sheet.shape == (2 * 12 + 2, 2 * 22 + 2, 3)
    assert sheet[5, 5].tolist() == [0, 0, 255] and sheet[5, 30].tolist() == [255, 0, 0]
    assert (sheet[14:, 24:] == 255).all()
