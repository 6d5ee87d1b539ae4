# ImageNet-1K as class folders (train/n01440764/*.JPEG, val/n01440764/*.JPEG) at 224 x 224: random resized crops, flips,
# RandAugment and random erasing; for tests the middle of a picture whose short side is 256.
data_root = '{{$MMSWIN_IMAGENET_DIR:data/imagenet}}'
mean, std = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]  # BGR
bicubic = dict(backend='pillow', interpolation='bicubic')
augmentations = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[round(value) for value in mean], interpolation='bicubic'),
    ),
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=mean,
        fill_std=std,
    ),
    dict(type='PackInputs'),
]
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=224, **bicubic), *augmentations]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', **bicubic),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
loader = dict(batch_size=128, num_workers=8, persistent_workers=True)  # of 8 GPUs
train_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ImageNet', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageNet', data_root=data_root, split='val', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
