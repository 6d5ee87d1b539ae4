"""Merging of masks over views: exact where it must be (one view, a mirrored view, the same view twice), and honest
about what it cannot merge. Tiny Mask R-CNN, Cascade Mask R-CNN and HTC with random weights, which find boxes everywhere.
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from models import htc

from mmswin.detectors import InstanceTTAModel
from mmswin.detectors.instance_tta import masks_can_be_merged, to_original, to_view

pytestmark = pytest.mark.usefixtures('mmdet_scope')

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
RULE = {'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 12}
SOFT = {**RULE, 'nms': {'type': 'soft_nms', 'iou_threshold': 0.3, 'min_score': 0.01}}


def _config(kind: str) -> ConfigDict:
    if kind.startswith('htc'):
        cfg = ConfigDict(htc(num_classes=5, semantic=kind == 'htc_semantic'))
        cfg.test_cfg.rcnn.update(max_per_img=12, nms={'type': 'nms', 'iou_threshold': 0.5}, score_thr=0.05)
        return cfg
    cfg = Config.fromfile(CONFIGS / 'demo_cascade_mask_rcnn_swin_t_miniature.py').model
    cfg.backbone.update(embed_dims=12, arch=None, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6), window_size=4)
    cfg.neck.in_channels = [12, 24, 48, 96]
    cfg.test_cfg.rcnn.update(max_per_img=12, nms={'type': 'nms', 'iou_threshold': 0.5})
    if kind != 'cascade':
        head = cfg.roi_head
        head.update(type='StandardRoIHead', bbox_head=head.bbox_head[0])
        head.pop('num_stages'), head.pop('stage_loss_weights')
        cfg.type, cfg.train_cfg.rcnn = 'MaskRCNN', cfg.train_cfg.rcnn[0]
        head.mask_head.class_agnostic = kind == 'agnostic'
    return cfg


@pytest.fixture(scope='module', params=['standard', 'agnostic', 'cascade', 'htc', 'htc_semantic'])
def detector(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(_config(request.param)).eval()
        model.init_weights()
    for name, parameter in model.named_parameters():
        if any(
            part in name for part in ('mask_head', 'semantic_head', 'fc_')
        ):  # masks with edges, boxes and scores that differ
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def _image(height: int = 56, width: int = 80, seed: int = 0) -> torch.Tensor:
    blocks = np.random.default_rng(seed).integers(0, 256, (3, -(-height // 8), -(-width // 8)), dtype=np.uint8)
    return torch.from_numpy(blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width].copy())


def _sample(image: torch.Tensor, original: tuple[int, int] | None = None, flip: str | None = None) -> ConfigDict:
    from mmdet.structures import DetDataSample

    height, width = image.shape[1:]
    original = original or (height, width)
    return DetDataSample(
        metainfo={
            'img_id': 1,
            'img_path': 'x.jpg',
            'ori_shape': original,
            'img_shape': (height, width),
            'scale_factor': (width / original[1], height / original[0]),
            'flip': flip is not None,
            'flip_direction': flip,
        }
    )


def _plain(model: torch.nn.Module, image: torch.Tensor, **kwargs) -> InstanceData:
    with torch.no_grad():
        return model.test_step({'inputs': [image], 'data_samples': [_sample(image, **kwargs)]})[0].pred_instances


def _merged(model: torch.nn.Module, *views: tuple[torch.Tensor, dict], rule: dict = RULE) -> InstanceData:
    data = {
        'inputs': [[image] for image, _ in views],
        'data_samples': [[_sample(image, **kwargs)] for image, kwargs in views],
    }
    with torch.no_grad():
        return InstanceTTAModel(rule, module=model).test_step(data)[0].pred_instances


def test_soft_nms_sees_the_boxes_of_all_views_once(detector: torch.nn.Module) -> None:
    """Decayed in each view and then again, scores would be lower than those of one view alone."""
    model, image = copy.deepcopy(detector), _image()
    model.roi_head.test_cfg.update(SOFT)
    _assert_same(_merged(model, (image, {}), rule=SOFT), _plain(model, image))


def _assert_same(found: InstanceData, wanted: InstanceData, mask_pixels: float = 1.0) -> None:
    assert len(found) == len(wanted) > 3
    torch.testing.assert_close(found.scores, wanted.scores, rtol=0, atol=1e-5)
    assert found.labels.tolist() == wanted.labels.tolist()
    torch.testing.assert_close(found.bboxes, wanted.bboxes, rtol=0, atol=1e-3)
    assert found.masks.shape == wanted.masks.shape and found.masks.dtype == torch.bool
    assert found.masks.any() and not found.masks.all()
    assert (found.masks == wanted.masks).float().mean() >= mask_pixels


def _mirror(result: InstanceData, width: int) -> InstanceData:
    boxes = result.bboxes.clone()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return InstanceData(bboxes=boxes, scores=result.scores, labels=result.labels, masks=result.masks.flip(-1))


def test_one_view_gives_the_plain_result(detector: torch.nn.Module) -> None:
    image = _image()
    _assert_same(_merged(detector, (image, {})), _plain(detector, image))


def test_one_scaled_view_gives_the_plain_result_in_the_original_image(detector: torch.nn.Module) -> None:
    image, original = _image(), (41, 63)
    wanted = _plain(detector, image, original=original)
    assert wanted.masks.shape[1:] == original
    _assert_same(_merged(detector, (image, {'original': original})), wanted, 0.999)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_a_mirrored_view_is_mirrored_back(detector: torch.nn.Module, direction: str) -> None:
    image = _image()
    axes = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}[direction]
    mirrored = image.flip(axes)
    wanted = _plain(detector, mirrored)
    for axis, (low, high), size in ((-1, (0, 2), 80), (-2, (1, 3), 56)):
        if axis in axes:
            wanted.bboxes[:, [low, high]] = size - wanted.bboxes[:, [high, low]]
            wanted.masks = wanted.masks.flip(axis)
    _assert_same(_merged(detector, (mirrored, {'flip': direction})), wanted, 0.999)


def test_a_mirrored_image_gives_mirrored_results(detector: torch.nn.Module) -> None:
    image = _image()
    mirrored = image.flip(-1)
    both = _merged(detector, (image, {}), (mirrored, {'flip': 'horizontal'}))
    again = _merged(detector, (mirrored, {}), (image, {'flip': 'horizontal'}))
    _assert_same(again, _mirror(both, 80), 0.999)
    # and the second view has a say
    alone = _plain(detector, image)
    assert len(alone) != len(both) or not torch.equal(alone.masks, both.masks)


def test_the_same_view_twice_changes_nothing(detector: torch.nn.Module) -> None:
    image = _image()
    _assert_same(_merged(detector, (image, {}), (image, {})), _plain(detector, image))


def test_masks_are_the_mean_of_the_views(detector: torch.nn.Module) -> None:
    """A mask head that says 0.8 in one view and 0.1 in the other: together 0.45, below the threshold."""
    image = _image()
    model = copy.deepcopy(detector)
    says = iter([0.8, 0.1, 0.8, 0.3])

    def forward(*args, **kwargs) -> dict:
        rois = args[-1]
        if forward.left == 0:
            forward.value, forward.left = next(says), forward.stages
        forward.left -= 1
        head = model.roi_head.mask_head
        last = head[-1] if isinstance(head, torch.nn.ModuleList) else head
        classes = 1 if last.class_agnostic else last.num_classes
        logit = float(np.log(forward.value / (1 - forward.value)))
        logits = torch.full((len(rois), classes, 14, 14), logit)
        return {'mask_preds': [logits] if kwargs else logits}

    head = model.roi_head.mask_head
    cascade = type(model.roi_head).__name__ == 'CascadeRoIHead'
    forward.left, forward.stages = 0, len(head) if cascade else 1
    model.roi_head._mask_forward = forward
    assert not _merged(model, (image, {}), (image, {})).masks.any()  # 0.45
    assert _merged(model, (image, {}), (image, {})).masks.any()  # 0.55


def test_an_image_without_boxes_among_others(detector: torch.nn.Module) -> None:
    model = copy.deepcopy(detector)
    images = [_image(), _image(48, 64, seed=3)]
    alone = [_merged(model, (image, {}), (image.flip(-1), {'flip': 'horizontal'})) for image in images]
    data = {
        'inputs': [images, [image.flip(-1) for image in images]],
        'data_samples': [[_sample(image) for image in images], [_sample(image, flip='horizontal') for image in images]],
    }
    with torch.no_grad():
        # Padding to the larger image may change what the network sees, so the boxes are those of this very batch.
        together = InstanceTTAModel(RULE, module=model).test_step(copy.deepcopy(data))
        assert [len(sample.pred_instances.masks) for sample in together] == [len(s.pred_instances) for s in together]
        assert together[1].pred_instances.masks.shape[1:] == (48, 64)
        _assert_same(together[0].pred_instances, alone[0], 0.999)
        model.roi_head.test_cfg.score_thr = 2.0
        nothing = InstanceTTAModel(RULE, module=model).test_step(data)
    for sample, image in zip(nothing, images, strict=True):
        assert len(sample.pred_instances) == 0
        assert sample.pred_instances.masks.shape == (0, *image.shape[1:])


def test_at_most_so_many_instances(detector: torch.nn.Module) -> None:
    found = _merged(detector, (_image(), {}), rule={**RULE, 'max_per_img': 4})
    assert len(found) == len(found.masks) == 4


def test_at_most_so_many_boxes(detector: torch.nn.Module) -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 20, 29, 29], [40, 40, 49, 49]])
    found = InstanceData(bboxes=boxes, scores=torch.tensor([0.9, 0.8, 0.7]), labels=torch.tensor([0, 1, 0]))
    for most, left in ((2, 2), (-1, 3)):
        merged = InstanceTTAModel({**RULE, 'max_per_img': most}, module=detector)._merge_boxes([found])
        assert torch.equal(merged.bboxes, boxes[:left])


def test_boxes_go_there_and_back() -> None:
    boxes = torch.tensor([[1.0, 2.0, 11.0, 9.0]])
    meta = {'img_shape': (60, 90), 'scale_factor': (1.5, 2.0), 'flip': True, 'flip_direction': 'horizontal'}
    assert to_view(boxes, meta).tolist() == [[90 - 16.5, 4.0, 90 - 1.5, 18.0]]
    torch.testing.assert_close(to_original(to_view(boxes, meta), meta), boxes)


def _found(boxes: list, flip: bool) -> ConfigDict:
    sample = _sample(torch.zeros(3, 20, 40), flip='horizontal' if flip else None)
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor([0.9, 0.5][: len(boxes)]),
        labels=torch.zeros(len(boxes), dtype=torch.long),
    )
    return sample


def test_boxes_alone_are_merged_and_may_be_none() -> None:
    """mmdet's own class returns a list of tuples for an image without boxes, at which the test stops."""

    class Boxes(torch.nn.Module):
        with_mask = False

        def test_step(self, data: dict) -> list:
            return data['found']

    model = InstanceTTAModel(RULE, module=Boxes())
    box, apart = [1.0, 2.0, 11.0, 9.0], [30.0, 2.0, 38.0, 9.0]
    mirrored = [40 - 11.0, 2.0, 40 - 1.0, 9.0]
    data = {'found': [[_found([box, apart], False), _found([], False)], [_found([mirrored], True), _found([], True)]]}
    first, second = model.test_step(data)
    assert first.pred_instances.bboxes.tolist() == [box, apart]
    assert len(second.pred_instances) == 0 and second.pred_instances.bboxes.shape == (0, 4)


