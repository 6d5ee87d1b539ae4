"""HTC++: its pipelines, the views of its tests, and what its variants have in common."""

import copy
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose

from mmswin.engine.testing import enable_tta

pytestmark = pytest.mark.usefixtures('mmdet_scope')

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'htc_plus_{name}_coco.py')


@pytest.fixture
def sample(tmp_path: Path) -> dict:
    """What the data set hands to the pipeline for an image of 640x480 with one object and two labels in its map."""
    cv2.imwrite(str(tmp_path / 'image.jpg'), np.zeros((480, 640, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'map.png'), np.tile(np.uint8([17, 255]), (480, 320)))
    corners = [600, 450, 640, 450, 640, 480, 600, 480]
    instance = {'bbox': [600, 450, 640, 480], 'bbox_label': 3, 'ignore_flag': 0, 'mask': [corners]}
    paths = {'img_path': str(tmp_path / 'image.jpg'), 'seg_map_path': str(tmp_path / 'map.png')}
    return {**paths, 'img_id': 1, 'height': 480, 'width': 640, 'instances': [instance]}


@pytest.mark.parametrize(('name', 'maps'), [('swin_b', True), ('no_semantic_swin_l', False)])
def test_images_are_boosted_and_take_any_side_from_400_to_1400(name: str, maps: bool, sample: dict) -> None:
    pipeline = Compose(parsed(name).train_dataloader.dataset.pipeline)
    assert [type(step).__name__ for step in pipeline.transforms[:3]] == [
        'LoadImageFromFile', 'InstaBoost', 'LoadAnnotations'
    ]  # fmt: skip
    np.random.seed(0)
    shapes = []
    for _ in range(8):
        found = pipeline(copy.deepcopy(sample))['data_samples']
        shapes.append(found.img_shape)
        assert len(found.gt_instances.masks) == 1 and ('gt_sem_seg' in found) == maps
        if maps:
            labels = found.gt_sem_seg.sem_seg
            assert labels.shape[1:] == found.img_shape and set(labels.unique().tolist()) == {17, 255}
    assert 400 <= min(map(min, shapes)) < 700 and max(map(min, shapes)) > 900 and max(map(max, shapes)) <= 1600


def test_several_scales_are_tested_each_mirrored_too(sample: dict) -> None:
    cfg = copy.deepcopy(parsed('swin_l'))
    enable_tta(cfg)
    assert (cfg.model.type, cfg.model.tta_cfg.nms.type) == ('mmswin.InstanceTTAModel', 'soft_nms')
    views = Compose(cfg.test_dataloader.dataset.pipeline)(sample)['data_samples']
    assert [view.flip for view in views].count(True) * 2 == len(views) == 8
    assert {view.img_shape for view in views} == {(1000, 1333), (1200, 1600), (1350, 1800)}


def test_sizes_differ_in_the_backbone_and_what_takes_its_maps_alone() -> None:
    base, large = (parsed(name).model.to_dict() for name in ('swin_b', 'swin_l'))
    assert base['backbone'].pop('arch') == 'base' and large['backbone'].pop('arch') == 'large'
    for model in (base, large):
        assert model['backbone']['init_cfg'].pop('checkpoint').endswith('_patch4_window7_224_22k.pth')
        assert model['neck'][0].pop('channels') == 32 * model['neck'][0].pop('num_heads')
        assert len(model['neck'][1].pop('in_channels')) == 4
    assert base == large


def test_without_the_semantic_branch_all_else_is_the_same() -> None:
    with_branch, without = (parsed(name).model.to_dict() for name in ('swin_b', 'no_semantic_swin_b'))
    for part in ('semantic_head', 'semantic_roi_extractor'):
        assert with_branch['roi_head'].pop(part) and without['roi_head'].pop(part) is None
    assert with_branch['data_preprocessor'].pop('pad_seg') and not without['data_preprocessor'].pop('pad_seg')
    assert with_branch == without
