"""Pictures of label maps: the colours are the labels', truth and prediction are not mixed up, sizes are checked."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmswin.visualization.label_maps import colour_of, compare_maps, draw_label_maps, legend, paint

CLASSES = ('ground', 'square', 'bar')


def test_each_class_has_a_colour_of_its_own_and_ignored_is_black() -> None:
    assert len({colour_of(label) for label in range(8)}) == 8
    painted = paint(np.array([[0, 1], [2, 255]]), 3)
    assert [tuple(pixel) for pixel in painted.reshape(-1, 3)] == [colour_of(0), colour_of(1), colour_of(2), (0, 0, 0)]
    assert tuple(paint(np.array([[5]]), 3)[0, 0]) == (0, 0, 0), 'no class'


def test_image_truth_and_prediction_stand_side_by_side() -> None:
    image = np.full((20, 30, 3), 77, np.uint8)
    truth, prediction = np.full((20, 30), 1), np.full((20, 30), 2)
    picture = compare_maps(image, truth, prediction, 3, side=60)
    height, width = picture.shape[:2]
    assert width == 3 * 60 + 2 * 4 and height > 40
    middle = [tuple(picture[-20, x]) for x in (30, 94, 158)]
    assert middle == [(77, 77, 77), colour_of(1), colour_of(2)]
    with pytest.raises(ValueError, match=r'differ in size: \(20, 30\), \(20, 30\), \(10, 30\)'):
        compare_maps(image, truth, prediction[:10], 3)


def test_a_legend_has_all_classes_in_any_width() -> None:
    for width in (600, 130):
        found = {tuple(pixel) for pixel in legend(CLASSES, width).reshape(-1, 3).tolist()}
        assert {colour_of(0), colour_of(1), colour_of(2), (0, 0, 0)} <= found
    assert legend(CLASSES, 130).shape[0] > legend(CLASSES, 600).shape[0]


def _result(path: Path, label: int) -> dict:
    def data(value: int) -> dict:
        return {'data': torch.full((1, 20, 30), value)}

    return {'img_path': str(path), 'gt_sem_seg': data(label), 'pred_sem_seg': data(0)}


def test_the_first_images_are_drawn(tmp_path: Path) -> None:
    results = []
    for number in (3, 1, 2):
        path = tmp_path / f'ADE_val_{number:08d}.jpg'
        cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
        results.append(_result(path, number % 3))
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps(results))
    sheet, *files = draw_label_maps(tmp_path / 'p.pkl', tmp_path / 'out', CLASSES, number=2)
    assert [file.name for file in files] == ['ADE_val_00000001.png', 'ADE_val_00000002.png']
    assert sheet.name == 'contact_sheet.png' and sheet.is_file()
    first = cv2.imread(str(files[0]))[..., ::-1]
    third = first.shape[1] // 3
    assert tuple(first[-10, third + third // 2]) == colour_of(1), 'the truth is in the middle'
    assert tuple(first[-10, 2 * third + third // 2]) == colour_of(0)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps([]))
    with pytest.raises(ValueError, match='holds no predictions'):
        draw_label_maps(tmp_path / 'p.pkl', tmp_path / 'out', CLASSES)
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps([_result(tmp_path / 'gone.jpg', 1)]))
    with pytest.raises(ValueError, match=r'gone\.jpg is missing or no image'):
        draw_label_maps(tmp_path / 'p.pkl', tmp_path / 'out', CLASSES)
