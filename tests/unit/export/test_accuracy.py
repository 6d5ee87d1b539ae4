"""AP and mIoU of programs beside each other, against annotations where there are some."""

import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from predictors import CLASSES

from mmswin.errors import RunError
from mmswin.export import accuracy
from mmswin.inference import Instances, Scores

PICTURES = 3


class Program:
    """A detector that finds the bright squares, moved by the name of its file; or a segmentor."""

    classes, palette, reading = CLASSES, None, {}

    def __init__(self, path) -> None:
        self.shift, self.segments = int(path.stem), path.suffix == '.seg'
        self.classifies = path.suffix == '.cls'

    def __call__(self, images, amp=None, scores=False):
        found = []
        for image in images:
            bright = np.roll(image.max(2) > 100, self.shift, 1)
            columns = np.flatnonzero(bright.any(0))
            box = np.float32([[columns[0], 5, columns[-1] + 1, 15]])
            one = Instances(box, np.float32([0.9]), np.array([1]))
            whole = Scores(np.float32([0.5, bright[:, :25].any(), 0]))
            found.append(whole if self.classifies else bright.astype(np.uint8) if self.segments else one)
        return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    from mmswin.inference import exported_backend

    monkeypatch.setattr(exported_backend, 'ExportedBackend', Program)
    records, annotations = [], []
    for number in range(1, PICTURES + 1):
        image = np.zeros((30, 60, 3), np.uint8)
        image[5:15, 10 * number : 10 * number + 10] = 200
        cv2.imwrite(str(tmp_path / f'{number}.png'), image)
        records.append({'id': number, 'file_name': f'{number}.png', 'width': 60, 'height': 30})
        box = {'bbox': [10 * number, 5, 10, 10], 'area': 100, 'iscrowd': 0, 'category_id': 2}
        annotations.append({'id': number, 'image_id': number, **box})
    categories = [{'id': i + 1, 'name': name} for i, name in enumerate(CLASSES)]
    content = {'images': records, 'annotations': annotations, 'categories': categories}
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    return tmp_path


def config(folder, ann_file: str) -> Config:
    dataset = dict(type='CocoDataset', data_root=str(folder), ann_file=ann_file, data_prefix=dict(img=''),
                   metainfo=dict(classes=CLASSES), test_mode=True, pipeline=[])  # fmt: skip
    return Config(dict(default_scope='mmdet', test_dataloader=dict(dataset=dataset)))


def test_against_annotations(folder):
    measured = accuracy.measure(
        [folder / '0.det', folder / '1.det', folder / '9.det'], str(folder), config(folder, 'truth.json')
    )
    exact, near, far = measured.values
    assert (exact, far) == (pytest.approx(100), 0) and 20 < near < 90
    assert (measured.annotated, measured.pictures, measured.metric) == (True, PICTURES, 'box AP')


def test_against_the_first_program(folder):
    measured = accuracy.measure(
        [folder / '9.det', folder / '9.det', folder / '0.det'], str(folder), config(folder, 'none.json')
    )
    assert measured.values == [pytest.approx(100), pytest.approx(100), 0]
    assert (measured.annotated, measured.pictures) == (False, PICTURES)


def test_nothing_to_measure_on_is_no_measurement(folder, monkeypatch):
    monkeypatch.setattr(accuracy, 'CERTAIN', 0.95)
    with pytest.raises(RunError, match='no object'):
        accuracy.measure([folder / '0.det', folder / '1.det'], str(folder), config(folder, 'none.json'))


def test_of_label_maps(folder):
    measured = accuracy.measure([folder / '0.seg', folder / '5.seg'], str(folder), Config(dict(default_scope='mmseg')))
    ground, bright = 1650 / 1750, 50 / 150
    assert measured.values == [pytest.approx(100), pytest.approx(50 * (ground + bright))]
    assert measured.metric == 'mIoU'


def test_of_classes(folder):
    measured = accuracy.measure([folder / '0.cls', folder / '10.cls'], str(folder), Config(dict()))
    assert (measured.metric, measured.values) == ('top-1', [100, pytest.approx(200 / 3)])
    assert (measured.annotated, measured.pictures) == (False, PICTURES)


def test_a_folder_without_pictures(tmp_path, monkeypatch):
    from mmswin.inference import exported_backend

    monkeypatch.setattr(exported_backend, 'ExportedBackend', Program)
    (tmp_path / 'broken.png').write_bytes(b'no picture')
    with pytest.raises(RunError, match='no picture'):
        accuracy.measure([tmp_path / '0.det', tmp_path / '1.det'], str(tmp_path), Config(dict()))
