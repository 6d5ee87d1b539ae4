"""Killed runs lose nothing that was saved; resumed, they have the losses of a run that nobody killed, to the bit.

With drop path, flips, mixed images and loader workers, for detection and segmentation, in one process and in two.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

MIXED = """
_base_ = './tiny_detection.py'
pipeline = [
    dict(type='Mosaic', img_scale=(64, 64)),
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-32, -32)),
    dict(type='MixUp', img_scale=(64, 64)), dict(type='PhotoMetricDistortion'), dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='PackDetInputs')]
train_dataloader = dict(
    num_workers=2, persistent_workers=True, batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        _delete_=True, type='MultiImageMixDataset', pipeline=pipeline,
        dataset=dict(
            type='RepeatDataset', times=2,
            dataset=dict(
                type='CocoDataset', data_root={data!r}, ann_file='annotations/train.json',
                data_prefix=dict(img='train/'), metainfo=dict(classes=('square', 'bar')),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]))))
"""

AUGMENTED_SEGMENTATION = """
_base_ = './tiny_segmentation.py'
crop = (48, 48)
model = dict(backbone=dict(drop_path_rate=0.2), data_preprocessor=dict(size=crop),
             decode_head=dict(norm_cfg=dict(_delete_=True, type='GN', num_groups=2)))
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.8, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]
train_dataloader = dict(num_workers=2, persistent_workers=True, dataset=dict(pipeline=pipeline))
"""


def by_program(workplace, program: str, *words: object) -> dict:
    """What a program of this directory finds out; it fails the test with its message."""
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '-1',
        'PYTHONPATH': str(HERE.parents[1]),
    }
    done = subprocess.run(
        [sys.executable, str(HERE / program), *map(str, words)],
        cwd=workplace.directory,
        text=True,
        env=environment,
        capture_output=True,
        timeout=900,
    )
    logs = ''.join(f'\n--- {path}\n{path.read_text()[-2000:]}' for path in workplace.directory.rglob('*_0.log'))
    assert done.returncode == 0, done.stderr[-3000:] + logs
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_detection_killed_at_random_moments(workplace):
    """Mosaic and MixUp over a repeated data set, batches by aspect ratio, loader workers, drop path."""
    config = workplace.directory / 'mixed.py'
    config.write_text(MIXED.replace('{data!r}', repr(str(workplace.data))))
    found = by_program(
        workplace,
        'kill_repeatedly.py',
        config,
        '.',
        3,
        1,
        'train_cfg.max_epochs=50',
        'train_cfg.val_interval=100',
        'default_hooks.checkpoint.by_epoch=false',
        'default_hooks.checkpoint.max_keep_ckpts=3',
    )
    assert found['kills'] == 3
    assert found['iterations_when_last_killed'] >= 2


@pytest.mark.slow
def test_segmentation_in_two_processes_resumes_exactly_and_trains_as_one_with_twice_the_batch(workplace):
    """Without drop path and drop-out, which two processes draw otherwise than one. With SGD, whose step is linear."""
    config = workplace.directory / 'augmented.py'
    config.write_text(AUGMENTED_SEGMENTATION)
    two, one = by_program(
        workplace,
        'kill_once.py',
        config,
        '.',
        '2,1',
        4,
        2,
        'train_cfg.max_iters=4',
        'model.backbone.drop_path_rate=0.0',
        'model.decode_head.dropout_ratio=0.0',
        'default_hooks.checkpoint.interval=1',
        'optim_wrapper.optimizer={"type": "SGD", "lr": 0.1, "_delete_": true}',
        'train_dataloader.num_workers=1',
    )
    means = [sum(pair) / 2 for pair in zip(*two, strict=True)]
    assert len(means) == 4
    assert means == pytest.approx(one[0], rel=1e-5)
    assert two[0] != pytest.approx(two[1], rel=1e-3)
