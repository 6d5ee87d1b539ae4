"""Old configurations with the structure of the authors' released files, written from facts: nothing of theirs is here.

The same folders, the same inheritance (``_base_``, ``_delete_``), the same names of the libraries of that time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Depths, width and heads of the variants.
SIZES = {
    'tiny': ([2, 2, 6, 2], 96, [3, 6, 12, 24]),
    'small': ([2, 2, 18, 2], 96, [3, 6, 12, 24]),
    'base': ([2, 2, 18, 2], 128, [4, 8, 16, 32]),
}
# Released file: our configuration, variant, drop_path_rate.
RELEASED = {
    f'{kind}_swin_{size}_patch4_window7_mstrain_480-800_{extra}adamw_{length}_coco': (
        f'{kind}_swin_{size[0]}_{"1x_" if length == "1x" else ""}coco', size, rate
    )
    for kind, extra, size, length, rate in (
        ('cascade_mask_rcnn', 'giou_4conv1f_', 'tiny', '1x', 0.0),
        ('cascade_mask_rcnn', 'giou_4conv1f_', 'tiny', '3x', 0.2),
        ('cascade_mask_rcnn', 'giou_4conv1f_', 'small', '3x', 0.2),
        ('cascade_mask_rcnn', 'giou_4conv1f_', 'base', '3x', 0.3),
        ('mask_rcnn', '', 'tiny', '1x', 0.1),
        ('mask_rcnn', '', 'tiny', '3x', 0.2),
        ('mask_rcnn', '', 'small', '3x', 0.2),
    )
} | {
    f'{kind}reppoitsv2_swin_tiny_patch4_window7_mstrain_480_960_giou_gfocal_bifpn_adamw_3x_coco': (
        f'{kind}reppointsv2_swin_t_coco', 'tiny', 0.2
    )
    for kind in ('', 'mask_')
} | {
    f'upernet_swin_{size}_patch4_window7_512x512_160k_ade20k': (f'upernet_swin_{size[0]}_ade20k', size, 0.3)
    for size in SIZES
}  # fmt: skip

SWIN = """dict(type='SwinTransformer', embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
    mlp_ratio=4.0, qkv_bias=True, qk_scale=None, drop_rate=0.0, attn_drop_rate=0.0, drop_path_rate=0.2, ape=False,
    patch_norm=True, out_indices=(0, 1, 2, 3), use_checkpoint=False)"""

# (Cascade) Mask R-CNN of mmdet 2.11; the leaves bring heads of their own to the cascade.
RCNN = """
def coder(*stds):
    return dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[stds[0], stds[0], stds[1], stds[1]])
def head(stds, agnostic, loss):
    return dict(type='Shared2FCBBoxHead', in_channels=256, fc_out_channels=1024, roi_feat_size=7, num_classes=80,
        bbox_coder=coder(*stds), reg_class_agnostic=agnostic, loss_bbox=loss,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0))
def extractor(side):
    return dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=side, sampling_ratio=0),
        out_channels=256, featmap_strides=[4, 8, 16, 32])
def assigner(positive, negative, low):
    return dict(type='MaxIoUAssigner', pos_iou_thr=positive, neg_iou_thr=negative, min_pos_iou=negative,
        match_low_quality=low, ignore_iof_thr=-1)
def sampler(count, fraction, truth):
    return dict(type='RandomSampler', num=count, pos_fraction=fraction, neg_pos_ub=-1, add_gt_as_proposals=truth)
def stage(overlap, low):
    return dict(assigner=assigner(overlap, overlap, low), sampler=sampler(512, 0.25, True), mask_size=28, pos_weight=-1,
        debug=False)
def proposals(count, final):
    old = dict(nms_across_levels=False, nms_post=count) if cascade else dict()
    return dict(nms_pre=count, max_per_img=final, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0, **old)
smooth, l1 = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0), dict(type='L1Loss', loss_weight=1.0)
stds = [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)]
roi_head = dict(
    bbox_roi_extractor=extractor(7), mask_roi_extractor=extractor(14),
    mask_head=dict(type='FCNMaskHead', num_convs=4, in_channels=256, conv_out_channels=256, num_classes=80,
        loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)))
if cascade:
    roi_head.update(type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[head(pair, True, smooth) for pair in stds])
