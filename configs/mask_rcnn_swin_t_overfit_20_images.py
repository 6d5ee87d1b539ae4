# Can it learn at all? The fine-tuning recipe on the first 20 training images of COCO, from random weights and at a third
# of the size, tested on the same 20: box AP50 must go beyond 0.9. Hours on a CPU, minutes on a GPU.
_base_ = './mask_rcnn_swin_t_finetune.py'

load_from = None
channels = 64
norm = dict(type='GN', num_groups=16)
heads = dict(num_classes=80, in_channels=channels, conv_out_channels=channels)
regions = dict(out_channels=channels, finest_scale=14)
model = dict(
    backbone=dict(embed_dims=48, drop_path_rate=0.0),
    neck=dict(in_channels=[48, 96, 192, 384], out_channels=channels, norm_cfg=norm),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[2, 4])),
    roi_head=dict(
        bbox_roi_extractor=regions,
        mask_roi_extractor=dict(regions, roi_layer=dict(output_size=7)),
        bbox_head=dict(
            heads, type='ConvFCBBoxHead', num_shared_convs=1, num_shared_fcs=1, fc_out_channels=256, norm_cfg=norm
        ),
        mask_head=dict(heads, num_convs=2, norm_cfg=norm),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(min_pos_iou=0.1)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=128, pos_fraction=0.5), mask_size=14),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300)),
)

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
optim_wrapper = dict(
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(lr=4e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=_base_.no_decay['custom_keys']),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
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
