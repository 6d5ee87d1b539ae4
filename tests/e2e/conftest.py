"""A tiny COCO and tiny configs, made for each end-to-end test, and a way to call a tool as a user does."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import models
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ('square', 'bar')

DETECTION = """
default_scope = 'mmdet'
DATA = {data!r}
model = {model!r}
load = dict(type='LoadImageFromFile')
pack = dict(type='PackDetInputs')
meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
train_pipeline = [
    load, dict(type='LoadAnnotations', with_bbox=True), dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5), pack]
test_pipeline = [
    load, dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=meta)]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root=DATA, ann_file='annotations/train.json', data_prefix=dict(img='train/'),
        metainfo=dict(classes=('square', 'bar')), pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset', data_root=DATA, ann_file='annotations/val.json', data_prefix=dict(img='val/'),
        test_mode=True, metainfo=dict(classes=('square', 'bar')), pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=DATA + '/annotations/val.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6),
    dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=0.5)]
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
auto_scale_lr = dict(enable=False, base_batch_size=16)
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork'), dist_cfg=dict(backend='nccl'))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', interval=1),
    visualization=dict(type='DetVisualizationHook'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_level = 'INFO'
load_from = None
resume = False
"""

SEGMENTATION = """
default_scope = 'mmseg'
DATA = {data!r}
model = {model!r}
dataset = dict(
    type='BaseSegDataset', data_root=DATA, data_prefix=dict(img_path='train', seg_map_path='maps'),
    metainfo=dict(classes=('ground', 'square', 'bar'), palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]]),
    img_suffix='.png', seg_map_suffix='.png', reduce_zero_label=False,
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
              dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='PackSegInputs')])
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True), dataset=dataset)
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=6)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=6, by_epoch=False)]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork'), dist_cfg=dict(backend='nccl'))
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    visualization=dict(type='SegVisualizationHook'))
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
"""


def fill(config: str, **values: object) -> str:
    """A config with its ``{name!r}`` replaced."""
    for name, value in values.items():
        config = config.replace(f'{{{name}!r}}', repr(value))
    return config


def _draw(rng: np.random.Generator, kind: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """One 64 x 48 image, its label map and the box [x, y, width, height]."""
    image = rng.integers(90, 130, (48, 64, 3), dtype=np.uint8)
    width, height = ((20, 20), (32, 10))[kind]
    x, y = int(rng.integers(0, 64 - width)), int(rng.integers(0, 48 - height))
    image[y : y + height, x : x + width] = (230, 40, 40) if kind == 0 else (40, 40, 230)
    labels = np.zeros((48, 64), dtype=np.uint8)
    labels[y : y + height, x : x + width] = kind + 1
    return image, labels, [x, y, width, height]


def write_data(root: Path, images: dict[str, int]) -> None:
    """COCO annotations, images and label maps for the given number of images per split."""
    rng = np.random.default_rng(0)
    for folder in (*images, 'annotations', 'maps'):
        (root / folder).mkdir(parents=True)
    for split, count in images.items():
        records, boxes = [], []
        for index in range(1, count + 1):
            image, labels, box = _draw(rng, index % 2)
            name = f'{index:012}.png'
            Image.fromarray(image).save(root / split / name)
            if split == 'train':
                Image.fromarray(labels).save(root / 'maps' / name)
            records.append({'id': index, 'file_name': name, 'width': 64, 'height': 48})
            boxes.append(
                {
                    'id': index,
                    'image_id': index,
                    'category_id': index % 2 + 1,
                    'bbox': box,
                    'area': box[2] * box[3],
                    'iscrowd': 0,
                }
            )
        categories = [{'id': 1, 'name': CLASSES[0]}, {'id': 2, 'name': CLASSES[1]}]
        (root / 'annotations' / f'{split}.json').write_text(
            json.dumps({'images': records, 'annotations': boxes, 'categories': categories})
        )


class Forked:
    """A tool that runs as a fork of warm.py's process; as much of subprocess.Popen as tests need."""

    _server: subprocess.Popen | None = None
    _orders: socket.socket | None = None

    def __init__(self, command: list[str], directory: Path, environment: dict[str, str]) -> None:
        if Forked._orders is None:
            Forked._orders, theirs = socket.socketpair()
            program = [sys.executable, str(Path(__file__).parent / 'warm.py'), str(theirs.fileno())]
            Forked._server = subprocess.Popen(program, env=environment, pass_fds=[theirs.fileno()])
            theirs.close()
        (output, output_end), (status, status_end) = os.pipe(), os.pipe()
        order = {'command': command, 'directory': str(directory), 'environment': environment}
        socket.send_fds(Forked._orders, [json.dumps(order).encode()], [output_end, status_end])
        os.close(output_end)
        os.close(status_end)
        self.stdout = os.fdopen(output)
        self._status = os.fdopen(status)
        self._pid = int(self._status.readline())
        self.returncode: int | None = None

    def send_signal(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """The rest of its output, when it has ended."""
        alarm = threading.Timer(timeout, self.kill)
        alarm.start()
        with self.stdout, self._status:
            output = self.stdout.read()
            self.returncode = os.waitstatus_to_exitcode(int(self._status.readline()))
        alarm.cancel()
        return output, None


@dataclass
class Finished:
    """A tool that has ended."""

    status: int
    output: str


class Workplace:
    """A directory with data and configs, and the tools called in it."""

    _called: ClassVar[set[str]] = set()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / 'data'
        write_data(self.data, {'train': 8, 'val': 3})
        self.detection = directory / 'tiny_detection.py'
        self.detection.write_text(fill(DETECTION, data=str(self.data), model=models.retinanet(drop_path_rate=0.1)))
        self.segmentation = directory / 'tiny_segmentation.py'
        self.segmentation.write_text(fill(SEGMENTATION, data=str(self.data), model=models.upernet()))

    def start(
        self, *command: object, path: Path | None = None, warm: bool = False, **variables: str
    ) -> subprocess.Popen | Forked:
        """Start a tool; its output, errors included, is a pipe. ``path`` comes first in PATH.

        The first call of each tool is a process of its own, as a user's, unless it is ``warm`` because another test is
        about the tool; others are forks of one process that has imported what they need.
        """
        environment = {
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'CUDA_VISIBLE_DEVICES': '-1',
            'PYTHON': sys.executable,
            'PYTHONUNBUFFERED': '1',
            'PYTHONPATH': str(ROOT),
            **variables,
        }
        if path is not None:
            environment['PATH'] = f'{path}{os.pathsep}{environment["PATH"]}'
        name, *words = (str(word) for word in command)
        script = str(ROOT / 'tools' / name)
        if warm or name in self._called:
            return Forked([script, *words], self.directory, environment)
        is_shell = name.endswith('.sh')
        if not is_shell:
            self._called.add(name)
        return subprocess.Popen(
            ['bash' if is_shell else sys.executable, script, *words],
            cwd=self.directory,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def call(self, *command: object, **options: Any) -> Finished:
        """Run a tool to its end; ``options`` as for :meth:`start`."""
        process = self.start(*command, **options)
        output, _ = process.communicate(timeout=600)
        return Finished(process.returncode, output)

    def call_until(self, text: str, signum: signal.Signals, *command: object) -> Finished:
        """Run a tool, and send it a signal as soon as ``text`` is in its output."""
        process = self.start(*command)
        lines = []
        timer = threading.Timer(600, process.kill)
        timer.start()
        for line in process.stdout:
            lines.append(line)
            if text in line:
                process.send_signal(signum)
                break
        timer.cancel()
        output, _ = process.communicate(timeout=600)
        return Finished(process.returncode, ''.join(lines) + output)

    def files(self) -> set[str]:
        """Everything in the directory, to see that nothing has changed."""
        return {
            f'{path.relative_to(self.directory)} {path.stat().st_mtime_ns}'
            for path in self.directory.rglob('*')
            if path.is_file()
        }


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """A fresh directory with data and configs."""
    return Workplace(tmp_path)
