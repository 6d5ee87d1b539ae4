"""tools/check_data.py as a user calls it: what it prints and its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def check_data(*arguments: object, cwd: Path, **environment: str) -> tuple[int, str, str]:
    result = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'check_data.py', *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of four images of cats."""
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
    path = tmp_path / 'cats.py'
    path.write_text(
        "default_scope = 'mmdet'\n"
        'model = dict(bbox_head=dict(num_classes=1))\n'
        "train_dataloader = dict(dataset=dict(type='CocoDataset', data_root='.', ann_file='cats.json', "
        "data_prefix=dict(img='images/'), metainfo=dict(classes=('cat',)), "
        "pipeline=[dict(type='mmswin.LoadImageFromFile')]))\n"
    )
    return path


def test_sound_data(config: Path) -> None:
    status, out, err = check_data(config, '--decode', cwd=config.parent)
    assert status == 0, err
    lines = out.splitlines()
    # Not always the first: the forks print a line of their own when they are imported.
    summary = 'train: 4 images, 4 of them usable for training; 4 annotations, 1 categories in '
    assert any(line.startswith(summary) for line in lines)
    assert lines[-1].startswith('0 errors, 0 warnings, ')


def test_faults_are_printed_and_the_status_is_1(config: Path) -> None:
    (config.parent / 'images' / '2.jpg').write_bytes(b'broken')
    options = ('--decode', '--cfg-options', 'model.bbox_head.num_classes=80')
    status, out, _ = check_data(config, *options, cwd=config.parent)
    assert status == 1
    assert 'error (train): train_dataloader.dataset has 1 classes (cat)' in out
    assert 'error (train): 1 of 4 images (25.00%) are missing or do not decode' in out
    assert '2 errors, 0 warnings' in out


def test_recipe_without_its_data(tmp_path: Path) -> None:
    config = ROOT / 'configs' / 'cascade_mask_rcnn_swin_t_coco.py'
    status, out, _ = check_data(config, '--split', 'train', 'val', 'test', cwd=tmp_path, MMSWIN_COCO_DIR='nowhere')
    assert status == 1
    for split in ('train', 'val', 'test'):
        assert f"error ({split}): the data root 'nowhere/' does not exist" in out
    assert 'mmswin miniature coco' in out and '3 errors, 0 warnings' in out


def test_unusable_configurations_are_one_line_and_status_2(config: Path, tmp_path: Path) -> None:
    status, _, err = check_data('no_such_config.py', cwd=tmp_path)
    assert status == 2 and 'no_such_config.py does not exist' in err and 'Traceback' not in err
    status, _, err = check_data(config, '--cfg-options', 'train_dataloader.datset.data_root=x', cwd=config.parent)
    assert status == 2 and 'datset' in err and 'Traceback' not in err
