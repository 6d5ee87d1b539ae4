# Blood cells (BCCD): 364 microscope images of 640 x 480, boxes of three classes, as docs/tutorial-boxes.md lays them out.
# Trained at half the size and somewhat more, tested at five eighths.
data_root = '{{$MMSWIN_BCCD_DIR:data/bccd}}/'
metainfo = dict(classes=('RBC', 'WBC', 'Platelets'), palette=[(220, 40, 60), (60, 60, 200), (20, 160, 60)])
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
load = dict(type='LoadImageFromFile')
truth = dict(type='LoadAnnotations', with_bbox=True)
sizes = [(width, width * 3 // 4) for width in range(320, 513, 32)]
train_pipeline = [
    load,
    truth,
    dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True),
    dict(type='RandomCrop', crop_size=(240, 320)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2)),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=16,
        contrast_range=(0.8, 1.2),
        saturation_range=(0.8, 1.2),
        hue_delta=6,
    ),
    dict(type='PackDetInputs'),
]
test_size = dict(type='Resize', scale=(400, 300), keep_ratio=True)
test_pipeline = [load, test_size, truth, dict(type='PackDetInputs', meta_keys=keys)]
data = dict(type='CocoDataset', data_root=data_root, metainfo=metainfo)
val = dict(**data, ann_file='annotations/val.json', data_prefix=dict(img='val/'), test_mode=True)
loader = dict(num_workers=1, persistent_workers=True)
train_dataloader = dict(
    batch_size=4,
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**data, ann_file='annotations/train.json', data_prefix=dict(img='train/'), pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**val, pipeline=test_pipeline),
)
test = dict(val, ann_file='annotations/test.json', data_prefix=dict(img='test/'))
test_dataloader = dict(val_dataloader, dataset=dict(test, pipeline=test_pipeline))
val_evaluator = dict(type='CocoMetric', metric='bbox', ann_file=data_root + val['ann_file'])
test_evaluator = dict(val_evaluator, ann_file=data_root + test['ann_file'])
