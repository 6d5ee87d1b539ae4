"""What tests of classification ask, answered by one process: mmpretrain takes seconds to import, and changes what mmdet does.

Writes a small data set and a configuration into the directory that is its argument, takes the steps of a user there and
prints what came of each as one line of JSON.
"""

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import mmswin.cli
from mmswin.environment.importable import make_mmpretrain_importable

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tests'))
CLASSES = ('bar', 'cross', 'square')
CONFIG = f"""
_base_ = {str(ROOT / 'configs' / 'swin_cifar100.py')!r}
net = dict(embed_dims=16, depths=(1, 2), num_heads=(1, 2))
optim_wrapper = dict(optimizer=dict(smallest_side=16))
augments = dict(type='CutMix', alpha=1.0)
model = dict(data_preprocessor=dict(num_classes=3), backbone=net, head=dict(num_classes=3, in_channels=32))
resize = dict(type='ResizeEdge', scale=36, edge='short', backend='pillow', interpolation='bicubic')
pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='CenterCrop', crop_size=32), dict(type='PackInputs')]
train_dataloader = dict(batch_size=6, num_workers=0, dataset=dict(data_root='data'))
val_dataloader = dict(batch_size=6, num_workers=0, dataset=dict(data_root='data', pipeline=pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 2))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
"""


