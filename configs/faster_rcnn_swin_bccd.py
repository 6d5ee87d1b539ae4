# Blood cells from random weights on a CPU: a small Faster R-CNN, the example of docs/tutorial-boxes.md.
_base_ = [
    '_base_/models/mask_rcnn_swin_small.py',
    '_base_/datasets/bccd.py',
    '_base_/schedules/random_weights.py',
    '_base_/runtime.py',
]
epochs = 60
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    backbone=dict(drop_path_rate=0.1, with_cp=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None, bbox_head=dict(num_classes=3)),
)
train_cfg = dict(max_epochs=epochs, val_interval=10)
param_scheduler = [_base_.warm_up, dict(_base_.decay, T_max=epochs)]
default_hooks = dict(checkpoint=dict(interval=10), logger=dict(interval=10))
randomness = dict(seed=0)
