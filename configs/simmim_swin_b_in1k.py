# SimMIM of Swin-B, windows of 6, 192x192, 100 epochs. As many epochs of fine-tuning give top-1 82.7 (mmpretrain).
_base_ = [
    '_base_/models/simmim_swin_b.py',
    '_base_/datasets/imagenet_masked.py',
    '_base_/runtime_pretraining.py',
    '_base_/schedules/adamw_pretraining.py',
]
