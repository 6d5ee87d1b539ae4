"""Old configurations with the structure of the authors' released files, written from facts: nothing of theirs is here.

The same folders, the same inheritance (``_base_``, ``_delete_``), the same names of the libraries of that time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
NORMALIZE = dict(type='Normalize', mean=MEAN, std=STD, to_rgb=True)
# Released file: our configuration, depths, width, heads, drop_path_rate, cascade, 3x schedule.
DETECTION = {
    'cascade_mask_rcnn_swin_tiny_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_1x_coco': (
        'cascade_mask_rcnn_swin_t_1x_coco',
        [2, 2, 6, 2],
        96,
        [3, 6, 12, 24],
        0.0,
        True,
        False,
    ),
    'cascade_mask_rcnn_swin_tiny_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco': (
        'cascade_mask_rcnn_swin_t_coco',
        [2, 2, 6, 2],
        96,
        [3, 6, 12, 24],
        0.2,
        True,
        True,
    ),
    'cascade_mask_rcnn_swin_small_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco': (
        'cascade_mask_rcnn_swin_s_coco',
        [2, 2, 18, 2],
        96,
        [3, 6, 12, 24],
        0.2,
        True,
        True,
    ),
    'cascade_mask_rcnn_swin_base_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco': (
        'cascade_mask_rcnn_swin_b_coco',
        [2, 2, 18, 2],
        128,
        [4, 8, 16, 32],
        0.3,
        True,
        True,
    ),
    'mask_rcnn_swin_tiny_patch4_window7_mstrain_480-800_adamw_1x_coco': (
        'mask_rcnn_swin_t_1x_coco',
        [2, 2, 6, 2],
        96,
        [3, 6, 12, 24],
        0.1,
        False,
        False,
    ),
    'mask_rcnn_swin_tiny_patch4_window7_mstrain_480-800_adamw_3x_coco': (
        'mask_rcnn_swin_t_coco',
        [2, 2, 6, 2],
        96,
        [3, 6, 12, 24],
        0.2,
        False,
        True,
    ),
    'mask_rcnn_swin_small_patch4_window7_mstrain_480-800_adamw_3x_coco': (
        'mask_rcnn_swin_s_coco',
        [2, 2, 18, 2],
        96,
        [3, 6, 12, 24],
        0.2,
        False,
        True,
    ),
}
SEGMENTATION = {
    'upernet_swin_tiny_patch4_window7_512x512_160k_ade20k': ('upernet_swin_t_ade20k', [2, 2, 6, 2], 96, [3, 6, 12, 24]),
    'upernet_swin_small_patch4_window7_512x512_160k_ade20k': (
        'upernet_swin_s_ade20k',
        [2, 2, 18, 2],
        96,
        [3, 6, 12, 24],
    ),
    'upernet_swin_base_patch4_window7_512x512_160k_ade20k': (
        'upernet_swin_b_ade20k',
        [2, 2, 18, 2],
        128,
        [4, 8, 16, 32],
    ),
}
RELEASED = {name: facts[0] for name, facts in {**DETECTION, **SEGMENTATION}.items()}


def write(path: Path, **settings: Any) -> Path:
    """A configuration file with one assignment for each setting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{name} = {value!r}\n' for name, value in settings.items()))
    return path


def swin(depths: list[int], width: int, heads: list[int], rate: float) -> dict[str, Any]:
    """The arguments of the authors' backbone that their leaves repeat."""
    return dict(
        embed_dim=width,
        depths=depths,
        num_heads=heads,
        window_size=7,
        ape=False,
        drop_path_rate=rate,
        patch_norm=True,
        use_checkpoint=False,
    )


def full_swin() -> dict[str, Any]:
    """All arguments of the authors' backbone, as in their model files."""
    return dict(
        swin([2, 2, 6, 2], 96, [3, 6, 12, 24], 0.2),
        type='SwinTransformer',
        mlp_ratio=4.0,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        out_indices=(0, 1, 2, 3),
    )