def write_data(root: Path) -> None:
    """Ten pictures of 32 pixels of each class for training, two for tests."""
    rng = np.random.default_rng(0)
    for split, number in (('train', 10), ('test', 2)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                image = rng.integers(90, 130, (32, 32, 3), dtype=np.uint8)
                x = int(rng.integers(0, 20))
                if label != 2:
                    image[x : x + 4, :] = (230, 40, 40)
                if label != 0:
                    image[:, x : x + (4 if label == 1 else 10)] = (40, 40, 230)
                Image.fromarray(image).save(folder / f'{i}.png')


def call(*words: object) -> dict[str, Any]:
    """A command of mmswin: its exit status and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = mmswin.cli.main([str(word) for word in words])
    return {'status': status, 'output': out.getvalue()}


def differences(ours: torch.nn.Module, theirs: torch.nn.Module, side: int, dtype: torch.dtype) -> list[float]:
    """Of the logits, and of the gradient of the patch projection, as parts of the largest value."""
    found = []
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)).to(dtype) * 4 - 2
    logits, gradients = [], []
    for model in (ours.to(dtype).eval(), theirs.to(dtype).eval()):
        model.zero_grad()
        logits.append(model(image, mode='tensor'))
        logits[-1].square().sum().backward()
        projection = getattr(model.backbone.patch_embed, 'proj', None) or model.backbone.patch_embed.projection
        gradients.append(projection.weight.grad.clone())
    for ours_, theirs_ in (logits, gradients):
        found.append(float((ours_ - theirs_).abs().max() / theirs_.abs().max()))
    return found


def classifier(backbone: dict[str, Any], width: int = 64) -> torch.nn.Module:
    from mmengine.registry import MODELS, DefaultScope

    head = dict(type='LinearClsHead', num_classes=5, in_channels=width)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
        return MODELS.build(cfg)


SMALL = dict(embed_dims=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))


def models(window: int = 7) -> tuple[torch.nn.Module, torch.nn.Module]:
    """mmpretrain's own Swin and mmswin's in its classifier, with the same weights."""
    torch.manual_seed(0)
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in SMALL.items()}
    theirs = classifier(dict(type='SwinTransformer', arch=lists, window_size=window, drop_path_rate=0.0))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    options = dict(out_indices=(3,), window_size=window, shift_small_maps=False, drop_path_rate=0.0)
    ours = classifier(dict(type='mmswin.SwinTransformer', **SMALL, **options))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def parity() -> dict[str, Any]:
    found = {}
    for side, window in ((224, 7), (256, 7), (384, 12)):
        ours, theirs = models(window)
        for dtype in (torch.float32, torch.float64):
            found[f'{side} {dtype}'.replace('torch.', '')] = differences(ours, theirs, side, dtype)
    return found


def files() -> dict[str, Any]:
    """Whole files of other libraries' names, loaded as they are, strictly; the largest difference of logits."""
    from mmswin.checkpoints import export

    ours, _ = models()
    image = torch.rand(1, 3, 224, 224)
    expected = ours.eval()(image, mode='tensor')
    state = dict(ours.state_dict())
    # As the authors' classifier names them.
    own = {
        name.removeprefix('backbone.').replace('norm3.', 'norm.').replace('head.fc.', 'head.'): value
        for name, value in state.items()
    }
    found = {}
    for library in ('authors', 'timm', 'torchvision', 'transformers', 'mmpretrain'):
        written = export.export(own, library)
        fresh = classifier(dict(type='mmswin.SwinTransformer', **SMALL, out_indices=(3,), shift_small_maps=False))
        fresh.load_state_dict(dict(written.tensors))
        found[library] = float((fresh.eval()(image, mode='tensor') - expected).abs().max() / expected.abs().max())
    return found


def convert() -> dict[str, Any]:
    """A file under the authors' names for mmpretrain, with the proof that it runs there."""
    ours, _ = models()
    state = {name.removeprefix('backbone.'): value for name, value in ours.state_dict().items()}
    torch.save({'model': state}, 'ours.pth')
    return call('convert', 'ours.pth', 'theirs.pth', '--to', 'mmpretrain')


def faults(directory: Path) -> dict[str, Any]:
    """What is said of wrong folders, lists, heads and metrics."""
    broken = directory / 'broken'
    write_data(broken)
    root = ('train_dataloader.dataset.data_root=broken', 'val_dataloader.dataset.data_root=broken')

    def check(*options: str) -> dict[str, Any]:
        return call('check', 'config.py', '--cfg-options', *options)

    found = {}
    extra = broken / 'test' / 'zebra'
    extra.mkdir()
    found['other classes'] = check(*root)
    extra.rmdir()
    for file in (broken / 'train' / 'bar').iterdir():
        file.unlink()
    found['empty'] = check(*root)
    (broken / 'test' / 'bar' / '0.png').write_bytes(b'')
    found['unreadable'] = check(*root)
    (broken / 'list.txt').write_text('train/cross/0.png 1\ntrain/cross/1.png one\n')
    listed = ('+train_dataloader.dataset.ann_file=list.txt', 'train_dataloader.dataset.data_prefix=')
    found['list'] = check(root[0], *listed)
    found['heads'] = check('model.head.num_classes=4')
    found['rows of labels'] = check('model.data_preprocessor.num_classes=4')
    found['order'] = check('+train_dataloader.dataset.metainfo.classes=("square", "bar", "cross")')
    (broken / 'train' / 'cross' / '0.png').rename(broken / 'train' / 'cross' / '0.WEBP')
    found['endings'] = check(*root)
    train = ('train', 'config.py', '--work-dir', 'not_begun', '--cfg-options')
    found['top 5'] = call(*train, 'val_evaluator.topk=(1,5)')
    cifar = ('train_dataloader.dataset.type=CIFAR100', '+train_dataloader.dataset.split=train')
    os.environ['MMSWIN_OFFLINE'] = '1'
    found['download'] = call(*train, *cifar, 'train_dataloader.dataset.data_prefix=')
    del os.environ['MMSWIN_OFFLINE']
    return found


def shipped() -> dict[str, float]:
    """Millions of parameters of each classifier that comes with mmswin."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    found = {}
    for path in sorted((ROOT / 'configs').glob('swin_*.py')):
        with DefaultScope.overwrite_default_scope('mmpretrain'), torch.device('meta'):
            model = MODELS.build(Config.fromfile(path).model)
        found[path.stem] = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return found


def main() -> None:
    directory = Path(sys.argv[1])
    os.chdir(directory)
    write_data(Path('data'))
    Path('config.py').write_text(CONFIG)
    assert make_mmpretrain_importable()
    run = ('config.py', '--seed', 0, '--deterministic', '--work-dir')
    # The second run ends after its first epoch and goes on.
    trained = ('config.py', 'whole/epoch_2.pth')
    steps: dict[str, Callable[[], Any]] = {
        'check': lambda: call('check', 'config.py', '--decode'),
        'train': lambda: call('train', *run, 'whole'),
        'stopped': lambda: call('train', *run, 'parts', '--cfg-options', 'train_cfg.max_epochs=1'),
        'resumed': lambda: call('train', *run, 'parts', '--resume'),
        'test': lambda: call('test', *trained, '--show-dir', 'shown'),
        'predict': lambda: call('predict', *trained, 'data/test', '--out', 'found', '--save-json'),
        'export': lambda: call('export', *trained, 'classifier.onnx', '--images', 'data/test'),
        'predict by program': lambda: call(
            'predict', 'classifier.onnx', 'data/test', '--out', 'by_program', '--save-json'
        ),
        'explain': lambda: call(
            'explain', *trained, 'data/test/bar/0.png', '--out', 'why', '--number', 1, '--stages', 1, 2
        ),
        'browse': lambda: call('browse', 'config.py', '--out', 'seen', '--number', 2),
        'faults': lambda: faults(directory),
        'parity': parity,
        'files': files,
        'convert': convert,
        'shipped': shipped,
        'others': lambda: [importlib.import_module(name).__name__ for name in ('mmdet.models', 'mmseg.models')],
    }
    for name, step in steps.items():
        print(json.dumps({name: step()}), flush=True)


if __name__ == '__main__':
    main()
