# HTC++ on Swin-L, 6x: box AP 57.1, mask AP 49.5 in the paper, 58.0 and 50.4 at several scales (--tta). It takes COCO-stuff's
# label maps besides. _base_/models/htc_plus_swin_b.py says what is inferred.
_base_ = [
    '_base_/models/htc_plus_swin_l.py',
    '_base_/datasets/coco_instance_stuff_instaboost.py',
    '_base_/schedules/adamw_6x.py',
    '_base_/runtime.py',
]
