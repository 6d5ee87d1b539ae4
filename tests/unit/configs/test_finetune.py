"""The fine-tuning configurations: classes said once reach all that needs them, a checkpoint with other classes fills
the rest of the model, learning rates are those stated, and all goes through tools/train.py with data of one's own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope

from mmswin.checkpoints import CheckpointError
from mmswin.data.config_facts import NOT_SEGMENTING, model_num_classes
from mmswin.engine.preflight import check_weights

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / 'configs'
# Configuration: the recipe whose weights it starts from, and the layers that depend on the number of classes.
TWINS = {
    'mask_rcnn_swin_t_finetune': ('mask_rcnn_swin_t_coco', ('fc_cls', 'fc_reg', 'mask_head.conv_logits')),
    'cascade_mask_rcnn_swin_t_finetune': (
        'cascade_mask_rcnn_swin_t_coco',
        ('fc_cls', 'fc_reg', 'mask_head.0.conv_logits', 'mask_head.1.conv_logits', 'mask_head.2.conv_logits'),
    ),
    'faster_rcnn_swin_t_finetune': ('faster_rcnn_swin_t_coco', ('fc_cls', 'fc_reg')),
    'upernet_swin_t_finetune': ('upernet_swin_t_ade20k', ('conv_seg',)),
}
RELEASE = 'https://github.com/SwinTransformer/storage/releases/download/'
FILES = {
    'mask_rcnn_swin_t_finetune': 'v1.0.2/mask_rcnn_swin_tiny_patch4_window7.pth',
    'cascade_mask_rcnn_swin_t_finetune': 'v1.0.2/cascade_mask_rcnn_swin_tiny_patch4_window7.pth',
    'faster_rcnn_swin_t_finetune': 'v1.0.2/mask_rcnn_swin_tiny_patch4_window7.pth',
    'upernet_swin_t_finetune': 'v1.0.1/upernet_swin_tiny_patch4_window7_512x512.pth',
}


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@cache
def on_meta(name: str) -> torch.nn.Module:
    """The model without memory or time for its weights."""
    cfg = parsed(name)
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        return MODELS.build(cfg.copy().model)


@pytest.fixture
def mmdet_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def test_the_list_of_configurations_is_complete() -> None:
    assert set(TWINS) == {path.stem for path in CONFIGS.glob('*_finetune.py')}


@pytest.mark.parametrize('name', list(TWINS))
def test_leaves_are_short_and_start_from_the_authors_detectors(name: str) -> None:
    assert len((CONFIGS / f'{name}.py').read_text().splitlines()) <= 20
    assert parsed(name).load_from == RELEASE + FILES[name]
    assert parsed(name).model.backbone.init_cfg is None, 'the classifier would be downloaded for nothing'


@pytest.mark.parametrize('name', list(TWINS))
def test_classes_are_said_once(name: str, tmp_path: Path) -> None:
    """Only the first lines of a copy are changed; heads, data sets and evaluators follow."""
    text = (CONFIGS / f'{name}.py').read_text()
    head, _, rest = text.partition('_base_ = ')
    lines = head.splitlines()
    changed = {
        'classes': "classes = ('a', 'b', 'c', 'd')",
        'palette': 'palette = [(1, 1, 1)] * 4',
        'data_root': "data_root = 'elsewhere/'",
    }
    lines = [changed.get(line.split(' =')[0], line) for line in lines]
    assert all(line in lines for line in changed.values())
    copy = tmp_path / 'copy.py'
    copy.write_text('\n'.join(lines) + '\n_base_ = ' + rest.replace("'_base_/", f"'{CONFIGS}/_base_/"))
    cfg = Config.fromfile(copy)
    others = {'others': NOT_SEGMENTING} if cfg.default_scope == 'mmseg' else {}
    heads = model_num_classes(cfg.model, **others)
    assert heads and set(heads.values()) == {4}
    assert '80' not in str(heads) and '150' not in str(heads)
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert tuple(dataset.metainfo.classes) == ('a', 'b', 'c', 'd') and len(dataset.metainfo.palette) == 4
        assert dataset.data_root == 'elsewhere/'
    if cfg.default_scope == 'mmdet':
        for split in ('val', 'test'):
            assert cfg[f'{split}_evaluator'].ann_file == 'elsewhere/' + cfg.val_dataloader.dataset.ann_file


@pytest.mark.parametrize('name', list(TWINS))
def test_only_the_layers_of_the_classes_differ_from_the_recipe(name: str) -> None:
    recipe, layers = TWINS[name]
    own, theirs = on_meta(name).state_dict(), on_meta(recipe).state_dict()
    assert list(own) == list(theirs)
    other = [key for key in own if own[key].shape != theirs[key].shape]
    assert other and all(any(f'{layer}.' in key for layer in layers) for key in other)
    assert all(any(f'{layer}.' in key for key in other) for layer in layers)


def test_a_checkpoint_with_other_classes_fills_the_rest(mmdet_scope: None) -> None:
    cfg = Config.fromfile(CONFIGS / 'mask_rcnn_swin_t_coco.py').model
    cfg.backbone.init_cfg = None
    theirs = MODELS.build(cfg)
    ours = MODELS.build(parsed('mask_rcnn_swin_t_finetune').copy().model)
    before = ours.roi_head.bbox_head.fc_cls.weight.clone()
    match = check_weights(ours, {'state_dict': theirs.state_dict()}, 'coco.pth', 'load')
    assert match.summary().endswith(
        '6 of another shape, which start anew (roi_head.bbox_head.fc_cls.weight/bias, '
        'roi_head.bbox_head.fc_reg.weight/bias, roi_head.mask_head.conv_logits.weight/bias)'
    )
    assert torch.equal(ours.backbone.patch_embed.proj.weight, theirs.backbone.patch_embed.proj.weight)
    assert torch.equal(ours.roi_head.bbox_head.shared_fcs[0].weight, theirs.roi_head.bbox_head.shared_fcs[0].weight)
    assert torch.equal(ours.roi_head.bbox_head.fc_cls.weight, before)
    # and what is no detector of this kind is refused still
    backbone_alone = {
        key.removeprefix('backbone.'): value
        for key, value in theirs.state_dict().items()
        if key.startswith('backbone.')
    }
    with pytest.raises(CheckpointError, match='perhaps it is a backbone alone'):
        check_weights(ours, backbone_alone, 'classifier.pth', 'load')
    heads_alone = {key: value for key, value in theirs.state_dict().items() if not key.startswith('backbone.')}
    with pytest.raises(CheckpointError, match=r'another\.pth is not for this model'):
        check_weights(ours, heads_alone, 'another.pth', 'load')


@pytest.mark.parametrize('name', list(TWINS))
def test_learning_rates_fall_towards_the_image_and_new_layers_learn_faster(name: str) -> None:
    cfg, model = parsed(name).copy(), on_meta(name)
    cfg.optim_wrapper.type = 'OptimWrapper'
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    assert cfg.auto_scale_lr == {'enable': True, 'base_batch_size': 16}
    groups = {id(group['params'][0]): group for group in wrapper.optimizer.param_groups}
    named = {key: groups[id(parameter)] for key, parameter in model.named_parameters()}
    new = [key for key in named if any(f'{layer}.' in key for layer in TWINS[name][1])]
    for key, group in named.items():
        if key in new:
            factor = 10.0
        elif key.startswith('backbone.patch_embed'):
            factor = 0.8**13
        elif key.startswith('backbone.layers.2.blocks.0.'):
            factor = 0.8 ** (13 - 5)
        elif not key.startswith('backbone.'):
            factor = 1.0
        else:
            continue
        assert group['lr'] == pytest.approx(1e-4 * factor), key
        without_decay = 'norm' in key or 'relative_position_bias_table' in key
        assert group['weight_decay'] == (0.0 if without_decay else pytest.approx(0.05)), key


@pytest.mark.parametrize('name', ['mask_rcnn_swin_t_finetune', 'upernet_swin_t_finetune'])
def test_schedule(name: str) -> None:
    """Warm-up over 100 iterations, then a cosine to a hundredth at the end."""
    cfg = parsed(name).copy()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    per_epoch = 30
    length = 36 * per_epoch if 'max_epochs' in cfg.train_cfg else 8000
    schedulers = []
    for entry in cfg.param_scheduler:
        kind = PARAM_SCHEDULERS.get(entry.pop('type'))
        converted = entry.pop('convert_to_iter_based', False)
        build = kind.build_iter_from_epoch if converted else kind
        schedulers.append(build(optimizer, **entry, **({'epoch_length': per_epoch} if converted else {})))
    rates = []
    for _ in range(length):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(0.01, rel=0.1)
    assert max(rates) > 0.95 and 90 <= int(np.argmax(rates)) <= 110
    assert rates[-1] == pytest.approx(0.01, abs=0.002)
    assert all(a >= b for a, b in zip(rates[110:], rates[111:], strict=False))


def _write_data(root: Path) -> None:
    rng = np.random.default_rng(0)
    (root / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        (root / split).mkdir()
        images, entries = [], []
        for number in range(1, 5):
            pixels = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
            pixels[10:30, 12:40] = (200, 40, 40) if number % 2 else (40, 40, 200)
            cv2.imwrite(str(root / split / f'{number}.jpg'), pixels)
            images.append({'id': number, 'file_name': f'{number}.jpg', 'width': 64, 'height': 48})
            corners = [12, 10, 40, 10, 40, 30, 12, 30]
            entries.append(
                {
                    'id': number,
                    'image_id': number,
                    'category_id': 7 + number % 2,
                    'iscrowd': 0,
                    'bbox': [12, 10, 28, 20],
                    'area': 560,
                    'segmentation': [corners],
                }
            )
        content = {
            'images': images,
            'annotations': entries,
            'categories': [{'id': 7, 'name': 'cat'}, {'id': 8, 'name': 'dog'}],
        }
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(content))


SMALL = """
_base_ = '{config}'
backbone = dict(arch=None, embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6), window_size=4)
model = dict(backbone=backbone, neck=dict(in_channels=[12, 24, 48, 96]),
             test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(max_per_img=5)))
