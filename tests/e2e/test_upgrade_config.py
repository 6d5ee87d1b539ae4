"""tools/upgrade_config.py as a user calls it, and training with what it wrote."""

from pathlib import Path
from typing import Any

import pytest

NORMALIZE = dict(type='Normalize', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True)
LOAD = dict(type='LoadImageFromFile')
SWIN = dict(
    type='SwinTransformer',
    embed_dim=8,
    depths=[1, 1, 1, 1],
    num_heads=[1, 2, 2, 4],
    window_size=4,
    ape=False,
    patch_norm=True,
    use_checkpoint=False,
)
SCHEDULE = dict(
    optimizer=dict(
        type='AdamW',
        lr=1e-4,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0)}),
    ),
    log_config=dict(interval=1, hooks=[dict(type='TextLoggerHook')]),
    dist_params=dict(backend='nccl'),
    log_level='INFO',
    load_from=None,
    resume_from=None,
    workflow=[('train', 1)],
)


def views(scale: tuple[int, int]) -> list[dict[str, Any]]:
    inner = [
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        NORMALIZE,
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]
    return [LOAD, dict(type='MultiScaleFlipAug', img_scale=scale, flip=False, transforms=inner)]


def write(path: Path, **settings: Any) -> Path:
    path.write_text(''.join(f'{name} = {value!r}\n' for name, value in settings.items()))
    return path


def old_detector(data: Path) -> dict[str, Any]:
    """A small RetinaNet with the authors' backbone and apex runner."""
    train = [
        LOAD,
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(
            type='AutoAugment',
            policies=[
                [dict(type='Resize', img_scale=[(48, 64), (64, 80)], multiscale_mode='value')],
                [
                    dict(type='RandomCrop', crop_type='absolute_range', crop_size=(30, 60), allow_negative_crop=True),
                    dict(type='Resize', img_scale=(64, 64), override=True),
                ],
            ],
        ),
        NORMALIZE,
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
    ]
    sets = {
        split: dict(
            type='CocoDataset',
            ann_file=f'{data}/annotations/{split}.json',
            img_prefix=f'{data}/{split}/',
            classes=('square', 'bar'),
            pipeline=train if split == 'train' else views((64, 64)),
        )
        for split in ('train', 'val')
    }
    anchors = dict(type='AnchorGenerator', octave_base_scale=3, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32])
    return dict(
        SCHEDULE,
        data_root=f'{data}/',
        model=dict(
            type='RetinaNet',
            pretrained=None,
            backbone=dict(SWIN, out_indices=(1, 2, 3)),
            neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=3),
            bbox_head=dict(
                type='RetinaHead',
                num_classes=2,
                in_channels=16,
                stacked_convs=1,
                feat_channels=16,
                anchor_generator=anchors,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            ),
            train_cfg=dict(
                assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
                allowed_border=-1,
                pos_weight=-1,
                debug=False,
            ),
            test_cfg=dict(
                nms_pre=50, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5
            ),
        ),
        data=dict(samples_per_gpu=4, workers_per_gpu=0, train=sets['train'], val=sets['val'], test=sets['val']),
        evaluation=dict(interval=1, metric='bbox'),
        checkpoint_config=dict(interval=1),
        lr_config=dict(policy='step', warmup='linear', warmup_iters=2, warmup_ratio=0.1, step=[1]),
        runner=dict(type='EpochBasedRunnerAmp', max_epochs=1),
        fp16=None,
        optimizer_config=dict(type='DistOptimizerHook', grad_clip=None, use_fp16=True),
    )


def old_segmentor(data: Path) -> dict[str, Any]:
    """A small UPerNet with the authors' backbone."""
    train = [
        LOAD,
        dict(type='LoadAnnotations'),
        dict(type='Resize', img_scale=(80, 48), ratio_range=(0.8, 1.5)),
        dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.9),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        NORMALIZE,
        dict(type='Pad', size=(32, 32), pad_val=0, seg_pad_val=255),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_semantic_seg']),
    ]
    files = dict(
        type='BaseSegDataset',
        data_root=str(data),
        img_dir='train',
        ann_dir='maps',
        img_suffix='.png',
        classes=('ground', 'square', 'bar'),
        palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]],
    )
    test = dict(files, pipeline=views((64, 48)))
    return dict(
        SCHEDULE,
        cudnn_benchmark=True,
        model=dict(
            type='EncoderDecoder',
            backbone=SWIN,
            decode_head=dict(
                type='UPerHead',
                in_channels=[8, 16, 32, 64],
                in_index=[0, 1, 2, 3],
                channels=8,
                pool_scales=(1, 2),
                num_classes=3,
                norm_cfg=dict(type='SyncBN', requires_grad=True),
                align_corners=False,
                loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
            ),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        ),
        data=dict(samples_per_gpu=2, workers_per_gpu=0, train=dict(files, pipeline=train), val=test, test=test),
        evaluation=dict(interval=2, metric='mIoU'),
        checkpoint_config=dict(by_epoch=False, interval=2),
        lr_config=dict(policy='poly', warmup='linear', warmup_iters=1, warmup_ratio=1e-6, by_epoch=False),
        runner=dict(type='IterBasedRunner', max_iters=2),
        optimizer_config=dict(),
    )


@pytest.mark.slow
@pytest.mark.parametrize(('make', 'figure'), [(old_detector, 'bbox_mAP'), (old_segmentor, 'mIoU')])
def test_an_upgraded_config_trains_and_is_tested(make: Any, figure: str, workplace: Any) -> None:
    """Two iterations and a validation, through tools/train.py."""
    old = write(workplace.directory / 'old.py', **make(workplace.data))
    done = workplace.call('upgrade_config.py', old, 'new.py')
    assert done.status == 0 and 'new.py written: all was translated' in done.output, done.output
    done = workplace.call('train.py', 'new.py', '--work-dir', 'run', warm=True)
    assert done.status == 0 and figure in done.output, done.output
    assert list((workplace.directory / 'run').glob('*_[12].pth'))


def test_the_text_is_printed_without_a_name(workplace: Any) -> None:
    """What is not translated is named there and in the report, and shows in the exit status."""
    old = write(workplace.directory / 'old.py', **dict(old_detector(workplace.data), seed=3))
    before = workplace.files()
    process = workplace.start('upgrade_config.py', old)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1, output
    assert 'NOT TRANSLATED seed = 3' in output and 'done; 1 entry was not translated, see above' in output
    start, end = output.index('# Upgraded from old.py'), output.rindex('resume = False')
    text = output[start:end]
    assert '# - seed = 3: ' in text
    assert "type='mmswin.SwinTransformer'" in text
    assert "data_root='" + str(workplace.data) in text and "ann_file='annotations/train.json'" in text
    assert workplace.files() == before


def test_unusable_input_is_one_line(workplace: Any) -> None:
    done = workplace.call('upgrade_config.py', workplace.detection, 'new.py')
    assert done.status == 2 and not (workplace.directory / 'new.py').exists(), done.output
    assert 'there is nothing to upgrade' in done.output.splitlines()[-1]
