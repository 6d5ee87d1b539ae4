# Can it learn at all? The fine-tuning recipe on the first 20 training images of COCO, from random weights and at a third
# of the size, tested on the same 20: box AP50 must go beyond 0.9. Hours on a CPU, minutes on a GPU.
_base_ = [
    '_base_/models/mask_rcnn_swin_small.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/random_weights.py',
]

size = dict(type='Resize', scale=(336, 224), keep_ratio=True)
load = dict(type='LoadImageFromFile')
truth = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')
images = dict(
    type='CocoDataset',
    data_root='{{$MMSWIN_COCO_DIR:data/coco}}/',
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    indices=20,
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(_delete_=True, **images, pipeline=[load, truth, size, dict(type='PackDetInputs')]),
)
val_dataloader = dict(
    num_workers=0,
    dataset=dict(_delete_=True, **images, pipeline=[load, size, truth, dict(type='PackDetInputs', meta_keys=keys)]),
)
test_dataloader = val_dataloader
# Without a file of its own the metric takes the truth from the data set, which has these 20 images.
val_evaluator = dict(ann_file=None)
test_evaluator = val_evaluator

iterations = 4000
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=iterations, val_interval=200)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [
    _base_.warm_up,
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=100, end=iterations, T_max=iterations - 100, eta_min_ratio=0.01
    ),
]
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=200, max_keep_ckpts=1, save_best=None),
)
auto_scale_lr = dict(enable=False, base_batch_size=2)
log_processor = dict(by_epoch=False)
