# ADE20K, the 150 classes of its scene parsing benchmark, in the official layout under data/ade/ADEChallengeData2016
# (or under the directory that the environment variable MMSWIN_ADE_DIR names). The data set class leaves out label 0,
# "not labelled" (reduce_zero_label).
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
# A test has to answer for every image; mmcv's loader skips none, and mmseg's inferencers look for it by name. Label maps
# keep their size.
load_every_image = dict(type='LoadImageFromFile')
test_pipeline = [
    load_every_image,
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
# Multi-scale and flip, as in the paper: multiples of the training scale (mmsegmentation's own multiply the image's).
tta_ratios = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
tta_pipeline = [
    load_every_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=tuple(int(side * ratio) for side in scale), keep_ratio=True)
                for ratio in tta_ratios
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

dataset = dict(type='ADE20KDataset', data_root=data_root)
training = dict(img_path='images/training', seg_map_path='annotations/training')
validation = dict(img_path='images/validation', seg_map_path='annotations/validation')
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(dataset, data_prefix=training, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, data_prefix=validation, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
