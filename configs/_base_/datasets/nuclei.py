# Nuclei of the 2018 Data Science Bowl: its fluorescence images of 256 x 256, with masks, as docs/tutorial-masks.md lays them
# out. Half of the nuclei are less than 13 pixels wide, so they are shown at twice their size, and so tested.
data_root = '{{$MMSWIN_NUCLEI_DIR:data/nuclei}}/'
metainfo = dict(classes=('nucleus',), palette=[(240, 160, 40)])
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
load = dict(type='LoadImageFromFile')
truth = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
train_pipeline = [
    load,
    truth,
    dict(type='RandomChoiceResize', scales=[(side, side) for side in range(416, 641, 32)], keep_ratio=True),
    dict(type='RandomCrop', crop_size=(256, 256)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(2, 2)),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    load,
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    truth,
    dict(type='PackDetInputs', meta_keys=keys),
]
data = dict(type='CocoDataset', data_root=data_root, metainfo=metainfo)
train = dict(ann_file='annotations/train_256.json', data_prefix=dict(img='train/'), pipeline=train_pipeline)
val = dict(ann_file='annotations/val_256.json', data_prefix=dict(img='val/'), pipeline=test_pipeline, test_mode=True)
loader = dict(num_workers=1, persistent_workers=True)
train_dataloader = dict(
    batch_size=4, **loader, sampler=dict(type='DefaultSampler', shuffle=True), dataset=dict(**data, **train)
)
val_dataloader = dict(
    batch_size=1, **loader, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(**data, **val)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric=['bbox', 'segm'], ann_file=data_root + val['ann_file'])
test_evaluator = val_evaluator
