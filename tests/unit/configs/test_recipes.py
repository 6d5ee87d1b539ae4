"""Every configuration parses, builds, and holds the numbers of the published recipes.

The tables below restate the recipes; whatever a configuration inherits from mmdetection is checked in its final form,
on the objects that mmengine builds from it (optimizer, schedule, pipeline) where there are any. What the rows of the
paper's tables 2a, 2b and 4 add, other detectors, backbones and ablations, is in test_table_rows.py.
"""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
# Segmentation has tests of its own.
LEAVES = sorted(path.stem for path in CONFIGS.glob('*.py') if 'upernet' not in path.stem)
RELEASES = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'


class Recipe(NamedTuple):
    """Variant of Swin or other backbone, stochastic depth, and what differs from the 3x recipe with masks."""

    arch: str
    drop_path: float | None = None
    epochs: int = 36
    milestones: tuple[int, int] = (27, 33)
    masks: bool = True
    crops: bool = True


SWINS = {
    'cascade_mask_rcnn_swin_t_coco': Recipe('tiny', 0.2),
    'cascade_mask_rcnn_swin_s_coco': Recipe('small', 0.2),
    'cascade_mask_rcnn_swin_b_coco': Recipe('base', 0.3),
    'cascade_mask_rcnn_swin_t_1x_coco': Recipe('tiny', 0.0, 12, (8, 11)),
    'mask_rcnn_swin_t_1x_coco': Recipe('tiny', 0.1, 12, (8, 11)),
    'mask_rcnn_swin_t_coco': Recipe('tiny', 0.2),
    'mask_rcnn_swin_s_coco': Recipe('small', 0.2),
    'cascade_rcnn_swin_t_coco': Recipe('tiny', 0.2, masks=False),
    'faster_rcnn_swin_t_coco': Recipe('tiny', 0.2, masks=False),
    'atss_swin_t_coco': Recipe('tiny', 0.2, masks=False, crops=False),
    'sparse_rcnn_swin_t_coco': Recipe('tiny', 0.2, masks=False, crops=False),
    **{
        f'cascade_mask_rcnn_swin_t_{ablation}_coco': Recipe('tiny', 0.2)
        for ablation in ('no_shift', 'no_pos', 'abs_pos', 'abs_rel_pos', 'rel_pos_no_content')
    },
}
RECIPES = {
    **SWINS,
    'cascade_mask_rcnn_deit_s_coco': Recipe('deit-small', 0.2),
    'cascade_mask_rcnn_r50_coco': Recipe('r50'),
    'cascade_mask_rcnn_x101_32x4d_coco': Recipe('x101-32x4d'),
    'cascade_mask_rcnn_x101_64x4d_coco': Recipe('x101-64x4d'),
    'atss_r50_coco': Recipe('r50', masks=False, crops=False),
    'sparse_rcnn_r50_coco': Recipe('r50', masks=False, crops=False),
}
# Published parameters in millions.
PARAMETERS = {
    'cascade_mask_rcnn_r50_coco': 82,
    'cascade_mask_rcnn_swin_t_coco': 86,
    'atss_r50_coco': 32,
    'atss_swin_t_coco': 36,
    'sparse_rcnn_r50_coco': 106,
    'sparse_rcnn_swin_t_coco': 110,
    'cascade_mask_rcnn_deit_s_coco': 80,
    'cascade_mask_rcnn_x101_32x4d_coco': 101,
    'cascade_mask_rcnn_swin_s_coco': 107,
    'cascade_mask_rcnn_x101_64x4d_coco': 140,
    'cascade_mask_rcnn_swin_b_coco': 145,
}
CASCADES = [name for name in RECIPES if name.startswith('cascade')]
TWINS = {
    'cascade_rcnn_swin_t_coco': 'cascade_mask_rcnn_swin_t_coco',
    'faster_rcnn_swin_t_coco': 'mask_rcnn_swin_t_coco',
}
CHANNELS = {'tiny': [96, 192, 384, 768], 'small': [96, 192, 384, 768], 'base': [128, 256, 512, 1024]}
SHORT_SIDES = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]


@pytest.fixture(autouse=True)
def mmdet_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def load(name: str) -> Config:
    return copy.deepcopy(parsed(name))


