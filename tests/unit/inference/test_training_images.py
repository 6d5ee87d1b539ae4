"""Training images with their truth: boxes, masks and labels lie where the augmented picture has them."""

import json
import types

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.structures import BaseDataElement

from mmswin.errors import RunError
from mmswin.inference import drawing
from mmswin.inference.training_images import _result, _side_by_side, training_images


@pytest.fixture
def data(tmp_path):
    """Two pictures of 60 x 40: a bright square of 16 at (4, 8), class 1, and its label map."""
    image, labels = np.full((40, 60, 3), 30, np.uint8), np.zeros((40, 60), np.uint8)
    image[8:24, 4:20], labels[8:24, 4:20] = 220, 2
    for folder in ('images', 'maps'):
        (tmp_path / folder).mkdir()
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.png'), image)
        cv2.imwrite(str(tmp_path / 'maps' / f'{name}.png'), labels)
    square = [4, 8, 20, 8, 20, 24, 4, 24]
    entries = [
        {
            'id': i,
            'image_id': i,
            'category_id': 7,
            'bbox': [4, 8, 16, 16],
            'area': 256,
            'iscrowd': 0,
            'segmentation': [square],
        }
        for i in (1, 2)
    ]
    images = [{'id': i, 'file_name': f'{name}.png', 'width': 60, 'height': 40} for i, name in ((1, 'a'), (2, 'b'))]
    categories = [{'id': 3, 'name': 'disc'}, {'id': 7, 'name': 'square'}]
    (tmp_path / 'a.json').write_text(json.dumps({'images': images, 'annotations': entries, 'categories': categories}))
    return tmp_path


def detection(data, **dataset) -> Config:
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='RandomFlip', prob=1.0),
        dict(type='Resize', scale=(120, 80), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset', data_root=str(data), ann_file='a.json', data_prefix=dict(img='images'), pipeline=steps,
        metainfo=dict(classes=('disc', 'square')), **dataset,
    )  # fmt: skip
    return Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=dataset)))


def test_boxes_and_masks_follow_the_augmentation(data):
    first, second = training_images(detection(data))
    assert [first.name, second.name] == ['000000_a', '000001_b'] and first.counts() == {'square': 1}
    np.testing.assert_allclose(first.instances.boxes, [[80, 16, 112, 48]])
    (mask,) = first.instances.masks
    bright = first.image[..., 0] > 125
    seen = np.zeros_like(bright)
    mask.inside(seen)[...] = mask.pixels
    assert (seen != bright).mean() < 0.02
    drawn = first.draw()
    assert drawn[len(drawn) // 4 + 20, int(0.8 * drawn.shape[1])].tolist() != [220] * 3
    assert len(list(training_images(detection(data), number=1))) == 1


def test_label_maps(data):
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', reduce_zero_label=True),
        dict(type='PackSegInputs'),
    ]
    dataset = dict(
        type='BaseSegDataset', data_root=str(data), data_prefix=dict(img_path='images', seg_map_path='maps'),
        img_suffix='.png', seg_map_suffix='.png', reduce_zero_label=True, pipeline=steps,
        metainfo=dict(classes=('disc', 'square'), palette=[[9, 9, 9], [0, 0, 250]]),
    )  # fmt: skip
    first, _ = training_images(Config(dict(default_scope='mmseg', val_dataloader=dict(dataset=dataset))), split='val')
    assert first.counts() == {'square': 256}
    assert (first.label_map[8:24, 4:20] == 1).all() and first.label_map[0, 0] == 255


def test_what_cannot_be_shown_is_refused(data):
    with pytest.raises(RunError, match='val_dataloader'):
        list(training_images(detection(data), split='val'))
    (data / 'images' / 'b.png').unlink()
    with pytest.raises(RunError, match=r'b\.png'):
        list(training_images(detection(data)))
    with pytest.raises(RunError, match=r'b\.json'):
        list(training_images(Config.fromstring(detection(data).dump().replace("'a.json'", "'b.json'"), '.py')))


def test_pictures_without_truth_and_lists_without_names(data):
    cfg = detection(data)
    del cfg.train_dataloader.dataset.pipeline[1:3]
    first, _ = training_images(cfg)
    assert first.counts() == {} and first.image.shape == (80, 120, 3)


def test_a_data_set_that_cannot_be_built_is_one_line(data):
    def broken(**_):
        raise RuntimeError('Found 0 files')

    DATASETS.register_module(name='BrokenOfATest', module=broken, force=True)
    cfg = detection(data)
    cfg.train_dataloader.dataset.type = 'mmengine.BrokenOfATest'
    with pytest.raises(RunError, match='Found 0 files'):
        list(training_images(cfg))


@pytest.mark.parametrize('with_network', [False, True])
def test_masked_patches_are_grey_then_the_networks_then_the_pictures(with_network):
    inputs = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8)
    mask = torch.tensor([[1, 0], [0, 0]])
    mean, std = torch.tensor([10.0, 20.0, 30.0])[:, None, None], torch.full((3, 1, 1), 2.0)

    class Preprocessor:
        """From blue, green, red to normalised red, green, blue."""

        _channel_conversion = True

        def __init__(self):
            self.mean, self.std = mean, std

        def __call__(self, data):
            return {'inputs': (data['inputs'].flip(1) - self.mean) / self.std}

    seen = []
    network = types.SimpleNamespace(
        data_preprocessor=Preprocessor(),
        backbone=lambda images, given: (seen.append(given), [images])[1],
        neck=lambda images: images + torch.tensor([1.0, 2.0, 3.0])[:, None, None],
    )
    shown = _side_by_side(inputs, types.SimpleNamespace(mask=mask), network if with_network else None)
    parts = shown.split(8, dim=2)
    assert len(parts) == (3 if with_network else 2)
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[:4, :4] = True
    assert torch.equal(parts[0], torch.where(hidden, torch.tensor(128, dtype=torch.uint8), inputs))
    assert torch.equal(parts[-1], inputs)
    if with_network:
        assert torch.equal(seen[0], mask[None])
        added = torch.tensor([6, 4, 2], dtype=torch.uint8)[:, None, None]  # times 2; red is the last
        assert torch.equal(parts[1], torch.where(hidden, inputs + added, inputs))


def test_the_true_class_of_a_picture_is_named_without_a_probability():
    colours = [(9, 9, 9), (200, 0, 0)]
    truth = BaseDataElement(gt_label=torch.tensor([1]))
    result = _result(torch.zeros(3, 8, 8), truth, 0, ('rose', 'daisy'), colours)
    assert result.counts() == {'daisy': 1}
    drawn = result.draw()
    label = drawing.tag('daisy', drawing.text_size(drawn), colours[1])
    height, width = label.shape[:2]
    np.testing.assert_array_equal(drawn[:height, :width], label)
    assert not drawn[:height, width:].any()
