# mmdetection's runtime, with the last few checkpoints and the best one kept, and this package's hooks.
_base_ = ['mmdet::_base_/default_runtime.py', './hooks.py']

default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3, save_best='coco/bbox_mAP', rule='greater'))