else:
    roi_head.update(type='StandardRoIHead', bbox_head=head(stds[0], False, l1))
model = dict(
    type='CascadeRCNN' if cascade else 'MaskRCNN', pretrained=None, backbone=swin,
    neck=dict(type='FPN', in_channels=[96, 192, 384, 768], out_channels=256, num_outs=5),
    rpn_head=dict(type='RPNHead', in_channels=256, feat_channels=256, bbox_coder=coder(1.0, 1.0),
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(smooth, beta=1.0 / 9.0) if cascade else l1),
    roi_head=roi_head,
    train_cfg=dict(
        rpn=dict(assigner=assigner(0.7, 0.3, True), sampler=sampler(256, 0.5, False),
            allowed_border=0 if cascade else -1, pos_weight=-1, debug=False),
        rpn_proposal=proposals(2000, 2000 if cascade else 1000),
        rcnn=[stage(overlap, False) for overlap in (0.5, 0.6, 0.7)] if cascade else stage(0.5, True)),
    test_cfg=dict(rpn=proposals(1000, 1000),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5)))
"""

# RepPoints V2, with masks by conditional convolutions if `masks`.
POINTS = """
norm_cfg = dict(type='GN', num_groups=32, requires_grad=True)
giou = dict(type='GIoULoss')
head = dict(
    type='RepPointsV2Head', num_classes=80, in_channels=256, feat_channels=256, point_feat_channels=256, stacked_convs=3,
    shared_stacked_convs=1, first_kernel_size=3, kernel_size=1, corner_dim=64, num_points=9, gradient_mul=0.1,
    point_strides=[8, 16, 32, 64, 128], point_base_scale=4, norm_cfg=norm_cfg, transform_method='exact_minmax',
    loss_cls=dict(type='QualityFocalLoss' if masks else 'RPDQualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
    loss_bbox_init=dict(giou, loss_weight=1.0), loss_bbox_refine=dict(giou, loss_weight=2.0),
    loss_heatmap=dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0, loss_weight=0.25),
    loss_offset=dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
    loss_sem=dict(type='SEPFocalLoss', gamma=2.0, alpha=0.25, loss_weight=0.1))
first, near = dict(type='PointAssignerV2', scale=4, pos_num=1), dict(type='ATSSAssignerV2', topk=9)
if masks:
    head.update(coord_pos='center', mask_head=dict(type='CondConvMaskHead',
        branch_cfg=dict(in_channels=256, channels=128, in_features=[0, 1, 2], out_stride=[8, 16, 32], num_convs=4,
            norm=dict(type='BN', requires_grad=True), out_channels=8, semantic_loss_on=False, num_classes=80,
            loss_sem=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0, prior_prob=0.01)),
        head_cfg=dict(channels=8, disable_rel_coords=False, num_layers=3, use_fp16=False, mask_out_stride=4,
            max_proposals=500, aux_loss=True, mask_loss_weight=[0.0, 0.6, 1.0],
            sizes_of_interest=[64, 128, 256, 512, 1024])))
    first.update(mask_center_sample=True, use_center=True)
    near.update(type='ATSSAssigner', mask_center_sample=True)
rest = dict(allowed_border=-1, pos_weight=-1, debug=False)
corners = dict(type='PointHMAssigner', gaussian_bump=True, gaussian_iou=0.7)
model = dict(
    type='RepPointsV2MaskDetector' if masks else 'RepPointsV2Detector', pretrained=None,
    backbone=dict(swin, out_indices=(1, 2, 3)),
    neck=dict(type='BiFPN', in_channels=[192, 384, 768], out_channels=256, start_level=0, add_extra_convs=False,
        num_outs=5, no_norm_on_lateral=False, num_repeat=2, norm_cfg=norm_cfg),
    bbox_head=head,
    train_cfg=dict(init=dict(rest, assigner=first), heatmap=dict(rest, assigner=corners), refine=dict(rest, assigner=near)),
    test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_thr=0.6), max_per_img=100))
