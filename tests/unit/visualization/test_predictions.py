"""Pictures of predictions beside the truth: the right sizes, drawn where the objects are, nothing below the threshold,
and clear words where predictions, annotations and images do not belong together.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.fileio import dump
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmswin.data.miniature import DEFAULT_CLASSES, MiniatureSettings, make_miniature_coco
from mmswin.visualization.predictions import compare, contact_sheet, draw_comparisons, truth_of, write_picture

BAR = 22
GREY = np.full((40, 60, 3), 128, np.uint8)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros((40, 60), np.uint8), (x, y), radius, 1, -1)


TRUTH = {'boxes': [(6, 8, 27, 29)], 'labels': [1], 'masks': [disc(16, 18, 10)], 'names': ['square']}
FOUND = {
    'bboxes': np.array([[36, 12, 53, 29], [2, 2, 12, 12]], np.float32),
    'labels': np.array([0, 1]),
    'scores': np.array([0.9, 0.1]),
    'masks': [coco_mask.encode(np.asfortranarray(mask)) for mask in (disc(44, 20, 8), disc(7, 7, 5))],
}


def halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction without the caption, as how far each pixel is from the grey image."""
    body = np.abs(picture[BAR:].astype(int) - 128).max(axis=2)
    middle = body.shape[1] // 2
    return body[:, :middle], body[:, middle:]


def test_a_small_image_is_enlarged_and_drawn_on_both_sides() -> None:
    picture = compare(GREY, TRUTH, FOUND, ('circle', 'square'), side=240)
    assert picture.shape == (BAR + 4 * 40, 2 * 4 * 60, 3) and picture.dtype == np.uint8
    truth, prediction = halves(picture)
    assert truth[4 * 18, 4 * 20] > 20 and prediction[4 * 22, 4 * 48] > 20, 'masks are coloured'
    assert (truth[:, 4 * 32 :] <= 8).all(), 'the truth has nothing on the right'
    # Labels may be wider than a small box, so look well away from them.
    assert (prediction[4 * 5 : 4 * 10, : 4 * 30] <= 8).all(), 'below the threshold nothing is drawn'


@pytest.mark.filterwarnings('error:.*out of bounds')
def test_boxes_beyond_the_image_are_drawn_at_its_edge() -> None:
    beyond = dict(FOUND, bboxes=np.array([[-9, -9, 70, 50], [2, 2, 12, 12]], np.float32))
    prediction = halves(compare(GREY, TRUTH, beyond, ('circle', 'square'), side=240))[1]
    assert (prediction[-1, 50:200] > 8).all() and (prediction[40:150, -1] > 8).all()


def test_the_threshold_counts() -> None:
    low = compare(GREY, TRUTH, FOUND, ('circle', 'square'), side=240, score_threshold=0.05)
    assert halves(low)[1][4 * 7, 4 * 7] > 20


def test_a_large_image_keeps_its_size() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    empty = {'boxes': [], 'labels': [], 'masks': [], 'names': []}
    nothing = {'bboxes': np.zeros((0, 4)), 'labels': np.zeros(0, int), 'scores': np.zeros(0), 'masks': []}
    assert compare(image, empty, nothing, ('circle',), side=100).shape == (BAR + 300, 800, 3)


def test_masks_may_be_missing_or_arrays() -> None:
    without = {key: value for key, value in FOUND.items() if key != 'masks'}
    plain = dict(FOUND, masks=np.stack([disc(44, 20, 8), disc(7, 7, 5)]))
    bare = halves(compare(GREY, TRUTH, without, ('circle', 'square'), side=240))[1]
    filled = halves(compare(GREY, TRUTH, plain, ('circle', 'square'), side=240))[1]
    assert bare[4 * 25, 4 * 44] <= 8 < filled[4 * 25, 4 * 44]
    encoded = halves(compare(GREY, TRUTH, FOUND, ('circle', 'square'), side=240))[1]
    assert (encoded > 8).mean() == pytest.approx((filled > 8).mean(), abs=1e-3)  # mmdet varies the colours