def adamw(rate: float, decay: float) -> dict[str, Any]:
    """The authors' optimizer."""
    keys = ('absolute_pos_embed', 'relative_position_bias_table', 'norm')
    return dict(
        _delete_=True,
        type='AdamW',
        lr=rate,
        betas=(0.9, 0.999),
        weight_decay=decay,
        paramwise_cfg=dict(custom_keys={key: dict(decay_mult=0.0) for key in keys}),
    )


def _smooth_l1() -> dict[str, Any]:
    return dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)


def _coder(centre: float, size: float) -> dict[str, Any]:
    return dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[centre, centre, size, size])


def _box_head(coder: dict[str, Any], agnostic: bool, loss: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return dict(
        type='Shared2FCBBoxHead',
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=80,
        bbox_coder=coder,
        reg_class_agnostic=agnostic,
        loss_bbox=loss,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        **extra,
    )


def _extractor(side: int) -> dict[str, Any]:
    return dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=side, sampling_ratio=0),
        out_channels=256,
        featmap_strides=[4, 8, 16, 32],
    )


def _stage(overlap: float, match_low: bool) -> dict[str, Any]:
    return dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=overlap,
            neg_iou_thr=overlap,
            min_pos_iou=overlap,
            match_low_quality=match_low,
            ignore_iof_thr=-1,
        ),
        sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
        mask_size=28,
        pos_weight=-1,
        debug=False,
    )


STDS = [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)]


def rcnn(cascade: bool) -> dict[str, Any]:
    """(Cascade) Mask R-CNN of mmdet 2.11."""
    proposals = dict(nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
    tested = dict(proposals, nms_pre=1000, max_per_img=1000)
    if not cascade:
        proposals['max_per_img'] = 1000
    if cascade:
        proposals.update(nms_across_levels=False, nms_post=2000)
        tested.update(nms_across_levels=False, nms_post=1000)
        heads: Any = [_box_head(_coder(*stds), True, _smooth_l1()) for stds in STDS]
        stages: Any = [_stage(overlap, False) for overlap in (0.5, 0.6, 0.7)]
        kind = dict(type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1, 0.5, 0.25])
    else:
        heads = _box_head(_coder(0.1, 0.2), False, dict(type='L1Loss', loss_weight=1.0))
        stages = _stage(0.5, True)
        kind = dict(type='StandardRoIHead')
    rpn_loss = (
        dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0) if cascade else dict(type='L1Loss', loss_weight=1.0)
    )
    return dict(
        type='CascadeRCNN' if cascade else 'MaskRCNN',
        pretrained=None,
        backbone=full_swin(),
        neck=dict(type='FPN', in_channels=[96, 192, 384, 768], out_channels=256, num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=256,
            feat_channels=256,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
            ),
            bbox_coder=_coder(1.0, 1.0),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
            loss_bbox=rpn_loss,
        ),
        roi_head=dict(
            **kind,
            bbox_roi_extractor=_extractor(7),
            bbox_head=heads,
            mask_roi_extractor=_extractor(14),
            mask_head=dict(
                type='FCNMaskHead',
                num_convs=4,
                in_channels=256,
                conv_out_channels=256,
                num_classes=80,
                loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.7,
                    neg_iou_thr=0.3,
                    min_pos_iou=0.3,
                    match_low_quality=True,
                    ignore_iof_thr=-1,
                ),
                sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
                allowed_border=0 if cascade else -1,
                pos_weight=-1,
                debug=False,
            ),
            rpn_proposal=proposals,
            rcnn=stages,
        ),
        test_cfg=dict(
            rpn=tested,
            rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5),
        ),
    )


def _coco() -> dict[str, Any]:
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    finish = [
        NORMALIZE,
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
    ]
    train = [
        *load,
        dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        *finish,
    ]
    views = [
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        NORMALIZE,
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]
    test = [load[0], dict(type='MultiScaleFlipAug', img_scale=(1333, 800), flip=False, transforms=views)]
    files = {
        split: dict(
            type='CocoDataset',
            ann_file=f'data/coco/annotations/instances_{split}2017.json',
            img_prefix=f'data/coco/{split}2017/',
            pipeline=train if split == 'train' else test,
        )
        for split in ('train', 'val')
    }
    return dict(
        dataset_type='CocoDataset',
        data_root='data/coco/',
        train_pipeline=train,
        test_pipeline=test,
        img_norm_cfg={key: value for key, value in NORMALIZE.items() if key != 'type'},
        data=dict(samples_per_gpu=2, workers_per_gpu=2, train=files['train'], val=files['val'], test=files['val']),
        evaluation=dict(metric=['bbox', 'segm']),
    )