"""

UPERNET = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(dropout_ratio=0.1, num_classes=19, norm_cfg=norm_cfg, align_corners=False)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
model = dict(
    type='EncoderDecoder', pretrained=None, backbone=dict(swin, drop_path_rate=0.3),
    decode_head=dict(head, type='UPerHead', in_channels=[96, 192, 384, 768], in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6), channels=512, loss_decode=dict(loss, loss_weight=1.0)),
    auxiliary_head=dict(head, type='FCNHead', in_channels=384, in_index=2, channels=256, num_convs=1, concat_input=False,
        loss_decode=dict(loss, loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
"""

NORMALIZE = """
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
normalize = dict(img_norm_cfg, type='Normalize')
load, bundle = dict(type='LoadImageFromFile'), dict(type='DefaultFormatBundle')
def views(scale, *steps):
    end = [dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])]
    inner = [dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), normalize, *steps, *end]
    return [load, dict(type='MultiScaleFlipAug', img_scale=scale, flip=False, transforms=inner)]
"""

COCO = """
masks, pad = dict(type='LoadAnnotations', with_bbox=True, with_mask=True), dict(type='Pad', size_divisor=32)
collect = dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks'])
flip = dict(type='RandomFlip', flip_ratio=0.5)
dataset_type, data_root = 'CocoDataset', 'data/coco/'
train_pipeline = [load, masks, dict(type='Resize', img_scale=(1333, 800), keep_ratio=True), flip, normalize, pad, bundle,
    collect]
test_pipeline = views((1333, 800), pad)
def files(split, pipeline):
    return dict(type=dataset_type, ann_file=f'data/coco/annotations/instances_{split}2017.json',
        img_prefix=f'data/coco/{split}2017/', pipeline=pipeline)
data = dict(samples_per_gpu=2, workers_per_gpu=2, train=files('train', train_pipeline), val=files('val', test_pipeline),
    test=files('val', test_pipeline))
evaluation = dict(metric=['bbox', 'segm'])
"""

BOXES = """
boxes = dict(type='LoadAnnotations', with_bbox=True)
collect = dict(collect, keys=['img', 'gt_bboxes', 'gt_labels'])
train_pipeline = [load, boxes, *train_pipeline[2:-1], collect]
for split in ('train', 'val', 'test'):
    data[split] = files(split.replace('test', 'val'), train_pipeline if split == 'train' else test_pipeline)
evaluation = dict(metric='bbox')
"""

# The training pipeline of the authors' COCO files.
AUGMENTATION = """
several = dict(type='Resize', img_scale=[(side, 1333) for side in range(480, 801, 32)], multiscale_mode='value',
    keep_ratio=True)
first = dict(several, img_scale=[(400, 1333), (500, 1333), (600, 1333)])
crop = dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True)
train_pipeline = [load, masks, flip,
    dict(type='AutoAugment', policies=[[several], [first, crop, dict(several, override=True)]]), normalize, pad, bundle,
    collect]
"""

ADE = """
crop_size, dataset_type, data_root = (512, 512), 'ADE20KDataset', 'data/ade/ADEChallengeData2016'
train_pipeline = [load, dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), normalize, dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255), bundle,
    dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
test_pipeline = views((2048, 512))
def files(folder, pipeline):
    return dict(type=dataset_type, data_root=data_root, img_dir=f'images/{folder}', ann_dir=f'annotations/{folder}',
        pipeline=pipeline)
data = dict(samples_per_gpu=4, workers_per_gpu=4, train=files('training', train_pipeline),
    val=files('validation', test_pipeline), test=files('validation', test_pipeline))
"""

RUNTIME = """
dist_params, log_level, load_from, resume_from = dict(backend='nccl'), 'INFO', None, None
workflow = [('train', 1)]
"""

