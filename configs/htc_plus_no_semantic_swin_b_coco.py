# HTC++ on Swin-B without its semantic branch, for data without COCO-stuff's label maps: not the paper's model.
_base_ = [
    '_base_/models/htc_plus_swin_b.py',
    '_base_/datasets/coco_instance_instaboost.py',
    '_base_/schedules/adamw_6x.py',
    '_base_/runtime.py',
]

model = dict(data_preprocessor=dict(pad_seg=False), roi_head=dict(semantic_roi_extractor=None, semantic_head=None))