def augmentation_a() -> list[dict[str, Any]]:
    """The training pipeline of the authors' COCO files."""
    sides = [(side, 1333) for side in range(480, 801, 32)]
    several = dict(type='Resize', img_scale=sides, multiscale_mode='value', keep_ratio=True)
    first = dict(several, img_scale=[(400, 1333), (500, 1333), (600, 1333)])
    crop = dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True)
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(type='AutoAugment', policies=[[several], [first, crop, dict(several, override=True)]]),
        NORMALIZE,
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
    ]


def _runtime(**extra: Any) -> dict[str, Any]:
    return dict(
        dist_params=dict(backend='nccl'),
        log_level='INFO',
        load_from=None,
        resume_from=None,
        workflow=[('train', 1)],
        **extra,
    )


def write_detection(folder: Path) -> None:
    """The detection repository's files."""
    shared = folder / 'configs' / '_base_'
    write(shared / 'models' / 'cascade_mask_rcnn_swin_fpn.py', model=rcnn(cascade=True))
    write(shared / 'models' / 'mask_rcnn_swin_fpn.py', model=rcnn(cascade=False))
    write(shared / 'datasets' / 'coco_instance.py', **_coco())
    write(
        shared / 'schedules' / 'schedule_1x.py',
        optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
        optimizer_config=dict(grad_clip=None),
        runner=dict(type='EpochBasedRunner', max_epochs=12),
        lr_config=dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11]),
    )
    write(
        shared / 'default_runtime.py',
        **_runtime(
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=50, hooks=[dict(type='TextLoggerHook')]),
            custom_hooks=[dict(type='NumClassCheckHook')],
        ),
    )
    for name, (_, depths, width, heads, rate, cascade, long) in DETECTION.items():
        model: dict[str, Any] = dict(
            backbone=swin(depths, width, heads, rate), neck=dict(in_channels=[width * 2**stage for stage in range(4)])
        )
        if cascade:
            head = dict(
                num_shared_convs=4,
                num_shared_fcs=1,
                conv_out_channels=256,
                reg_decoded_bbox=True,
                norm_cfg=dict(type='SyncBN', requires_grad=True),
            )
            giou = dict(type='GIoULoss', loss_weight=10.0)
            model['roi_head'] = dict(
                bbox_head=[dict(_box_head(_coder(*stds), False, giou, **head), type='ConvFCBBoxHead') for stds in STDS]
            )
        kind = 'cascade_mask_rcnn_swin_fpn' if cascade else 'mask_rcnn_swin_fpn'
        write(
            folder / 'configs' / 'swin' / f'{name}.py',
            _base_=[
                f'../_base_/models/{kind}.py',
                '../_base_/datasets/coco_instance.py',
                '../_base_/schedules/schedule_1x.py',
                '../_base_/default_runtime.py',
            ],
            model=model,
            train_pipeline=augmentation_a(),
            data=dict(train=dict(pipeline=augmentation_a())),
            optimizer=adamw(1e-4, 0.05),
            lr_config=dict(step=[27, 33] if long else [8, 11]),
            runner=dict(type='EpochBasedRunnerAmp', max_epochs=36 if long else 12),
            fp16=None,
            optimizer_config=dict(
                type='DistOptimizerHook',
                update_interval=1,
                grad_clip=None,
                coalesce=True,
                bucket_size_mb=-1,
                use_fp16=True,
            ),
        )


