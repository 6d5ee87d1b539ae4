# Blood cells from random weights on a CPU: a small Faster R-CNN, the example of docs/tutorial-boxes.md.
_base_ = ['_base_/models/mask_rcnn_swin_small.py', '_base_/datasets/bccd.py', '_base_/schedules/random_weights.py']
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    backbone=dict(drop_path_rate=0.1, with_cp=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None, bbox_head=dict(num_classes=3)),
)
randomness = dict(seed=0)