def build_on_meta(cfg: Config) -> torch.nn.Module:
    """The model without memory or time for its weights."""
    with torch.device('meta'):
        return MODELS.build(cfg.model)


@cache
def model_of(name: str) -> torch.nn.Module:
    return build_on_meta(load(name))


def test_the_list_of_configurations_is_complete() -> None:
    assert LEAVES
    assert not set(RECIPES) - set(LEAVES)
    others = [name for name in LEAVES if name.endswith('_coco') and name not in RECIPES]
    assert not others, f'state the recipe of {others} in RECIPES'


@pytest.mark.parametrize('name', LEAVES)
def test_every_configuration_parses_and_builds(name: str) -> None:
    """And its neck takes the backbone's maps, to give those that the first head expects."""
    model = model_of(name).eval()
    maps = model.neck(model.backbone(torch.empty(1, 3, 256, 256, device='meta')))
    first = getattr(model, 'rpn_head', None) or model.bbox_head
    if hasattr(first, 'prior_generator'):
        strides = [stride for stride, _ in first.prior_generator.strides]
    else:
        strides = model.roi_head.bbox_roi_extractor[0].featmap_strides
    assert [(256 // feature.shape[2], 256 // feature.shape[3]) for feature in maps] == [(s, s) for s in strides]


def test_a_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    """What the Runner leaves in the work directory is the configuration."""
    cfg = load('cascade_mask_rcnn_swin_t_coco')
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', list(RECIPES))
def test_leaves_are_short(name: str) -> None:
    assert len((CONFIGS / f'{name}.py').read_text().splitlines()) <= 20


@pytest.mark.parametrize('name', list(PARAMETERS))
def test_parameters_are_those_of_the_paper(name: str) -> None:
    assert sum(p.numel() for p in model_of(name).parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.5)


@pytest.mark.parametrize('name', list(RECIPES))
def test_normalisation_of_images(name: str) -> None:
    cfg = load(name)
    assert cfg.default_scope == 'mmdet'
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    np.testing.assert_allclose(preprocessor.mean.flatten(), [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(preprocessor.std.flatten(), [58.395, 57.12, 57.375], rtol=1e-6)
    assert preprocessor._channel_conversion and preprocessor.pad_size_divisor == 32
    assert model_of(name).with_mask == RECIPES[name].masks


@pytest.mark.parametrize('name', list(SWINS))
def test_backbone_numbers(name: str) -> None:
    arch, drop_path = RECIPES[name].arch, RECIPES[name].drop_path
    cfg = load(name)
    assert cfg.model.backbone.type == 'mmswin.SwinTransformer'
    assert (cfg.model.backbone.arch, cfg.model.backbone.drop_path_rate) == (arch, drop_path)
    assert cfg.model.backbone.init_cfg == {
        'type': 'Pretrained',
        'checkpoint': f'{RELEASES}swin_{arch}_patch4_window7_224.pth',
    }
    backbone = model_of(name).backbone
    assert cfg.model.neck.in_channels == [CHANNELS[arch][i] for i in backbone.out_indices]
    drops = [block.drop_path for stage in backbone.layers for block in stage.blocks]
    np.testing.assert_allclose(drops, np.linspace(0, drop_path, len(drops)), atol=1e-6)


@pytest.mark.parametrize('name', CASCADES)
def test_cascade_heads(name: str) -> None:
    head = model_of(name).roi_head
    stds = [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)]
    assert head.stage_loss_weights == [1, 0.5, 0.25]
    assert [stage.assigner.pos_iou_thr for stage in load(name).model.train_cfg.rcnn] == [0.5, 0.6, 0.7]
    assert len(head.bbox_head) == 3
    for box_head, (centre, size) in zip(head.bbox_head, stds, strict=True):
        assert len(box_head.shared_convs) == 4 and len(box_head.shared_fcs) == 1
        for conv in box_head.shared_convs:
            assert conv.conv.kernel_size == (3, 3) and conv.conv.out_channels == 256
            assert isinstance(conv.norm, torch.nn.SyncBatchNorm)
        assert box_head.shared_fcs[0].out_features == 1024
        assert box_head.fc_reg.out_features == 4 * 80 and box_head.fc_cls.out_features == 81
        assert box_head.reg_decoded_bbox and not box_head.reg_class_agnostic
        assert type(box_head.loss_bbox).__name__ == 'GIoULoss' and box_head.loss_bbox.loss_weight == 10
        assert type(box_head.loss_cls).__name__ == 'CrossEntropyLoss' and box_head.loss_cls.loss_weight == 1
        assert not box_head.loss_cls.use_sigmoid
        assert tuple(box_head.bbox_coder.stds) == (centre, centre, size, size)


@pytest.mark.parametrize('name', list(RECIPES))
def test_optimizer_parameter_groups(name: str) -> None:
    cfg = load(name)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert 'clip_grad' not in cfg.optim_wrapper
    if name != 'cascade_mask_rcnn_swin_t_coco':
        # Same rules on other blocks and heads: the names are what matters, and here are all of Swin's.
        assert cfg.optim_wrapper == parsed('cascade_mask_rcnn_swin_t_coco').optim_wrapper
        return
    cfg.model.backbone.use_abs_pos_embed = True
    model = build_on_meta(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    decay = {group['params'][0]: group['weight_decay'] for group in optimizer.param_groups}
    assert {group['lr'] for group in optimizer.param_groups} == {1e-4}
    assert {group['betas'] for group in optimizer.param_groups} == {(0.9, 0.999)}
    for parameter_name, parameter in model.named_parameters():
        without = ('absolute_pos_embed', 'relative_position_bias_table', 'norm')
        expected = 0.0 if any(word in parameter_name for word in without) else 0.05
        assert decay[parameter] == expected, parameter_name
    names = [parameter_name for parameter_name, parameter in model.named_parameters() if decay[parameter] == 0]
    for example in (
        'backbone.absolute_pos_embed',
        'backbone.patch_embed.norm.weight',
        'backbone.norm3.bias',
        'backbone.layers.1.blocks.0.attn.relative_position_bias_table',
        'backbone.layers.0.blocks.1.norm2.bias',
        'backbone.layers.2.downsample.norm.weight',
    ):
        assert example in names
    assert 'backbone.layers.0.blocks.0.mlp.fc1.weight' not in names and 'neck.lateral_convs.0.conv.weight' not in names


@pytest.mark.parametrize('name', list(RECIPES))
def test_schedule(name: str) -> None:
    _, _, epochs, milestones, _, _ = RECIPES[name]
    cfg = load(name)
    assert cfg.train_cfg.max_epochs == epochs and cfg.train_cfg.val_interval == 1

    per_epoch = 600
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedulers = [PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer)) for one in cfg.param_scheduler]
    rates = []
    for _ in range(epochs):
        for _ in range(per_epoch):
            rates.append(optimizer.param_groups[0]['lr'])
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    first, second = (milestone * per_epoch for milestone in milestones)
    assert rates[0] == pytest.approx(1e-7)
    assert rates[250] == pytest.approx(1e-4 * (0.001 + 0.999 / 2), rel=5e-3)
    assert rates[498] < rates[500] == pytest.approx(1e-4)
    assert rates[first - 1] == pytest.approx(1e-4) and rates[first] == pytest.approx(1e-5)
    assert rates[second - 1] == pytest.approx(1e-5) and rates[second] == rates[-1] == pytest.approx(1e-6)


@pytest.mark.parametrize('name', list(RECIPES))
def test_data_and_runtime(name: str) -> None:
    masks = RECIPES[name].masks
    cfg = load(name)
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.auto_scale_lr == {'enable': False, 'base_batch_size': 16}
    for loader, part in (
        (cfg.train_dataloader, 'train2017'),
        (cfg.val_dataloader, 'val2017'),
        (cfg.test_dataloader, 'val2017'),
    ):
        dataset = loader.dataset
        assert (dataset.type, dataset.data_root) == ('CocoDataset', 'data/coco/')
        assert dataset.ann_file == f'annotations/instances_{part}.json'
        assert dataset.data_prefix.img == f'{part}/'
        annotations = next(step for step in dataset.pipeline if step.type == 'LoadAnnotations')
        assert annotations.with_bbox and annotations.get('with_mask', False) == masks
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == 'data/coco/annotations/instances_val2017.json'
    assert cfg.val_evaluator.metric == cfg.test_evaluator.metric == (['bbox', 'segm'] if masks else 'bbox')
    assert [hook.type for hook in cfg.custom_hooks] == ['mmswin.RunBannerHook', 'mmswin.NonFiniteLossHook']
    checkpoint = cfg.default_hooks.checkpoint
    assert checkpoint.max_keep_ckpts == 3 and checkpoint.save_best == 'coco/bbox_mAP' and checkpoint.rule == 'greater'


@pytest.mark.parametrize('name', list(RECIPES))
def test_augmentation_numbers(name: str) -> None:
    cfg = load(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    crops = RECIPES[name].crops
    assert [step.type for step in pipeline] == [
        'mmswin.LoadImageFromFile',
        'LoadAnnotations',
        'RandomFlip',
        'RandomChoice' if crops else 'RandomChoiceResize',
        'PackDetInputs',
    ]
    assert pipeline[0].max_bad_fraction == 0.01
    assert pipeline[2].prob == 0.5
    full = {'type': 'RandomChoiceResize', 'scales': [(side, 1333) for side in SHORT_SIDES], 'keep_ratio': True}
    if crops:
        check_crops(pipeline[3], full)
    else:
        assert pipeline[3].to_dict() == full
    test = cfg.test_dataloader.dataset.pipeline
    assert [step.type for step in test] == ['mmswin.LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs']
    assert test[0].max_bad_fraction == 0
    assert test[1].scale == (1333, 800) and test[1].keep_ratio


def check_crops(choice: ConfigDict, full: dict) -> None:
    assert 'prob' not in choice and len(choice.transforms) == 2
    (resize,), (coarse, crop, fine) = choice.transforms
    assert resize.to_dict() == full and fine.to_dict() == full
    assert coarse.scales == [(400, 1333), (500, 1333), (600, 1333)] and coarse.keep_ratio
    assert crop.to_dict() == {
        'type': 'RandomCrop',
        'crop_type': 'absolute_range',
        'crop_size': (384, 600),
        'allow_negative_crop': True,
    }


def sample(path: Path) -> dict:
    """What a dataset hands to the pipeline for an image of 640x480 with one object in the corner."""
    instance = {
        'bbox': [600, 450, 640, 480],
        'bbox_label': 3,
        'ignore_flag': 0,
        'mask': [[600, 450, 640, 450, 640, 480, 600, 480]],
    }
    return {'img_path': str(path), 'img_id': 1, 'height': 480, 'width': 640, 'instances': [instance]}


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('pipeline') / 'image.jpg'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8))
    return path


def test_augmentation_runs_and_keeps_to_the_legal_sizes(image: Path) -> None:
    pipeline = Compose(load('cascade_mask_rcnn_swin_t_coco').train_dataloader.dataset.pipeline)
    np.random.seed(0)
    whole, cropped, flips, sides = 0, 0, 0, set()
    for _ in range(120):
        packed = pipeline(sample(image))
        height, width = packed['data_samples'].img_shape
        assert packed['inputs'].shape == (3, height, width)
        assert min(height, width) in SHORT_SIDES and max(height, width) <= 1333
        sides.add(min(height, width))
        flips += packed['data_samples'].flip
        if abs(width / height - 4 / 3) < 0.005:
            whole += 1
        else:
            cropped += 1
    assert sides == set(SHORT_SIDES)
    # A crop has the proportions of the image only by accident; both branches and both mirrorings are equally likely.
    assert 40 < whole < 80 and 40 < cropped < 80 and 40 < flips < 80


def test_crops_are_between_384_and_600_and_may_be_empty(image: Path) -> None:
    steps = load('cascade_mask_rcnn_swin_t_coco').train_dataloader.dataset.pipeline
    coarse, crop, _ = steps[3].transforms[1]
    pipeline = Compose([*steps[:2], coarse, crop])
    np.random.seed(0)
    heights, widths, objects = [], [], set()
    for _ in range(100):
        result = pipeline(sample(image))
        heights.append(result['img'].shape[0])
        widths.append(result['img'].shape[1])
        objects.add(len(result['gt_bboxes']))
    assert 384 <= min(heights + widths) <= 390 and 590 <= max(heights + widths) <= 600
    assert objects == {0, 1}


@pytest.mark.parametrize(('box_only', 'masked'), TWINS.items())
def test_twins_without_masks_stay_in_step(box_only: str, masked: str) -> None:
    expected, found = load(masked).to_dict(), load(box_only).to_dict()
    for cfg in (expected, found):
        cfg['model'].pop('type')
        cfg['model']['data_preprocessor'].pop('pad_mask')
        cfg['model']['roi_head'].pop('mask_head')
        cfg['model']['roi_head'].pop('mask_roi_extractor')
        for helper in ('train_pipeline', 'test_pipeline', 'boxes'):
            cfg.pop(helper, None)
        for split in ('train', 'val', 'test'):
            for step in cfg[f'{split}_dataloader']['dataset']['pipeline']:
                if step['type'] == 'LoadAnnotations':
                    step.pop('with_mask', None)
                    step.pop('_scope_', None)
        for split in ('val', 'test'):
            cfg[f'{split}_evaluator'].pop('metric')
    assert found == expected


def test_twins_load_no_masks(image: Path) -> None:
    cfg = load('cascade_rcnn_swin_t_coco')
    boxes_alone = sample(image)
    boxes_alone['instances'][0].pop('mask')
    packed = Compose(cfg.train_dataloader.dataset.pipeline)(boxes_alone)
    assert 'masks' not in packed['data_samples'].gt_instances


def test_pretrained_files_and_data_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMSWIN_PRETRAINED_DIR', '/cache/swin')
    monkeypatch.setenv('MMSWIN_COCO_DIR', '/data/coco2017')
    cfg = Config.fromfile(CONFIGS / 'cascade_mask_rcnn_swin_b_coco.py')
    assert cfg.model.backbone.init_cfg.checkpoint == '/cache/swin/swin_base_patch4_window7_224.pth'
    assert {cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')} == {'/data/coco2017/'}
    assert cfg.test_evaluator.ann_file == '/data/coco2017/annotations/instances_val2017.json'
    cfg.merge_from_dict({'model.backbone.init_cfg.checkpoint': 'mine.pth', 'model.roi_head.bbox_head.0.num_classes': 3})
    assert cfg.model.backbone.init_cfg.checkpoint == 'mine.pth'
    assert cfg.model.roi_head.bbox_head[0].num_classes == 3


@pytest.mark.slow
@pytest.mark.parametrize('name', list(TWINS))
def test_box_only_twin_trains_on_boxes_alone(name: str, tmp_path: Path) -> None:
    """Two iterations through mmengine's Runner on a CPU, from the recipe as it is (SyncBN, mixed precision, hooks)."""
    images = [{'id': number, 'file_name': f'{number}.jpg', 'width': 96, 'height': 80} for number in range(4)]
    for entry in images:
        cv2.imwrite(str(tmp_path / entry['file_name']), np.full((80, 96, 3), 99, dtype=np.uint8))
    annotations = [
        {'id': number, 'image_id': number, 'category_id': 1, 'bbox': [10, 10, 50, 40], 'area': 2000}
        for number in range(4)
    ]
    cfg = load(name)
    names = build_classes()
    categories = [{'id': number + 1, 'name': label} for number, label in enumerate(names)]
    (tmp_path / 'boxes.json').write_text(
        json.dumps({'images': images, 'annotations': annotations, 'categories': categories})
    )
    # The recipe's 512 regions in each box stage take minutes on a CPU.
    cfg.model.train_cfg.rpn_proposal.max_per_img = 50
    rcnn = cfg.model.train_cfg.rcnn
    for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
        stage.sampler.num = 16
    small = [
        dict(step, scale=(96, 96)) if step.type == 'Resize' else step for step in cfg.test_dataloader.dataset.pipeline
    ]
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path / 'work'),
            'model.backbone.init_cfg': None,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.data_root': str(tmp_path),
            'train_dataloader.dataset.ann_file': 'boxes.json',
            'train_dataloader.dataset.data_prefix.img': '',
            'train_cfg.max_epochs': 1,
        }
    )
    cfg.train_dataloader.dataset.pipeline = small
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.log_level = 'ERROR'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()


def build_classes() -> list[str]:
    from mmdet.datasets import CocoDataset

    return list(CocoDataset.METAINFO['classes'])
