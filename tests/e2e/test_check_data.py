"""tools/check_data.py as a user calls it: what it prints and its exit status."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cats(workplace, tmp_path: Path) -> None:
    """The configuration cats.py of four images of cats."""
    (tmp_path / 'images').mkdir()
    images = [{'id': number, 'file_name': f'{number}.jpg', 'width': 64, 'height': 64} for number in range(4)]
    for image in images:
        cv2.imwrite(str(tmp_path / 'images' / image['file_name']), np.zeros((64, 64, 3), dtype=np.uint8))
    annotations = [
        {'id': number, 'image_id': number, 'category_id': 1, 'bbox': [9, 9, 30, 30], 'area': 900} for number in range(4)
    ]
    (tmp_path / 'cats.json').write_text(
        json.dumps({'images': images, 'annotations': annotations, 'categories': [{'id': 1, 'name': 'cat'}]})
    )
    (tmp_path / 'cats.py').write_text(
        "default_scope = 'mmdet'\n"
        'model = dict(bbox_head=dict(num_classes=1))\n'
        "train_dataloader = dict(dataset=dict(type='CocoDataset', data_root='.', ann_file='cats.json', "
        "data_prefix=dict(img='images/'), metainfo=dict(classes=('cat',)), "
        "pipeline=[dict(type='mmswin.LoadImageFromFile')]))\n"
    )


@pytest.mark.usefixtures('cats')
def test_sound_data(workplace) -> None:
    done = workplace.call('check_data.py', 'cats.py', '--decode')
    assert done.status == 0, done.output
    lines = done.output.splitlines()
    # Not always the first: the forks print a line of their own when they are imported.
    summary = 'train: 4 images, 4 of them usable for training; 4 annotations, 1 categories in '
    assert any(line.startswith(summary) for line in lines)
    assert any(line.startswith('0 errors, 0 warnings, ') for line in lines)


@pytest.mark.usefixtures('cats')
def test_faults_are_printed_and_the_status_is_1(workplace) -> None:
    (workplace.directory / 'images' / '2.jpg').write_bytes(b'broken')
    options = ('--decode', '--cfg-options', 'model.bbox_head.num_classes=80')
    done = workplace.call('check_data.py', 'cats.py', *options)
    assert done.status == 1
    assert 'error (train): train_dataloader.dataset has 1 classes (cat)' in done.output
    assert 'error (train): 1 of 4 images (25.00%) are missing or do not decode' in done.output
    assert '2 errors, 0 warnings' in done.output


def test_recipe_without_its_data(workplace) -> None:
    config = ROOT / 'configs' / 'cascade_mask_rcnn_swin_t_coco.py'
    done = workplace.call('check_data.py', config, '--split', 'train', 'val', 'test', MMSWIN_COCO_DIR='nowhere')
    assert done.status == 1
    for split in ('train', 'val', 'test'):
        assert f"error ({split}): the data root 'nowhere/' does not exist" in done.output
    assert 'mmswin miniature coco' in done.output and '3 errors, 0 warnings' in done.output


@pytest.mark.usefixtures('cats')
def test_unusable_configurations_are_one_line_and_status_2(workplace) -> None:
    done = workplace.call('check_data.py', 'no_such_config.py')
    assert done.status == 2 and 'no_such_config.py does not exist' in done.output and 'Traceback' not in done.output
    done = workplace.call('check_data.py', 'cats.py', '--cfg-options', 'train_dataloader.datset.data_root=x')
    assert done.status == 2 and 'datset' in done.output and 'Traceback' not in done.output