def test_other_ways_to_predict_masks_are_refused() -> None:
    from mmdet.models import (
        CascadeRCNN,
        CascadeRoIHead,
        DoubleHeadRoIHead,
        HybridTaskCascade,
        HybridTaskCascadeRoIHead,
        MaskRCNN,
        MaskScoringRCNN,
        MaskScoringRoIHead,
        PointRendRoIHead,
        RetinaNet,
        SCNet,
        SCNetRoIHead,
        StandardRoIHead,
    )

    for detector, head in (
        (MaskRCNN, StandardRoIHead),
        (CascadeRCNN, CascadeRoIHead),
        (MaskRCNN, DoubleHeadRoIHead),
        (HybridTaskCascade, HybridTaskCascadeRoIHead),
    ):
        assert masks_can_be_merged(detector, head)
    for detector, head in (
        (SCNet, SCNetRoIHead),
        (MaskScoringRCNN, MaskScoringRoIHead),
        (MaskRCNN, PointRendRoIHead),
        (RetinaNet, StandardRoIHead),
    ):
        assert not masks_can_be_merged(detector, head)

    class Other(torch.nn.Module):
        with_mask = True

        def test_step(self, data: dict) -> list:
            return []

    with pytest.raises(ValueError, match='this Other has Other'):
        InstanceTTAModel(RULE, module=Other())