def _upernet() -> dict[str, Any]:
    norm = dict(type='SyncBN', requires_grad=True)
    head = dict(dropout_ratio=0.1, num_classes=19, norm_cfg=norm, align_corners=False)
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
    return dict(
        type='EncoderDecoder',
        pretrained=None,
        backbone=dict(full_swin(), drop_path_rate=0.3),
        decode_head=dict(
            head,
            type='UPerHead',
            in_channels=[96, 192, 384, 768],
            in_index=[0, 1, 2, 3],
            pool_scales=(1, 2, 3, 6),
            channels=512,
            loss_decode=dict(loss, loss_weight=1.0),
        ),
        auxiliary_head=dict(
            head,
            type='FCNHead',
            in_channels=384,
            in_index=2,
            channels=256,
            num_convs=1,
            concat_input=False,
            loss_decode=dict(loss, loss_weight=0.4),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def _ade() -> dict[str, Any]:
    crop = (512, 512)
    train = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', reduce_zero_label=True),
        dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
        dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        NORMALIZE,
        dict(type='Pad', size=crop, pad_val=0, seg_pad_val=255),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_semantic_seg']),
    ]
    views = [
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        NORMALIZE,
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]
    test = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiScaleFlipAug', img_scale=(2048, 512), flip=False, transforms=views),
    ]
    root = 'data/ade/ADEChallengeData2016'
    sets = {
        split: dict(
            type='ADE20KDataset',
            data_root=root,
            img_dir=f'images/{folder}',
            ann_dir=f'annotations/{folder}',
            pipeline=train if split == 'train' else test,
        )
        for split, folder in (('train', 'training'), ('val', 'validation'))
    }
    return dict(
        dataset_type='ADE20KDataset',
        data_root=root,
        crop_size=crop,
        train_pipeline=train,
        test_pipeline=test,
        img_norm_cfg={key: value for key, value in NORMALIZE.items() if key != 'type'},
        data=dict(samples_per_gpu=4, workers_per_gpu=4, train=sets['train'], val=sets['val'], test=sets['val']),
    )


def write_segmentation(folder: Path) -> None:
    """The segmentation repository's files."""
    shared = folder / 'configs' / '_base_'
    write(shared / 'models' / 'upernet_swin.py', norm_cfg=dict(type='SyncBN', requires_grad=True), model=_upernet())
    write(shared / 'datasets' / 'ade20k.py', **_ade())
    write(
        shared / 'schedules' / 'schedule_160k.py',
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
        optimizer_config=dict(),
        lr_config=dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False),
        runner=dict(type='IterBasedRunner', max_iters=160000),
        checkpoint_config=dict(by_epoch=False, interval=16000),
        evaluation=dict(interval=16000, metric='mIoU'),
    )
    write(
        shared / 'default_runtime.py',
        **_runtime(
            log_config=dict(interval=50, hooks=[dict(type='TextLoggerHook', by_epoch=False)]), cudnn_benchmark=True
        ),
    )
    for name, (_, depths, width, heads) in SEGMENTATION.items():
        write(
            folder / 'configs' / 'swin' / f'{name}.py',
            _base_=[
                '../_base_/models/upernet_swin.py',
                '../_base_/datasets/ade20k.py',
                '../_base_/default_runtime.py',
                '../_base_/schedules/schedule_160k.py',
            ],
            model=dict(
                backbone=swin(depths, width, heads, 0.3),
                decode_head=dict(in_channels=[width * 2**stage for stage in range(4)], num_classes=150),
                auxiliary_head=dict(in_channels=width * 4, num_classes=150),
            ),
            optimizer=adamw(6e-5, 0.01),
            data=dict(samples_per_gpu=2),
            lr_config=dict(
                _delete_=True,
                policy='poly',
                warmup='linear',
                warmup_iters=1500,
                warmup_ratio=1e-6,
                power=1.0,
                min_lr=0.0,
                by_epoch=False,
            ),
        )


@pytest.fixture(scope='session')
def released(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of an old file with the structure of a released one, in a tree like the authors'."""
    folder = tmp_path_factory.mktemp('old')
    write_detection(folder / 'detection')
    write_segmentation(folder / 'segmentation')

    def find(name: str) -> Path:
        return folder / ('detection' if name in DETECTION else 'segmentation') / 'configs' / 'swin' / f'{name}.py'

    return find


@pytest.fixture
def old_settings() -> dict[str, Any]:
    """An old RetinaNet on a Swin with the authors' arguments, in one file."""
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', img_scale=(64, 64)),
        NORMALIZE,
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
