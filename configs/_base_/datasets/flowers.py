# Five kinds of flowers (TensorFlow's photographs, a tenth of them held out) as class folders at 64 x 64 pixels.
_base_ = './cifar100.py'

data_root = '{{$MMSWIN_DATA_DIR:data/flower_photos}}'
preprocessor = dict(mean=[119.0, 108.6, 78.5], std=[73.4, 66.2, 72.0], num_classes=5)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.25, 1.0), interpolation='area'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=72, edge='short', interpolation='area'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root, data_prefix='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
