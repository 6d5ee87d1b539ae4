"""Fine-tuning configurations: classes said once reach all that needs them, other classes leave the rest of a checkpoint.

Learning rates fall towards the image. A run on data of one's own is in tests/e2e/test_finetune.py.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope

from mmswin.checkpoints import CheckpointError
from mmswin.data.config_facts import NOT_SEGMENTING, model_num_classes
from mmswin.engine.preflight import check_weights

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
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


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@cache
def on_meta(name: str) -> torch.nn.Module:
    """The model without memory or time for its weights."""
    cfg = parsed(name)
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        return MODELS.build(cfg.copy().model)


def test_the_list_of_configurations_is_complete() -> None:
    assert set(TWINS) == {path.stem for path in CONFIGS.glob('*_finetune.py')}


def test_leaves_are_short() -> None:
    lengths = {name: len((CONFIGS / f'{name}.py').read_text().splitlines()) for name in TWINS}
    # Twenty and the list of their bases, which the formatter writes on five.
    assert not {name: length for name, length in lengths.items() if length > 25}


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
    for layer in TWINS['mask_rcnn_swin_t_finetune'][1]:
        assert layer in match.summary()
    assert torch.equal(ours.backbone.patch_embed.proj.weight, theirs.backbone.patch_embed.proj.weight)
    assert torch.equal(ours.roi_head.bbox_head.shared_fcs[0].weight, theirs.roi_head.bbox_head.shared_fcs[0].weight)
    assert torch.equal(ours.roi_head.bbox_head.fc_cls.weight, before)
    # and what is no detector of this kind is refused still
    backbone_alone = {
        key.removeprefix('backbone.'): value
        for key, value in theirs.state_dict().items()
        if key.startswith('backbone.')
    }
    with pytest.raises(CheckpointError, match='backbone'):
        check_weights(ours, backbone_alone, 'classifier.pth', 'load')
    heads_alone = {key: value for key, value in theirs.state_dict().items() if not key.startswith('backbone.')}
    with pytest.raises(CheckpointError, match=r'another\.pth'):
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
