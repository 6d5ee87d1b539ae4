"""Fine-tuning with data of one's own through tools/train.py, from a checkpoint with other classes."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'faster_rcnn_swin_t_finetune.py'
SMALL = """
_base_ = '{config}'
backbone = dict(arch=None, embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6), window_size=4)
model = dict(backbone=backbone, neck=dict(in_channels=[12, 24, 48, 96]),
             test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(max_per_img=5)))
resize = dict(type='Resize', scale=(64, 64), keep_ratio=True)
classes = ('square', 'bar')
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    metainfo=dict(classes=classes), pipeline=[resize if step.type == 'RandomChoice' else step for step in _base_.train_pipeline]))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    metainfo=dict(classes=classes), pipeline=[resize if step.type == 'Resize' else step for step in _base_.test_pipeline]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
"""


def test_ones_own_data_and_a_checkpoint_with_other_classes(workplace) -> None:
    config = workplace.directory / 'small.py'
    config.write_text(SMALL.format(config=CONFIG))
    model = Config.fromfile(config).model
    model.roi_head.bbox_head.num_classes = 80
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.save({'state_dict': MODELS.build(model).state_dict()}, workplace.directory / 'coco.pth')
    done = workplace.call(
        'train.py', config, '--work-dir', 'w', '--load-from', 'coco.pth', warm=True, MMSWIN_DATA_DIR=str(workplace.data)
    )
    assert done.status == 0, done.output
    # Data, the rate for two images, layers of the classes, the decay of the rate towards the image, and an evaluation.
    for text in ('2 classes', '1.25e-05', 'roi_head.bbox_head.fc_cls.weight', 'decay 0.8', 'coco/bbox_mAP'):
        assert text in done.output, text
