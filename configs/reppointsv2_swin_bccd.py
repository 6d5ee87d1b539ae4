# Blood cells by a small RepPoints V2, with the data and the schedule of faster_rcnn_swin_bccd.py.
_base_ = [
    '_base_/models/reppointsv2_swin_t.py',
    '_base_/models/reppointsv2_small.py',
    '_base_/datasets/bccd.py',
    '_base_/schedules/random_weights.py',
]
model = dict(_base_.small, bbox_head=dict(_base_.small.bbox_head, num_classes=3))
randomness = dict(seed=0)
