# ADE20K, the 150 classes of its scene parsing benchmark, in the official layout under data/ade/ADEChallengeData2016
# (or under the directory that the environment variable MMSWIN_ADE_DIR names). The data set class leaves out label 0,
# "not labelled" (reduce_zero_label).
_base_ = 'mmseg::_base_/datasets/ade20k.py'

data_root = '{{$MMSWIN_ADE_DIR:data/ade/ADEChallengeData2016}}'
crop_size = (512, 512)
scale = (2048, 512)
train_pipeline = [
    dict(type='mmswin.LoadImageFromFile', max_bad_fraction=0.01),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
# A test has to answer for every image, so there no image may be skipped. Label maps keep their size.
load_every_image = dict(type='mmswin.LoadImageFromFile', max_bad_fraction=0.0)
test_pipeline = [
    load_every_image,
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
# Multi-scale and flip, as in the paper: multiples of the training scale (mmsegmentation's own multiply the image's).
tta_pipeline = [
    load_every_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=tuple(int(side * ratio) for side in scale), keep_ratio=True)
                for ratio in _base_.img_ratios
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ]),
]

train_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
