# HTC++ on Swin-B, 6x: box AP 56.4, mask AP 49.1 in the paper. It takes COCO-stuff's label maps besides.
# _base_/models/htc_plus_swin_b.py says what is inferred.
_base_ = [
    '_base_/models/htc_plus_swin_b.py',
    '_base_/datasets/coco_instance_stuff_instaboost.py',
    '_base_/schedules/adamw_6x.py',
    '_base_/runtime.py',
]
