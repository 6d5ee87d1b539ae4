"""mmdet's own Swin configurations with only the backbone's type changed: same losses, and they train and test."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmswin.data.miniature import MiniatureSettings, make_miniature

SHIPPED = ['mask-rcnn_swin-t-p4-w7_fpn_1x_coco', 'retinanet_swin-t-p4-w7_fpn_1x_coco']
CHANGED = """
_base_ = 'mmdet::swin/{name}.py'
model = dict(backbone=dict(type='mmswin.SwinTransformer', init_cfg=None))
"""


def _sample(height: int, width: int) -> DetDataSample:
    from mmdet.structures.mask import BitmapMasks

    boxes = torch.tensor([[5.0, 8.0, 60.0, 70.0], [40.0, 20.0, 110.0, 90.0]])
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
        mask[top:bottom, left:right] = 1
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            batch_input_shape=(height, width),
            pad_shape=(height, width),
            scale_factor=(1.0, 1.0),
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([1, 7]), masks=BitmapMasks(masks.numpy(), height, width)
    )
    return sample


@pytest.mark.parametrize('name', SHIPPED)
def test_losses_are_mmdets(name: str, tmp_path) -> None:
    (tmp_path / 'changed.py').write_text(CHANGED.format(name=name))
    init_default_scope('mmdet')
    changed = Config.fromfile(tmp_path / 'changed.py').model
    original = Config.fromfile(f'{tmp_path}/changed.py').model
    original.backbone.type = 'SwinTransformer'
    for model in (changed, original):
        model.backbone.drop_path_rate = 0.0
    torch.manual_seed(0)
    theirs, ours = MODELS.build(original), MODELS.build(changed)
    theirs.init_weights()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert type(ours.backbone) is not type(theirs.backbone)
    image = torch.randn(2, 3, 96, 128)
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        out = model.train().loss(image, [_sample(96, 128) for _ in range(2)])
        losses.append(
            {
                key: sum(torch.as_tensor(v).sum() for v in (value if isinstance(value, list) else [value]))
                for key, value in out.items()
            }
        )
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[1].items():
        torch.testing.assert_close(losses[0][key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_config_trains_and_tests(name: str, workplace) -> None:
    make_miniature(
        'COCO',
        workplace.directory / 'data' / 'coco',
        MiniatureSettings(num_train=4, num_val=2, image_size=128, classes=('coco',)),
    )
    config = workplace.directory / 'changed.py'
    config.write_text(CHANGED.format(name=name))
    small = [
        f'{part}.dataset.pipeline.{step}.scale=(160,120)'
        for part, step in (('train_dataloader', 2), ('test_dataloader', 1), ('val_dataloader', 1))
    ]
    trained = workplace.call('train.py', config, '--work-dir', 'run', '--seed', 0,
                             '--cfg-options', 'train_cfg.max_epochs=1', *small, warm=True)  # fmt: skip
    assert trained.status == 0, trained.output
    assert 'loss_cls' in trained.output
    # A detector that has learnt nothing may find nothing above the usual threshold.
    threshold = 'model.test_cfg.score_thr' if 'retinanet' in name else 'model.test_cfg.rcnn.score_thr'
    tested = workplace.call('test.py', config, 'run/epoch_1.pth', '--work-dir', 'tested',
                            '--cfg-options', small[1], f'{threshold}=0.0', warm=True)  # fmt: skip
    assert tested.status == 0, tested.output
    assert 'bbox_mAP' in tested.output
