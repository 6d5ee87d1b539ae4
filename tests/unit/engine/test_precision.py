"""Precision: what --amp does on this hardware, and bfloat16 training on the CPU with boxes in float32."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from mmswin.engine import precision
from mmswin.engine.precision import BFloat16OptimWrapper, keep_boxes_float32, set_precision
from mmswin.errors import RunError


@pytest.fixture
def hardware(monkeypatch):
    """Pretend a kind of machine."""

    def pretend(gpu: bool, bf16: bool = True, capability: tuple[int, int] = (8, 0)) -> None:
        monkeypatch.setattr(precision, 'has_accelerator', lambda: gpu)
        monkeypatch.setattr(precision, 'is_cuda_available', lambda: gpu)
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: bf16)
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Some GPU')
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)

    return pretend


def config(kind: str = 'AmpOptimWrapper', **more) -> Config:
    return Config({'optim_wrapper': {'type': kind, 'optimizer': {'type': 'SGD', 'lr': 0.1}, **more}})


@pytest.mark.parametrize(
    ('gpu', 'bf16', 'amp', 'wrapper', 'said'),
    [
        (False, False, None, 'OptimWrapper', 'float32 (no GPU'),
        (False, False, 'auto', 'mmswin.BFloat16OptimWrapper', 'bfloat16'),
        (False, False, 'bf16', 'mmswin.BFloat16OptimWrapper', 'bfloat16'),
        (True, True, None, 'AmpOptimWrapper', 'float16 autocast, loss scale 512.0'),
        (True, True, 'auto', 'mmswin.BFloat16OptimWrapper', 'bfloat16'),
        (True, False, 'auto', 'AmpOptimWrapper', 'float16 autocast'),
        (True, True, 'fp16', 'AmpOptimWrapper', 'float16 autocast'),
    ],
)
def test_wrapper_fits_hardware_and_wish(hardware, gpu, bf16, amp, wrapper, said):
    hardware(gpu, bf16)
    cfg = config(loss_scale=512.0)
    assert said in set_precision(cfg, amp)
    assert cfg.optim_wrapper.type == wrapper
    assert ('loss_scale' in cfg.optim_wrapper) == (wrapper == 'AmpOptimWrapper')
    assert cfg.optim_wrapper.optimizer.lr == 0.1


def test_what_a_gpu_only_emulates_is_taken_when_it_is_asked_for(hardware):
    """Since torch 2.4 a T4 passes for one with bfloat16, which it computes many times more slowly than float16."""
    hardware(True, capability=(7, 5))
    assert precision.autocast_type('auto') is torch.float16
    assert precision.autocast_type('bf16') is torch.bfloat16


def test_plain_wrapper_stays_plain(hardware):
    hardware(True)
    cfg = config('OptimWrapper')
    assert set_precision(cfg, None) == 'float32'
    assert set_precision(cfg, 'fp16') == 'float16 autocast, loss scale dynamic'


def test_what_the_hardware_cannot_do_is_refused(hardware):
    hardware(False)
    with pytest.raises(RunError, match='--amp fp16 needs a GPU'):
        set_precision(config(), 'fp16')
    hardware(True, bf16=False)
    with pytest.raises(RunError, match='Some GPU has no bfloat16'):
        set_precision(config(), 'bf16')
    hardware(True)
    with pytest.raises(RunError, match='ApexOptimWrapper'):
        set_precision(config('ApexOptimWrapper'), 'bf16')


def test_bfloat16_wrapper_computes_in_bfloat16_and_keeps_float32_weights():
    layer = nn.Linear(4, 4)
    wrapper = BFloat16OptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=0.1))
    before = layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        out = layer(torch.ones(2, 4))
        assert out.dtype is torch.bfloat16
        loss = out.float().sum()
    wrapper.update_params(loss)
    assert layer.weight.dtype is torch.float32
    assert not torch.equal(layer.weight, before)


def test_roi_extractors_get_float32_features_and_exact_boxes():
    """bfloat16 rounds 1001 to 1000: mmdet would cast the boxes to the type of the features."""
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    extractor = SingleRoIExtractor(
        roi_layer={'type': 'RoIAlign', 'output_size': 2, 'sampling_ratio': 0}, out_channels=4, featmap_strides=[4]
    )
    assert keep_boxes_float32(nn.ModuleList([extractor])) == 2  # with its RoIAlign
    ramp = torch.arange(300.0).expand(1, 4, 4, 300).contiguous()
    rois = torch.tensor([[0.0, 1001.0, 0.0, 1009.0, 8.0]])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        pooled = extractor((ramp,), rois)
        assert extractor((ramp.bfloat16(),), rois).dtype is torch.float32
    assert pooled.dtype is torch.float32
    # Centre of the box in feature pixels: 1005 / 4 - 0.5.
    assert pooled.mean().item() == pytest.approx(1005 / 4 - 0.5, abs=1e-3)


def test_proposals_come_from_float32_outputs():
    """mmcv's NMS refuses bfloat16 scores, so a two-stage detector could not train."""
    from mmdet.models.dense_heads import RPNHead

    with DefaultScope.overwrite_default_scope('mmdet'):
        head = RPNHead(
            in_channels=4,
            feat_channels=4,
            anchor_generator={'type': 'AnchorGenerator', 'scales': [2], 'ratios': [1.0], 'strides': [8]},
            train_cfg=Config(
                {
                    'assigner': {'type': 'MaxIoUAssigner', 'pos_iou_thr': 0.7, 'neg_iou_thr': 0.3, 'min_pos_iou': 0.3},
                    'sampler': {'type': 'RandomSampler', 'num': 8, 'pos_fraction': 0.5, 'add_gt_as_proposals': False},
                    'allowed_border': -1,
                    'pos_weight': -1,
                    'debug': False,
                }
            )._cfg_dict,
            test_cfg=Config(
                {'nms_pre': 50, 'max_per_img': 9, 'min_bbox_size': 0, 'nms': {'type': 'nms', 'iou_threshold': 0.7}}
            )._cfg_dict,
        )
    assert keep_boxes_float32(head) == 1
    truth = DetDataSample(metainfo={'img_shape': (64, 64), 'pad_shape': (64, 64), 'batch_input_shape': (64, 64)})
    truth.gt_instances = InstanceData(bboxes=torch.tensor([[8.0, 8.0, 30.0, 30.0]]), labels=torch.tensor([0]))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses, proposals = head.loss_and_predict((torch.randn(1, 4, 8, 8),), [truth], proposal_cfg=head.test_cfg)
    assert proposals[0].bboxes.dtype is torch.float32
    assert all(torch.isfinite(sum(values)) for values in losses.values())
