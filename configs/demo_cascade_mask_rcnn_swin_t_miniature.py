# The demo: Cascade Mask R-CNN with Swin-T, shrunk until it learns a miniature COCO in minutes on two CPU cores, from
# random weights. The backbone has Swin-T's depths and heads at half its width.
_base_ = './cascade_mask_rcnn_swin_t_coco.py'

classes = ('circle', 'square', 'triangle', 'star', 'cross')
channels = 64

# Objects have 10 to 60 pixels instead of up to 600: smaller anchors, and the coarser maps serve smaller regions.
region_levels = dict(out_channels=channels, finest_scale=14)
box_heads = [
    dict(
        head,
        num_classes=len(classes),
        in_channels=channels,
        num_shared_convs=1,
        conv_out_channels=channels,
        fc_out_channels=256,
        norm_cfg=dict(type='GN', num_groups=16),
    )
    for head in _base_.model.roi_head.bbox_head
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=4),
    backbone=dict(embed_dims=48, drop_path_rate=0.0, init_cfg=None),
    neck=dict(in_channels=[48, 96, 192, 384], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=region_levels,
        mask_roi_extractor=dict(region_levels, roi_layer=dict(output_size=7)),
        bbox_head=box_heads,
        mask_head=dict(num_classes=len(classes), num_convs=2, in_channels=channels, conv_out_channels=channels),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=[
            dict(stage, sampler=dict(stage.sampler, num=24, pos_fraction=0.5), mask_size=14)
            for stage in _base_.model.train_cfg.rcnn
        ],
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=50), rcnn=dict(max_per_img=20)),
)

data = dict(data_root='data/miniature_coco/', metainfo=dict(classes=classes))
resize = dict(type='Resize', scale=(112, 112), keep_ratio=True)
train_pipeline = [resize if step.type == 'RandomChoice' else step for step in _base_.train_pipeline]
test_pipeline = [resize if step.type == 'Resize' else step for step in _base_.test_pipeline]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(data, pipeline=train_pipeline))
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/miniature_coco/annotations/instances_val2017.json')
test_evaluator = val_evaluator

iterations = 400
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=iterations, val_interval=200)
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=60, end=iterations, T_max=iterations - 60, eta_min=1e-5),
]
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=1, save_best=None),
)
auto_scale_lr = dict(base_batch_size=4)
log_processor = dict(by_epoch=False)