def test_a_contact_sheet_holds_all_pictures() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (1, 2, 3), (9, 9, 9)]
    pictures = [np.full((20 + i, 30, 3), colour, np.uint8) for i, colour in enumerate(colours)]
    sheet = contact_sheet(pictures, columns=2, gap=4)
    assert sheet.shape == (3 * 28 + 4, 2 * 34 + 4, 3)
    for i, colour in enumerate(colours):
        assert (sheet == colour).all(axis=2).sum() == (20 + i) * 30
    assert contact_sheet(pictures[:1], columns=3).shape[1] < 50
    with pytest.raises(ValueError, match='at least one picture'):
        contact_sheet([])


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / 'taken.png').mkdir()
    with pytest.raises(OSError, match='taken.png could not be written'):
        write_picture(tmp_path / 'taken.png', GREY)


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = MiniatureSettings(num_train=1, num_val=24, image_size=64, seed=2)
    return make_miniature_coco(tmp_path_factory.mktemp('data'), settings)


def annotations(data: Path) -> Path:
    return data / 'annotations' / 'instances_val2017.json'


def perfect(data: Path) -> list[dict]:
    coco = COCO(str(annotations(data)))
    results = []
    for number in coco.imgs:
        truth = truth_of(coco, number)
        masks = [coco_mask.encode(np.asfortranarray(mask)) for mask in truth['masks']]
        found = {
            'bboxes': np.array(truth['boxes'], np.float32).reshape(-1, 4), 'labels': np.array(truth['labels'], int),
            'scores': np.ones(len(masks)), 'masks': masks,
        }  # fmt: skip
        results.append({'img_id': number, 'pred_instances': found})
    return results[::-1]


def test_the_truth_names_crowds_and_counts_labels_from_zero(data: Path) -> None:
    coco = COCO(str(annotations(data)))
    names = []
    for number, image in coco.imgs.items():
        truth = truth_of(coco, number)
        assert len(truth['boxes']) == len(truth['labels']) == len(truth['masks']) == len(truth['names'])
        assert all(mask.shape == (image['height'], image['width']) for mask in truth['masks'])
        for label, name in zip(truth['labels'], truth['names'], strict=True):
            assert name.removesuffix(' (crowd)') == DEFAULT_CLASSES[label]
        names += truth['names']
    assert any(name.endswith(' (crowd)') for name in names) and not all(name.endswith(' (crowd)') for name in names)


def test_pictures_of_a_test(data: Path, tmp_path: Path) -> None:
    dump(perfect(data), tmp_path / 'found.pkl')
    files = draw_comparisons(
        tmp_path / 'found.pkl', annotations(data), data / 'val2017', tmp_path / 'out', DEFAULT_CLASSES, number=7
    )
    assert files[0] == tmp_path / 'out' / 'contact_sheet.png'
    images = json.loads(annotations(data).read_text())['images']
    assert [file.stem for file in files[1:]] == [Path(image['file_name']).stem for image in images[:7]]
    sizes = [cv2.imread(str(file)).shape for file in files]
    assert sizes[0][0] > 3 * min(size[0] for size in sizes[1:]), 'three rows'
    assert all(size[0] >= 240 for size in sizes[1:])
    # Perfect predictions: both halves show the same masks, apart from labels, scores and the rims of boxes.
    for file in files[1:]:
        body = cv2.imread(str(file))[BAR:].astype(int)
        left, right = np.split(body, 2, axis=1)
        assert (np.abs(left - right).max(axis=2) > 40).mean() < 0.25


def test_predictions_of_other_images_are_refused(data: Path, tmp_path: Path) -> None:
    dump([{'img_id': 999999, 'pred_instances': {}}], tmp_path / 'other.pkl')
    dump([], tmp_path / 'none.pkl')
    for name, message in (('other', '999999'), ('none', 'no predictions')):
        with pytest.raises(ValueError, match=message):
            draw_comparisons(tmp_path / f'{name}.pkl', annotations(data), data / 'val2017', tmp_path, DEFAULT_CLASSES)
    dump(perfect(data), tmp_path / 'found.pkl')
    with pytest.raises(ValueError, match='right directory'):
        draw_comparisons(tmp_path / 'found.pkl', annotations(data), data / 'train2017', tmp_path, DEFAULT_CLASSES)
