"""Whole detectors as programs give the boxes, scores, labels and masks of mmdet's own predict.

Networks are tiny and random, with weights so large that scores differ; how many objects they find is a matter of the
threshold and of the picture.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import predictors
import pytest
import torch
from mmengine.config import Config, ConfigDict
from scipy.optimize import linear_sum_assignment
from torch import Tensor

pytest.importorskip('mmcv.ops')
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402

from mmswin.engine.preflight import build_model  # noqa: E402
from mmswin.errors import RunError  # noqa: E402
from mmswin.export import onnx_file  # noqa: E402
from mmswin.export.detectors import graph_of  # noqa: E402
from mmswin.export.program import record  # noqa: E402

ANCHORS = dict(type='AnchorGenerator', ratios=[0.5, 1.0], octave_base_scale=3, scales_per_octave=2, strides=[8, 16, 32])


def config(kind: str) -> dict[str, Any]:
    """The model of a configuration: faster, mask, cascade (with class-wise boxes) or cascade_mask; retinanet or atss."""
    if kind in ('retinanet', 'atss'):
        model = models.retinanet()
        model['bbox_head']['anchor_generator'] = dict(ANCHORS)
        model['test_cfg'] |= dict(nms_pre=200, max_per_img=100)
        if kind == 'atss':
            model['type'], head = 'ATSS', model['bbox_head']
            head['type'] = 'ATSSHead'
            head['anchor_generator'] = dict(ANCHORS, ratios=[1.0], scales_per_octave=1)
            head['norm_cfg'] = dict(type='GN', num_groups=4)
            head['loss_centerness'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
        return model
    model = predictors.mask_rcnn()['model']
    model['test_cfg']['rpn'] |= dict(nms_pre=400, max_per_img=300)
    model['test_cfg']['rcnn'] |= dict(max_per_img=100)
    heads = model['roi_head']
    if 'cascade' in kind:
        extractors = {name: [heads[name]] * 2 for name in ('bbox_roi_extractor', 'mask_roi_extractor')}
        boxes = dict(heads['bbox_head'], reg_class_agnostic=kind == 'cascade_mask')
        mask = dict(heads['mask_head'], class_agnostic=True)
        heads |= extractors | dict(
            type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 1], bbox_head=[boxes] * 2, mask_head=[mask] * 2
        )
    if 'mask' not in kind:
        heads['mask_head'] = heads['mask_roi_extractor'] = None
    return model


def build(kind: str, **changes: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    model = build_model(Config(dict(default_scope='mmdet', model=config(kind) | changes))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                gain = (
                    4.0
                    if name.endswith(('fc_cls.weight', 'conv_logits.weight'))
                    else 0.3
                    if name.endswith('fc_reg.weight')
                    else 1.0
                )
                torch.nn.init.normal_(parameter, std=gain * parameter[0].numel() ** -0.5)
    return model


def pictures() -> list[Tensor]:
    """Of several sizes, and from rich to blank."""
    torch.manual_seed(2)
    sides = [(64, 96), (50, 70), (96, 64), (33, 47)]
    noise = [torch.nn.functional.interpolate(torch.randn(1, 3, 8, 12), side, mode='bilinear') for side in sides]
    return [image * contrast for contrast in (2.0, 0.5, 0.1, 0.0) for image in noise]


def predict(model: torch.nn.Module, image: Tensor, size: tuple[int, int] | None = None) -> Any:
    size = size or image.shape[2:]
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
    with torch.no_grad():
        return model.predict(image, [sample])[0].pred_instances


def set_threshold(model: torch.nn.Module, value: float) -> None:
    head = model.roi_head if hasattr(model, 'roi_head') else model.bbox_head
    head.test_cfg.score_thr = value


def assert_same(found: tuple[Any, ...], expected: Any) -> None:
    """Each object is one of mmdet's, within the bounds; two of nearly one score may stand the other way round."""
    boxes, scores, labels, *masks = (torch.as_tensor(np.asarray(column)) for column in found)
    assert len(boxes) == len(expected) and labels.dtype == torch.int64
    assert (scores[1:] <= scores[:-1]).all()
    mine, theirs = (
        torch.cat([columns[0], 1000 * columns[1][:, None], 1000.0 * columns[2][:, None]], 1)
        for columns in ((boxes, scores, labels), (expected.bboxes, expected.scores, expected.labels))
    )
    order = torch.as_tensor(linear_sum_assignment(torch.cdist(mine, theirs, p=1))[1])
    torch.testing.assert_close(scores, expected.scores[order], atol=1e-4, rtol=0)
    torch.testing.assert_close(boxes, expected.bboxes[order], atol=1e-2, rtol=0)
    assert torch.equal(labels, expected.labels[order])
    if not masks:
        assert 'masks' not in expected
        return
    assert masks[0].shape == (len(boxes), 14, 14)
    for mask, box, truth in zip(masks[0], boxes, expected.masks[order]):
        pasted, place = _do_paste_mask(mask[None, None], box[None], *truth.shape)
        whole = torch.zeros_like(truth)
        whole[place] = pasted[0] >= 0.5
        assert (whole != truth).float().mean() < 0.01


KINDS = ['faster', 'mask', 'cascade', 'cascade_mask', 'retinanet', 'atss']


def threshold_of_one(model: torch.nn.Module, image: Tensor) -> float:
    """About the highest score threshold that leaves a detection."""
    low, high = 0.0, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        set_threshold(model, middle)
        low, high = (middle, high) if len(predict(model, image)) else (low, middle)
    return low


