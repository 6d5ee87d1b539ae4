"""The scripts that lay out the tutorials' data, on made files of the same layout."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

CONVERTERS = Path(__file__).resolve().parents[2] / 'tools' / 'dataset_converters'


def _convert(script: str, source: Path, target: Path) -> None:
    subprocess.run([sys.executable, CONVERTERS / script, source, target], check=True, capture_output=True)


def _contents(path: Path) -> tuple[dict, dict]:
    content = json.loads(path.read_text())
    return content, {image['id']: image['file_name'] for image in content['images']}


def test_blood_cells(tmp_path):
    source = tmp_path / 'BCCD'
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (source / folder).mkdir(parents=True)
    boxes = [('WBC', 1, 1, 640, 480), ('RBC', 7, 7, 7, 7), ('Platelets', 11, 21, 12, 24)]
    objects = ''.join(
        f'<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>'
        f'<ymax>{bottom}</ymax></bndbox></object>'
        for name, left, top, right, bottom in boxes
    )
    for split in ('train', 'val', 'test'):
        (source / f'ImageSets/Main/{split}.txt').write_text(f'{split}_1\n{split}_2\n')
        for number, inside in ((1, ''), (2, objects)):
            xml = f'<annotation><size><width>640</width><height>480</height></size>{inside}</annotation>'
            (source / f'Annotations/{split}_{number}.xml').write_text(xml)
            cv2.imwrite(str(source / f'JPEGImages/{split}_{number}.jpg'), np.zeros((480, 640, 3), np.uint8))
    _convert('bccd.py', source, tmp_path / 'out')
    for split in ('train', 'val', 'test'):
        content, names = _contents(tmp_path / f'out/annotations/{split}.json')
        assert sorted(names.values()) == sorted(path.name for path in (tmp_path / 'out' / split).iterdir())
        found = [
            (names[box['image_id']], box['category_id'], box['bbox'], box['area']) for box in content['annotations']
        ]
        assert found == [(f'{split}_2.jpg', 2, [0, 0, 640, 480], 640 * 480), (f'{split}_2.jpg', 3, [10, 20, 2, 4], 8)]
        assert [category['name'] for category in content['categories']] == ['RBC', 'WBC', 'Platelets']


def test_nuclei(tmp_path):
    source = tmp_path / 'stage1_train'
    nucleus = np.zeros((256, 256), np.uint8)
    nucleus[10:14, 20:26] = 255
    for number in range(12):
        side = 128 if number == 3 else 256
        folder = source / f'{number:02}'
        (folder / 'images').mkdir(parents=True)
        (folder / 'masks').mkdir()
        cv2.imwrite(str(folder / f'images/{number:02}.png'), np.full((side, side, 3), number, np.uint8))
        for mask in range(number % 3):
            cv2.imwrite(str(folder / f'masks/{mask}.png'), np.roll(nucleus, 50 * mask, axis=0))
    _convert('nuclei.py', source, tmp_path / 'out')
    content, names = _contents(tmp_path / 'out/annotations/train_256.json')
    assert sorted(names.values()) == [f'{number:02}.png' for number in (0, 1, 2, 4, 5, 6, 7, 8, 9, 11)]
    assert len(content['annotations']) == sum(int(Path(name).stem) % 3 for name in names.values())
    content, names = _contents(tmp_path / 'out/annotations/val_256.json')
    assert names == {1: '10.png'}
    (only,) = content['annotations']
    assert only['bbox'] == [20, 10, 6, 4]
    assert only['area'] == 24
    assert (rle.decode(only['segmentation']) == nucleus // 255).all()
    assert (cv2.imread(str(tmp_path / 'out/val/10.png')) == 10).all()


def test_flowers(tmp_path):
    for name, number in (('daisy', 23), ('roses', 9)):
        (tmp_path / 'flowers' / name).mkdir(parents=True)
        for i in range(number):
            (tmp_path / 'flowers' / name / f'{i:02}.jpg').write_bytes(bytes([i]))
    (tmp_path / 'flowers' / 'LICENSE.txt').touch()
    _convert('flowers.py', tmp_path / 'flowers', tmp_path / 'out')
    assert [path.name for path in sorted((tmp_path / 'out' / 'val').rglob('*.jpg'))] == ['09.jpg', '19.jpg']
    assert (tmp_path / 'out' / 'val' / 'daisy' / '19.jpg').read_bytes() == bytes([19])
    assert len(list((tmp_path / 'out' / 'train' / 'daisy').iterdir())) == 21
    assert len(list((tmp_path / 'out' / 'train' / 'roses').iterdir())) == 9
