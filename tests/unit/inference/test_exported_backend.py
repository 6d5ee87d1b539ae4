"""Exported programs behind the predictor: what is done before and after them is as in mmcv and mmdet."""

import mmcv
import numpy as np
import pytest
import torch

import mmswin
from mmswin.errors import RunError
from mmswin.inference import exported_backend
from mmswin.inference.exported_backend import ExportedBackend, paste, prepare, resize

PREPROCESSING = dict(inside=True, to_rgb=True, mean=[1.0, 2.0, 3.0], std=[2.0, 2.0, 2.0], scale=None, keep_ratio=True)
METADATA = dict(task='detection', outputs=['boxes', 'scores', 'labels', 'masks'], classes=['a', 'b'], palette=None,
                reading={}, static=None, preprocessing=PREPROCESSING, facts={'mask_threshold': 0.5})  # fmt: skip


def backend(monkeypatch, tmp_path, run, **changes) -> ExportedBackend:
    (tmp_path / 'model.onnx').touch()
    monkeypatch.setattr(exported_backend, 'open_program', lambda path: ({**METADATA, **changes}, run))
    return ExportedBackend(tmp_path / 'model.onnx')


@pytest.mark.parametrize(
    'box', [(3.3, 4.8, 30.1, 21.7), (-5, -3, 9, 60), (35, 20, 41, 26), (3, 3, 4, 9), (50, 50, 60, 60)]
)
def test_masks_are_pasted_as_mmdet_does(box):
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    mask = torch.rand(14, 14, generator=torch.Generator().manual_seed(0))
    expected, _ = _do_paste_mask(mask[None, None], torch.tensor([box], dtype=torch.float32), 26, 41, skip_empty=False)
    found = paste(mask.numpy(), np.float32(box), 26, 41, 0.5)
    whole = np.zeros((26, 41), bool)
    if found.pixels.size:
        found.inside(whole)[...] = found.pixels
    far = (expected[0] - 0.5).abs().numpy() > 1e-5
    np.testing.assert_array_equal(whole[far], (expected[0] >= 0.5).numpy()[far])


@pytest.mark.parametrize('size', [(50, 80), (80, 50), (333, 500), (64, 64)])
def test_pictures_are_resized_as_mmcv_does(size):
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    for scale, keep in (((96, 64), True), ((1333, 800), True)):
        expected = mmcv.imrescale(picture, scale)
        np.testing.assert_array_equal(resize(picture, dict(scale=scale, keep_ratio=keep)), expected)
    expected = mmcv.imresize(picture, (70, 30))
    np.testing.assert_array_equal(resize(picture, dict(scale=[70, 30], keep_ratio=False)), expected)
    assert resize(picture, PREPROCESSING) is picture


@pytest.mark.parametrize('size', [(50, 80), (81, 50), (30, 30)])
def test_the_middle_of_a_picture_is_taken_as_mmcv_takes_it(size):
    from mmcv.transforms import CenterCrop

    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    how = dict(interpolation='bicubic', backend='pillow')
    facts = dict(scale=None, keep_ratio=True, short_side=40, crop=[33, 24], **how)
    height, width = size
    edge = (40, 40 * height // width) if width < height else (40 * width // height, 40)
    expected = CenterCrop((33, 24))({'img': mmcv.imresize(picture, edge, **how)})['img']
    np.testing.assert_array_equal(resize(picture, facts), expected)
    np.testing.assert_array_equal(resize(picture, facts, (24, 33)), expected)
    assert resize(picture, facts, (20, 20)).shape[:2] != expected.shape[:2]


def test_scores_of_a_whole_picture(monkeypatch, tmp_path):
    scores = np.float32([[0.1, 0.9]])
    found = backend(monkeypatch, tmp_path, lambda image: [scores], task='classification', outputs=['scores'])
    (one,) = found([np.zeros((4, 4, 3), np.uint8)])
    assert one.values.tolist() == scores[0].tolist() and not found.segments


def test_a_static_program_gets_pictures_filled_up_with_the_mean():
    picture = np.full((20, 40, 3), 200, np.uint8)
    sized = resize(picture, PREPROCESSING, (30, 30))
    assert sized.shape == (15, 30, 3)
    assert prepare(sized, PREPROCESSING, (30, 30))[0, 20, 5].tolist() == [3, 2, 1]
    assert prepare(sized, {**PREPROCESSING, 'inside': False}, (30, 30))[0, :, 20, 5].tolist() == [0, 0, 0]


def test_objects_are_in_pixels_of_the_picture(monkeypatch, tmp_path):
    seen = []

    def run(image):
        seen.append(image.shape)
        boxes = np.float32([[0, 0, 10, 10], [20, 10, 40, 30]])
        return [boxes, np.float32([0.2, 0.9]), np.array([0, 1]), np.ones((2, 4, 4), np.float32)]

    found = backend(monkeypatch, tmp_path, run, preprocessing={**PREPROCESSING, 'scale': [80, 60]})
    (one,) = found([np.zeros((30, 40, 3), np.uint8)])
    assert seen == [(1, 60, 80, 3)]
    assert one.labels.tolist() == [1, 0] and one.boxes[0].tolist() == [10, 5, 20, 15]
    assert (one.masks[0].top, one.masks[0].left, one.masks[0].pixels.shape) == (5, 10, (10, 10))


def test_label_maps_and_scores_are_of_the_pictures_size(monkeypatch, tmp_path):
    logits = np.zeros((1, 3, 8, 8), np.float32)
    logits[0, 2, :, 4:] = 1
    facts = dict(task='segmentation', outputs=['logits'], classes=['a', 'b', 'c'], static=[8, 8])
    found = backend(monkeypatch, tmp_path, lambda image: [logits], **facts)
    picture = np.zeros((8, 16, 3), np.uint8)  # 4 x 8 in the program
    (labels,), (scores,) = found([picture]), found([picture], scores=True)
    assert labels.shape == (8, 16) and (labels[:, 9:] == 2).all() and (labels[:, :7] == 0).all()
    assert scores.shape == (3, 8, 16) and (scores.argmax(0) == labels).all()
    facts = {**facts, 'outputs': ['labels'], 'static': None}
    found = backend(monkeypatch, tmp_path, lambda image: [logits.argmax(1).astype(np.uint8)], **facts)
    (labels,), (scores,) = found([picture[:, :8]]), found([picture[:, :8]], scores=True)
    assert (labels[:, 4:] == 2).all() and (scores.argmax(0) == labels).all()


def test_wrong_uses_are_refused(monkeypatch, tmp_path):
    found = backend(monkeypatch, tmp_path, None)
    with pytest.raises(RunError, match='amp'):
        found([np.zeros((4, 4, 3), np.uint8)], amp='bf16')
    with pytest.raises(RunError, match='backbone'):
        backend(monkeypatch, tmp_path, None, task='backbone')
    path = str(tmp_path / 'model.onnx')
    for options in (dict(device='cuda:0'), dict(checkpoint='weights.pth'), dict(cfg_options=['a=1'])):
        with pytest.raises(RunError):
            mmswin.load(path, **options)
    with pytest.raises(RunError, match='does not exist'):
        mmswin.load(str(tmp_path / 'none.xml'))
    with pytest.raises(RunError, match='checkpoint'):
        mmswin.load('mask_rcnn_swin_t_coco')