@pytest.mark.parametrize('kind', KINDS)
def test_programs_find_what_mmdet_finds(kind):
    model = build(kind)
    image = pictures()[3 if kind == 'cascade_mask' else 0]
    everything = predict(model, image)
    assert len(everything) == 100 and len(everything.labels.unique()) == 2
    for threshold, count in [(0.0, 100), (threshold_of_one(model, image), 1), (1.0, 0)]:
        set_threshold(model, threshold)
        graph = graph_of(model)
        assert graph.facts['score_threshold'] == threshold
        with torch.no_grad():
            found = graph(image)
        assert len(found) == len(graph.output_names) and len(found[0]) == count
        assert_same(found, predict(model, image))


class Convolutions(torch.nn.Module):
    """Maps of few operators, without the first ``skip`` of four: backbones are exported in tests of their own."""

    def __init__(self, skip: int = 0) -> None:
        super().__init__()
        sizes = [(3, 8, 4), (8, 16, 2), (16, 32, 2), (32, 64, 2)]
        self.steps = torch.nn.ModuleList(torch.nn.Conv2d(into, out, step, step) for into, out, step in sizes)
        self.skip = skip

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x := step(x) for step in self.steps][self.skip :]


def runners(model: torch.nn.Module, file: Path) -> list[Callable[[Tensor], tuple[Any, ...]]]:
    """The model as a file, in ONNX Runtime and in OpenVINO."""
    import onnxruntime
    import openvino

    graph = graph_of(model)
    program = record(graph, torch.zeros(1, 3, 72, 88), graph.dynamic)
    onnx_file.write_onnx(program, graph, graph.output_names, graph.dynamic, file)
    assert {node.domain for node in onnx_file.read(file).graph.node} == {''}  # of ONNX itself
    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    compiled = openvino.compile_model(openvino.convert_model(str(file)), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})

    def run(image: Tensor) -> tuple[Any, ...]:
        found = compiled(image.numpy())
        return tuple(found[output] for output in compiled.outputs)

    return [lambda image: session.run(None, {'image': image.numpy()}), run]


def test_one_file_finds_none_one_and_a_hundred_in_pictures_of_other_sizes(libraries, tmp_path):
    model = build('mask')
    torch.manual_seed(0)
    model.backbone = Convolutions()
    set_threshold(model, 0.5)
    torch.manual_seed(5)
    rich = torch.nn.functional.interpolate(torch.randn(1, 3, 24, 36), (160, 224), mode='bilinear') * 4
    by_count = {len(predict(model, image)): image for image in [rich, *pictures()[8:]]}
    for run in runners(model, tmp_path / 'model.onnx'):
        for count in (0, 1, 100):
            assert_same(run(by_count[count]), predict(model, by_count[count]))


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['cascade', 'cascade_mask', 'retinanet', 'atss'])
def test_files_find_what_mmdet_finds(kind, libraries, tmp_path):
    model = build(kind)
    torch.manual_seed(0)
    model.backbone = Convolutions(skip=0 if 'cascade' in kind else 1)
    images = [image for image in pictures() if image.any()][:3]
    numbers = [len(predict(model, image)) for image in images]
    assert max(numbers) == 100
    for run in runners(model, tmp_path / 'model.onnx'):
        for image in images:
            assert_same(run(image), predict(model, image))


def test_boxes_are_clipped_to_the_picture_before_padding():
    model, (height, width) = build('mask'), (50, 70)
    image = torch.nn.functional.pad(pictures()[1], (0, 96 - width, 0, 64 - height))
    graph = graph_of(model)
    with torch.no_grad():
        found = graph.heads(graph.features(image), (height, width))
    assert_same(found, predict(model, image, (height, width)))
    assert found[0][:, 2].max() == width and found[0][:, 3].max() == height


@pytest.mark.parametrize(
    'part, method',
    [
        ('', 'predict'),
        ('rpn_head', '_bbox_post_process'),
        ('roi_head', '_mask_forward'),
        ('roi_head.bbox_roi_extractor', 'forward'),
        ('roi_head.bbox_head', 'regress_by_class'),
        ('roi_head.mask_head', '_predict_by_feat_single'),
    ],
)
def test_parts_that_predict_in_their_own_way_are_refused(part, method):
    model = build('mask')
    module = model.get_submodule(part)
    module.__class__ = type('Own', (type(module),), {method: lambda self: None})
    with pytest.raises(RunError, match='Own'):
        graph_of(model)


@pytest.mark.parametrize(
    'part, name, value, words',
    [
        ('roi_head', 'test_cfg', dict(max_per_img=9, nms=dict(type='soft_nms', iou_threshold=0.5)), 'soft_nms'),
        ('rpn_head', 'test_cfg', dict(max_per_img=-1, nms=dict(type='nms', iou_threshold=0.5)), 'max_per_img=-1'),
        ('rpn_head', 'prior_generator', object(), 'AnchorGenerator'),
        ('roi_head.bbox_head', 'bbox_coder', object(), 'DeltaXYWHBBoxCoder'),
        ('roi_head.bbox_head', 'with_reg', False, 'refine'),
        ('roi_head.bbox_roi_extractor.roi_layers.0', 'pool_mode', 'max', 'RoIAlign'),
    ],
)
def test_what_onnx_cannot_say_is_refused(part, name, value, words):
    model = build('mask')
    setattr(model.get_submodule(part), name, ConfigDict(value) if isinstance(value, dict) else value)
    with pytest.raises(RunError, match=words):
        graph_of(model)


def test_other_networks_are_refused():
    config = Config(dict(default_scope='mmdet', model=models.reppointsv2()))
    for model in (build_model(config), torch.nn.Linear(1, 1)):
        with pytest.raises(RunError, match='RepPointsV2Head|Linear'):
            graph_of(model)
