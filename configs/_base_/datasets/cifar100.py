# CIFAR-100 as class folders of PNG files, train/apple/*.png to test/worm/*.png (docs/classify.md makes them of the official
# files). Random crops of 32 pixels out of 40, flips, and one operation of RandAugment.
data_root = '{{$MMSWIN_CIFAR100_DIR:data/cifar100}}'
preprocessor = dict(mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418], to_rgb=True, num_classes=100)
pad = [112, 124, 129]  # the mean, BGR
rand_augment = dict(
    type='RandAugment',
    policies='timm_increasing',
    num_policies=1,
    total_level=10,
    magnitude_level=5,
    magnitude_std=0.5,
    hparams=dict(pad_val=pad, interpolation='bicubic'),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    rand_augment,
    dict(type='PackInputs'),
]
# Pictures of another size are for prediction.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), interpolation='area'),
    dict(type='PackInputs'),
]
loader = dict(batch_size=128, num_workers=1, persistent_workers=True)
train_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='test', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