resize = dict(type='Resize', scale=(64, 64), keep_ratio=True)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    pipeline=[resize if step.type == 'RandomChoice' else step for step in _base_.train_pipeline]))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    pipeline=[resize if step.type == 'Resize' else step for step in _base_.test_pipeline]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.mark.slow
def test_ones_own_data_through_the_tools(tmp_path: Path) -> None:
    _write_data(tmp_path / 'mine')
    config = tmp_path / 'small.py'
    config.write_text(SMALL.format(config=CONFIGS / 'mask_rcnn_swin_t_finetune.py'))
    cfg = Config.fromfile(config).model
    for head in (cfg.roi_head.bbox_head, cfg.roi_head.mask_head):
        head.num_classes = 80
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.save({'state_dict': MODELS.build(cfg).state_dict()}, tmp_path / 'coco.pth')
    environment = {
        **os.environ,
        'MMSWIN_DATA_DIR': str(tmp_path / 'mine'),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '-1',
        'PYTHONPATH': str(ROOT),
    }
    command = [sys.executable, ROOT / 'tools' / 'train.py', config, '--work-dir', 'w', '--load-from', 'coco.pth']
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    for text in (
        'CocoDataset: 4 images, 2 classes',
        'learning rate 1.25e-05 (auto_scale_lr: 0.0001 x 2 / 16)',
        '6 of another shape, which start anew (roi_head.bbox_head.fc_cls.weight/bias',
        'Layer-wise learning-rate decay 0.8',
        'coco/bbox_mAP',
    ):
        assert text in done.stdout, text