BASES = {
    'detection/models/cascade_mask_rcnn_swin_fpn': f'cascade, swin = True, {SWIN}\n{RCNN}',
    'detection/models/mask_rcnn_swin_fpn': f'cascade, swin = False, {SWIN}\n{RCNN}',
    'detection/models/reppointsv2_swin_bifpn': f'masks, swin = False, {SWIN}\n{POINTS}',
    'detection/models/mask_reppointsv2_swin_bifpn': f'masks, swin = True, {SWIN}\n{POINTS}',
    'detection/datasets/coco_instance': NORMALIZE + COCO,
    'detection/datasets/coco_detection': NORMALIZE + COCO + BOXES,
    'detection/schedules/schedule_1x': """
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config, runner = dict(grad_clip=None), dict(type='EpochBasedRunner', max_epochs=12)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
""",
    'detection/default_runtime': f"""{RUNTIME}
checkpoint_config, custom_hooks = dict(interval=1), [dict(type='NumClassCheckHook')]
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
""",
    'segmentation/models/upernet_swin': f'swin = {SWIN}\n{UPERNET}',
    'segmentation/datasets/ade20k': NORMALIZE + ADE,
    'segmentation/schedules/schedule_160k': """
optimizer, optimizer_config = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005), dict()
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=160000)
checkpoint_config, evaluation = dict(by_epoch=False, interval=16000), dict(interval=16000, metric='mIoU')
""",
    'segmentation/default_runtime': f"""{RUNTIME}
log_config, cudnn_benchmark = dict(interval=50, hooks=[dict(type='TextLoggerHook', by_epoch=False)]), True
""",
}

# What their leaves repeat of the backbone, and their optimizer.
LEAF = """
backbone = dict(embed_dim={width}, depths={depths}, num_heads={heads}, window_size=7, ape=False, drop_path_rate={rate},
    patch_norm=True, use_checkpoint=False)
names = ('absolute_pos_embed', 'relative_position_bias_table', 'norm')
def adamw(rate, decay):
    return dict(_delete_=True, type='AdamW', lr=rate, betas=(0.9, 0.999), weight_decay=decay,
        paramwise_cfg=dict(custom_keys={{name: dict(decay_mult=0.0) for name in names}}))
widths = [{width} * 2**stage for stage in range(4)]
"""
DETECTION_LEAF = """
_base_ = [f'../_base_/{{name}}.py' for name in ('models/{kind}_swin_fpn', 'datasets/coco_instance',
    'schedules/schedule_1x', 'default_runtime')]
model = dict(backbone=backbone, neck=dict(in_channels=widths))
if {cascade}:
    giou = dict(type='GIoULoss', loss_weight=10.0)
    more = dict(type='ConvFCBBoxHead', num_shared_convs=4, num_shared_fcs=1, conv_out_channels=256, reg_decoded_bbox=True,
        norm_cfg=dict(type='SyncBN', requires_grad=True))
    model['roi_head'] = dict(bbox_head=[{{**head(pair, False, giou), **more}} for pair in stds])
"""
POINTS_LEAF = """
_base_ = [f'../_base_/{{name}}.py' for name in ('models/{kind}_swin_bifpn', 'datasets/{data}',
    'schedules/schedule_1x', 'default_runtime')]
model = dict(backbone=backbone, neck=dict(in_channels=widths[1:]))
several = dict(type='Resize', keep_ratio=True, img_scale=[(side, 1333) for side in range(480, 961, 32)],
    multiscale_mode='value')
if 'mask' in {kind!r}:
    several.update(img_scale=[(1333, 480), (1333, 960)], multiscale_mode='range')
train_pipeline = [*train_pipeline[:2], several, flip, normalize, pad, dict(type='LoadRPDV2Annotations'),
    dict(type='RPDV2FormatBundle'), dict(collect, keys=[*collect['keys'], 'gt_sem_map', 'gt_sem_weights'])]
evaluation = dict(metric=['bbox', 'segm'] if 'mask' in {kind!r} else ['bbox'])
"""
RUN = """
data, optimizer = dict(train=dict(pipeline=train_pipeline)), adamw(1e-4, 0.05)
lr_config = dict(step={steps})
runner, fp16 = dict(type='EpochBasedRunnerAmp', max_epochs={epochs}), None
optimizer_config = dict(type='DistOptimizerHook', update_interval=1, grad_clip=None, coalesce=True, bucket_size_mb=-1,
    use_fp16=True)
"""
SEGMENTATION_LEAF = """
_base_ = [f'../_base_/{name}.py' for name in ('models/upernet_swin', 'datasets/ade20k', 'default_runtime',
    'schedules/schedule_160k')]
model = dict(backbone=backbone, decode_head=dict(in_channels=widths, num_classes=150),
    auxiliary_head=dict(in_channels=widths[2], num_classes=150))
optimizer, data = adamw(6e-5, 0.01), dict(samples_per_gpu=2)
lr_config = dict(_delete_=True, policy='poly', warmup='linear', warmup_iters=1500, warmup_ratio=1e-6, power=1.0,
    min_lr=0.0, by_epoch=False)
"""


