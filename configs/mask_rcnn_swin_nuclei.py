# Nuclei and their outlines from random weights on a CPU: a small Mask R-CNN, the example of docs/tutorial-masks.md.
_base_ = ['_base_/models/mask_rcnn_swin_small.py', '_base_/datasets/nuclei.py', '_base_/schedules/random_weights.py']
heads = dict(num_classes=1)
model = dict(
    backbone=dict(drop_path_rate=0.1, with_cp=False),
    roi_head=dict(bbox_head=heads, mask_head=heads),
    test_cfg=dict(rcnn=dict(max_per_img=200)),
)
train_cfg = dict(max_epochs=30)
param_scheduler = [_base_.warm_up, dict(_base_.decay, T_max=30)]
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
randomness = dict(seed=0)
