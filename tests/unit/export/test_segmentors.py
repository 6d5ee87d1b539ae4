"""Segmentors as graphs: mmseg's own logits and labels; what is no such segmentor is refused."""

import pytest
import torch
from mmengine.config import Config
from predictors import segmentation
from torch import nn

from mmswin.engine.preflight import build_model
from mmswin.errors import RunError
from mmswin.export.segmentors import MeanPool, SegmentorGraph


def segmentor(**changes) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(Config(segmentation(**changes)))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return nn.SyncBatchNorm.convert_sync_batchnorm(model).eval()


@pytest.mark.parametrize('output_size', [1, 2, 3, 6, (2, None)])
@pytest.mark.parametrize('size', [(1, 1), (6, 6), (7, 5), (13, 2)])
def test_pooling_by_means_is_torchs(output_size, size):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(MeanPool(output_size)(x), nn.AdaptiveAvgPool2d(output_size)(x))


@pytest.mark.parametrize('divisor', [1, 32])
def test_logits_and_labels_are_mmsegs(divisor):
    from mmengine.model import revert_sync_batchnorm
    from mmseg.structures import SegDataSample

    preprocessor = dict(type='SegDataPreProcessor', test_cfg=dict(size_divisor=divisor) if divisor > 1 else None)
    model = revert_sync_batchnorm(segmentor(data_preprocessor=preprocessor))
    image = torch.randn(3, 45, 70)
    sample = SegDataSample(metainfo=dict(img_shape=(45, 70), ori_shape=(45, 70), pad_shape=(45, 70)))
    with torch.no_grad():
        (theirs,) = model.test_step({'inputs': [image], 'data_samples': [sample]})
        padded = nn.functional.pad(image[None], (0, -70 % divisor, 0, -45 % divisor))
        graphs = [SegmentorGraph(model, labels) for labels in (False, True)]
        (logits,), (labels,) = (graph.heads(graph.features(padded), (45, 70)) for graph in graphs)
    torch.testing.assert_close(logits[0], theirs.seg_logits.data)
    assert torch.equal(labels[0].long(), theirs.pred_sem_seg.data[0].long())
    assert labels.dtype == torch.uint8
    assert any(isinstance(part, nn.AdaptiveAvgPool2d) for part in model.modules())  # the model itself is as it was


def test_a_head_of_one_channel_has_its_threshold_inside():
    from mmengine.model import revert_sync_batchnorm

    head = dict(segmentation()['model']['decode_head'], num_classes=2, out_channels=1, threshold=0.3)
    head['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    model = revert_sync_batchnorm(segmentor(decode_head=head))
    image = torch.randn(1, 3, 40, 60)
    with torch.no_grad():
        probability = model.encode_decode(image, [dict(img_shape=(40, 60))])[0, 0].sigmoid()
        model.decode_head.threshold = float(probability.median())
        (found,) = SegmentorGraph(model, labels=True)(image)
    away = (probability - model.decode_head.threshold).abs() > 1e-5
    assert torch.equal(found[0].bool()[away], (probability > model.decode_head.threshold)[away])
    assert away.float().mean() > 0.9


def test_sliding_windows_and_other_segmentors_are_refused():
    with pytest.raises(RunError, match='slide'):
        SegmentorGraph(segmentor(test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16))))
    model = segmentor()
    type(model.decode_head).predict = lambda *_: None
    try:
        with pytest.raises(RunError, match='UPerHead'):
            SegmentorGraph(model)
    finally:
        del type(model.decode_head).predict
    with pytest.raises(RunError, match='Sequential'):
        SegmentorGraph(nn.Sequential())