# What is written of the above; the rest only helps to say it.
SETTINGS = (
    '_base_', 'model', 'norm_cfg', 'img_norm_cfg', 'dataset_type', 'data_root', 'crop_size', 'train_pipeline',
    'test_pipeline', 'data', 'evaluation', 'optimizer', 'optimizer_config', 'lr_config', 'runner', 'fp16',
    'checkpoint_config', 'custom_hooks', 'log_config', 'dist_params', 'log_level', 'load_from', 'resume_from', 'workflow',
    'cudnn_benchmark',
)  # fmt: skip


def write(path: Path, **settings: Any) -> Path:
    """A configuration file with one assignment for each setting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{name} = {value!r}\n' for name, value in settings.items()))
    return path


def write_source(path: Path, source: str, context: str = '') -> Path:
    """A configuration file with what some source says, computed; ``context`` is what it builds on."""
    scope: dict[str, Any] = {}
    exec(context, scope)
    before, nothing = dict(scope), object()
    exec(source, scope)
    written = [name for name in SETTINGS if scope.get(name, nothing) is not before.get(name, nothing)]
    return write(path, **{name: scope[name] for name in written})


@pytest.fixture(scope='session')
def released(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of an old file with the structure of a released one, in a tree like the authors'."""
    folder = tmp_path_factory.mktemp('old')
    for name, source in BASES.items():
        repository, _, rest = name.partition('/')
        write_source(folder / repository / 'configs' / '_base_' / f'{rest}.py', source)

    def find(name: str) -> Path:
        (depths, width, heads), rate = SIZES[RELEASED[name][1]], RELEASED[name][2]
        leaf = LEAF.format(depths=depths, width=width, heads=heads, rate=rate)
        if name.startswith('upernet'):
            return write_source(folder / 'segmentation' / 'configs' / 'swin' / f'{name}.py', leaf + SEGMENTATION_LEAF)
        target = folder / 'detection' / 'configs' / 'swin' / f'{name}.py'
        kind, long = name.split('_swin')[0].replace('reppoits', 'reppoints'), '3x' in name
        steps, epochs = ([27, 33], 36) if long else ([8, 11], 12)
        if 'reppoints' in kind:
            data = 'coco_instance' if 'mask' in kind else 'coco_detection'
            leaf += POINTS_LEAF.format(kind=kind, data=data)
            context = BASES[f'detection/datasets/{data}'] + BASES[f'detection/models/{kind}_swin_bifpn']
        else:
            leaf = AUGMENTATION + leaf + DETECTION_LEAF.format(kind=kind, cascade=kind != 'mask_rcnn')
            context = NORMALIZE + COCO + BASES[f'detection/models/{kind}_swin_fpn']
        return write_source(target, leaf + RUN.format(steps=steps, epochs=epochs), context)

    return find


@pytest.fixture
def old_settings() -> dict[str, Any]:
    """An old RetinaNet on a Swin with the authors' arguments, in one file."""
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', img_scale=(64, 64)),
        dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
    ]
    files = dict(type='CocoDataset', ann_file='set.json', img_prefix='images/', pipeline=steps)
    return dict(
        model=dict(
            type='RetinaNet',
            backbone=dict(
                type='SwinTransformer',
                embed_dim=16,
                depths=[1, 1, 1, 1],
                num_heads=[1, 1, 2, 2],
                ape=True,
                pretrain_img_size=64,
                use_checkpoint=True,
            ),
            neck=dict(type='FPN', in_channels=[16, 32, 64, 128], out_channels=16, num_outs=5),
            bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16),
            train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
            test_cfg=dict(nms_pre=100, nms=dict(type='nms', iou_thr=0.5), score_thr=0.05, max_num=10),
        ),
        data=dict(samples_per_gpu=2, train=files, val=files, test=files),
        optimizer=dict(type='AdamW', lr=1e-4),
        lr_config=dict(policy='step', step=[8]),
        total_epochs=12,
    )


@pytest.fixture
def old_detector(old_settings: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Write ``old_settings`` with some of them changed."""

    def make(**changes: Any) -> Path:
        return write(tmp_path / 'old.py', **{**old_settings, **changes})

    return make
