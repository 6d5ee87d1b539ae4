# COCO 2017 with masks, in the official layout under data/coco/ (or under the directory that the environment variable
# MMSWIN_COCO_DIR names); augmentation A of the paper's detection recipes.
_base_ = 'mmdet::_base_/datasets/coco_instance.py'

data_root = '{{$MMSWIN_COCO_DIR:data/coco}}/'
val_annotations = 'annotations/instances_val2017.json'

short_sides = [(side, 1333) for side in range(480, 801, 32)]
train_pipeline = [
    dict(type='mmswin.LoadImageFromFile', max_bad_fraction=0.01),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomChoiceResize', scales=short_sides, keep_ratio=True)],
            [
                dict(type='RandomChoiceResize', scales=[(400, 1333), (500, 1333), (600, 1333)], keep_ratio=True),
                dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True),
                dict(type='RandomChoiceResize', scales=short_sides, keep_ratio=True),
            ],
        ],
    ),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, ann_file=val_annotations))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_annotations)
test_evaluator = val_evaluator
