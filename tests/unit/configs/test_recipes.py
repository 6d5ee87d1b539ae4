"""What recipes do: they build, have the paper's parameters, and their schedules, groups and pipelines are as published.

Which numbers each configuration holds is in golden/; here are the objects that mmengine builds from them.
"""

import copy
import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope

from mmswin.engine.testing import enable_tta

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
# Classifiers are built where mmpretrain is: tests/e2e/test_classify.py.
NAMES = sorted(
    path.stem
    for path in CONFIGS.glob('*.py')
    if not re.search('(in1k|in22k|256x256|384x384|flowers)$|cifar', path.stem)
)
RECIPES = [name for name in NAMES if name.endswith('_coco') or '_ade20k' in name]
ABLATIONS = ('no_shift', 'no_pos', 'abs_pos', 'abs_rel_pos', 'rel_pos_no_content')
# Published parameters in millions.
PARAMETERS = {
    'cascade_mask_rcnn_r50_coco': 82,
    'cascade_mask_rcnn_swin_t_coco': 86,
    'atss_r50_coco': 32,
    'atss_swin_t_coco': 36,
    'htc_plus_swin_b_coco': 160,
    'htc_plus_swin_l_coco': 284,
    'mask_reppointsv2_swin_t_coco': 47,
    'reppointsv2_r50_coco': 42,
    'reppointsv2_swin_t_coco': 45,
    'sparse_rcnn_r50_coco': 106,
    'sparse_rcnn_swin_t_coco': 110,
    'cascade_mask_rcnn_deit_s_coco': 80,
    'cascade_mask_rcnn_x101_32x4d_coco': 101,
    'cascade_mask_rcnn_swin_s_coco': 107,
    'cascade_mask_rcnn_x101_64x4d_coco': 140,
    'cascade_mask_rcnn_swin_b_coco': 145,
    'upernet_swin_t_ade20k': 60,
    'upernet_swin_s_ade20k': 81,
    'upernet_swin_b_ade20k': 121,
    'upernet_swin_b_in22k_ade20k_640x640': 121,
    'upernet_swin_l_in22k_ade20k_640x640': 234,
    'upernet_deit_s_ade20k': 52,
    'upernet_r101_ade20k': 86,
}
SHORT_SIDES = {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800}


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def scope_of(name: str) -> object:
    return DefaultScope.overwrite_default_scope(parsed(name).default_scope)


@cache
def model_of(name: str, abs_pos: bool = False) -> torch.nn.Module:
    """The model without memory or time for its weights."""
    cfg = copy.deepcopy(parsed(name).model)
    if abs_pos:
        cfg.backbone.use_abs_pos_embed = True
    with scope_of(name), torch.device('meta'):
        return MODELS.build(cfg)


def pipeline_of(name: str, loader: str) -> Compose:
    with scope_of(name):
        return Compose(parsed(name)[loader].dataset.pipeline)


@pytest.mark.parametrize('name', NAMES)
def test_maps_fit_the_heads(name: str) -> None:
    model = model_of(name).eval()
    maps = model.backbone(torch.empty(1, 3, 256, 256, device='meta'))
    if hasattr(model, 'decode_head'):
        classes = model.decode_head.num_classes
        assert model.decode_head(maps).shape == (1, classes, 64, 64)
        assert model.auxiliary_head(maps).shape == (1, classes, 16, 16)
        return
    first = getattr(model, 'rpn_head', None) or model.bbox_head
    if hasattr(first, 'prior_generator'):
        strides = [stride for stride, _ in first.prior_generator.strides]
    else:
        strides = model.roi_head.bbox_roi_extractor[0].featmap_strides
    assert [(256 // x.shape[2], 256 // x.shape[3]) for x in model.neck(maps)] == [(s, s) for s in strides]


@pytest.mark.parametrize('name', list(PARAMETERS))
def test_parameters_are_those_of_the_paper(name: str) -> None:
    assert sum(p.numel() for p in model_of(name).parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.5)


def test_leaves_are_short() -> None:
    lengths = {name: len((CONFIGS / f'{name}.py').read_text().splitlines()) for name in RECIPES}
    assert lengths and not {name: length for name, length in lengths.items() if length > 20}


@pytest.mark.parametrize('name', ['cascade_mask_rcnn_swin_t_coco', 'upernet_swin_b_in22k_ade20k_640x640'])
def test_a_written_configuration_reads_back_equal(name: str, tmp_path: Path) -> None:
    """What the Runner leaves in the work directory is the configuration."""
    parsed(name).dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == parsed(name).to_dict()


def test_every_ablation_has_its_configurations() -> None:
    for pattern in ('cascade_mask_rcnn_swin_t_{}_coco', 'upernet_swin_t_{}_ade20k'):
        assert {pattern.format(ablation) for ablation in ABLATIONS} <= set(RECIPES)
        for ablation in ABLATIONS:
            backbone = model_of(pattern.format(ablation)).backbone
            attention = backbone.layers[2].blocks[1].attn
            assert (attention.shift == (0, 0)) == (ablation == 'no_shift')
            assert (attention.relative_position_bias_table is None) == (ablation in ('no_pos', 'abs_pos'))
            assert (attention.scale == 0) == (ablation == 'rel_pos_no_content')
            assert (backbone.absolute_pos_embed is None) == (ablation not in ('abs_pos', 'abs_rel_pos'))


@pytest.mark.parametrize(
    ('name', 'theirs'),
    [
        ('atss_r50_coco', 'mmdet::atss/atss_r50_fpn_1x_coco.py'),
        ('sparse_rcnn_r50_coco', 'mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_300-proposals_crop-ms-480-800-3x_coco.py'),
    ],
)
def test_models_of_mmdetection_are_taken_unchanged(name: str, theirs: str) -> None:
    assert parsed(name).model.to_dict() == get_config(theirs).model.to_dict()


def test_r101_is_mmsegmentations() -> None:
    """The stem of three convolutions, nothing frozen, batch norms that are synchronised and train."""
    backbone = model_of('upernet_r101_ade20k').backbone
    backbone.train()
    assert (type(backbone).__name__, backbone.depth) == ('ResNetV1c', 101)
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert len(norms) > 100 and all(norm.training for norm in norms)


def test_r50_is_mmdetections() -> None:
    """The first stage frozen, batch norms with the statistics that they came with."""
    backbone = model_of('cascade_mask_rcnn_r50_coco').backbone
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.layer1.parameters())
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)


@pytest.mark.parametrize(
    ('name', 'rate', 'decay'),
    [
        ('cascade_mask_rcnn_swin_t_coco', 1e-4, 0.05),
        ('cascade_mask_rcnn_deit_s_coco', 1e-4, 0.05),
        ('upernet_swin_t_ade20k', 6e-5, 0.01),
        ('upernet_deit_s_ade20k', 6e-5, 0.01),
    ],
)
def test_norms_and_positions_have_no_weight_decay(name: str, rate: float, decay: float) -> None:
    model = model_of(name, abs_pos='swin' in name)
    wrapper = copy.deepcopy(parsed(name).optim_wrapper)
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert {(group['lr'], group['betas']) for group in optimizer.param_groups} == {(rate, (0.9, 0.999))}
    of = {group['params'][0]: group['weight_decay'] for group in optimizer.param_groups}
    without = ('absolute_pos_embed', 'relative_position_bias_table', 'norm', 'backbone.pos_embed', 'cls_token')
    for key, parameter in model.named_parameters():
        assert of[parameter] == (0 if any(word in key for word in without) else decay), key
    names = [key for key, parameter in model.named_parameters() if of[parameter] == 0]
    swin = ('absolute_pos_embed', 'norm3.bias', 'layers.2.blocks.1.attn.relative_position_bias_table')
    vit = ('pos_embed', 'cls_token', 'blocks.3.norm1.weight', 'norm.bias')
    assert {f'backbone.{key}' for key in (swin if 'swin' in name else vit)} <= set(names)


def rates_of(name: str, epochs: int, per_epoch: int, times_shorter: int = 1) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = []
    with scope_of(name):
        for one in copy.deepcopy(parsed(name).param_scheduler):
            if not one.by_epoch:
                one.update(begin=one.begin // times_shorter, end=one.end // times_shorter)
            schedulers.append(PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer)))
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
    return rates


@pytest.mark.parametrize(
    ('name', 'epochs', 'first', 'second'),
    [
        ('cascade_mask_rcnn_swin_t_1x_coco', 12, 8, 11),
        ('cascade_mask_rcnn_swin_t_coco', 36, 27, 33),
        ('htc_plus_swin_b_coco', 72, 63, 69),
    ],
)
def test_rates_of_detection(name: str, epochs: int, first: int, second: int) -> None:
    """Warm-up from a thousandth over 500 iterations, then two steps."""
    assert parsed(name).train_cfg.max_epochs == epochs
    rates = rates_of(name, epochs, per_epoch=600)
    assert rates[0] == pytest.approx(1e-3)
    assert rates[250] == pytest.approx(0.5, rel=5e-3)
    assert rates[498] < rates[500] == pytest.approx(1)
    assert [rates[600 * first + i] for i in (-1, 0)] == pytest.approx([1, 0.1])
    assert [rates[600 * second + i] for i in (-1, 0)] == pytest.approx([0.1, 0.01])
    assert rates[-1] == rates[600 * second]


def test_rates_of_segmentation() -> None:
    """Warm-up from 1e-6 of the rate over 1500 iterations, then a straight line to 0 at 160k; here ten times shorter."""
    assert parsed('upernet_swin_t_ade20k').train_cfg.max_iters == 160000
    rates = rates_of('upernet_swin_t_ade20k', 1, per_epoch=16000, times_shorter=10)
    assert rates[0] == pytest.approx(1e-6)
    assert rates[75] == pytest.approx(0.5, rel=2e-2)
    assert rates[148] < rates[150] == pytest.approx(1)
    for iteration in (150, 2000, 8000, 15900):
        assert rates[iteration] == pytest.approx((16000 - iteration) / (16000 - 150), rel=1e-2)
    assert 0 <= rates[-1] < 1e-3


def detection_sample(path: Path, masks: bool = True) -> dict:
    """What a dataset hands to the pipeline for an image of 640x480 with one object in the corner."""
    instance = {'bbox': [600, 450, 640, 480], 'bbox_label': 3, 'ignore_flag': 0}
    if masks:
        instance['mask'] = [[600, 450, 640, 450, 640, 480, 600, 480]]
    return {'img_path': str(path), 'img_id': 1, 'height': 480, 'width': 640, 'instances': [instance]}


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('pipeline') / 'image.jpg'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8))
    return path


def test_detection_resizes_or_crops_and_flips(image: Path) -> None:
    pipeline = pipeline_of('cascade_mask_rcnn_swin_t_coco', 'train_dataloader')
    np.random.seed(0)
    uncropped, flips, sides = 0, 0, set()
    for _ in range(80):
        packed = pipeline(detection_sample(image))
        height, width = packed['data_samples'].img_shape
        assert packed['inputs'].shape == (3, height, width)
        assert min(height, width) in SHORT_SIDES and max(height, width) <= 1333
        sides.add(min(height, width))
        flips += packed['data_samples'].flip
        uncropped += abs(width / height - 4 / 3) < 0.005
    assert sides == SHORT_SIDES
    # A crop has the proportions of the image only by accident; both branches and both mirrorings are equally likely.
    assert 25 < uncropped < 55 and 25 < flips < 55


def test_reppointsv2_is_trained_up_to_960_as_released_or_to_800_as_in_the_paper() -> None:
    sides = {
        name: [scale[0] for scale in parsed(name).train_dataloader.dataset.pipeline[3].scales]
        for name in ('reppointsv2_swin_t_coco', 'reppointsv2_r50_coco', 'reppointsv2_swin_t_480_800_coco')
    }
    released = sides.pop('reppointsv2_swin_t_coco')
    assert released == sides['reppointsv2_r50_coco'] == list(range(480, 961, 32)) and len(released) == 16
    assert set(sides['reppointsv2_swin_t_480_800_coco']) == SHORT_SIDES


def test_mask_reppointsv2_takes_any_side_from_480_to_960(image: Path) -> None:
    pipeline = pipeline_of('mask_reppointsv2_swin_t_coco', 'train_dataloader')
    np.random.seed(0)
    shapes = [pipeline(detection_sample(image))['data_samples'].img_shape for _ in range(30)]
    sides = {min(shape) for shape in shapes}
    assert 480 <= min(sides) < 560 and 880 < max(sides) <= 960 and len(sides) > 20


def test_crops_are_between_384_and_600_and_may_be_empty(image: Path) -> None:
    steps = parsed('cascade_mask_rcnn_swin_t_coco').train_dataloader.dataset.pipeline
    coarse, crop, _ = steps[3].transforms[1]
    with scope_of('cascade_mask_rcnn_swin_t_coco'):
        pipeline = Compose([*steps[:2], coarse, crop])
    np.random.seed(0)
    results = [pipeline(detection_sample(image)) for _ in range(100)]
    sides = [side for result in results for side in result['img'].shape[:2]]
    assert 384 <= min(sides) <= 390 and 590 <= max(sides) <= 600
    assert {len(result['gt_bboxes']) for result in results} == {0, 1}


def test_box_only_variants_load_no_masks(image: Path) -> None:
    pipeline = pipeline_of('cascade_rcnn_swin_t_coco', 'train_dataloader')
    assert 'masks' not in pipeline(detection_sample(image, masks=False))['data_samples'].gt_instances


@pytest.fixture(scope='module')
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the data set hands to the pipeline: an image of 340x256 with 0, 1 and 150 in three bands of its map."""
    folder = tmp_path_factory.mktemp('segmentation')
    cv2.imwrite(str(folder / 'image.jpg'), np.random.default_rng(0).integers(0, 255, (256, 340, 3), dtype=np.uint8))
    labels = np.zeros((256, 340), np.uint8)
    labels[:, 120:240], labels[:, 240:] = 1, 150
    cv2.imwrite(str(folder / 'map.png'), labels)
    paths = {'img_path': str(folder / 'image.jpg'), 'seg_map_path': str(folder / 'map.png')}
    return {**paths, 'label_map': None, 'reduce_zero_label': True, 'seg_fields': []}


@pytest.mark.parametrize(
    ('name', 'crop'), [('upernet_swin_t_ade20k', 512), ('upernet_swin_b_in22k_ade20k_640x640', 640)]
)
def test_segmentation_crops_flips_and_leaves_out_label_0(name: str, crop: int, labelled: dict) -> None:
    pipeline = pipeline_of(name, 'train_dataloader')
    resize = Compose(pipeline.transforms[:3])
    np.random.seed(0)
    sides, flips, values = [], 0, set()
    for _ in range(40):
        packed = pipeline(copy.deepcopy(labelled))
        labels = packed['data_samples'].gt_sem_seg.data
        height, width = packed['inputs'].shape[1:]
        assert labels.shape == (1, height, width) and max(height, width) <= crop
        flips += packed['data_samples'].flip
        values |= set(labels.unique().tolist())
        sides.append(min(resize(copy.deepcopy(labelled))['img'].shape[:2]) / crop)
    assert values == {255, 0, 149}
    assert 8 < flips < 32
    assert 0.5 <= min(sides) < 0.7 and 1.7 < max(sides) <= 2.0


def test_test_pipeline_keeps_the_labels_size(labelled: dict) -> None:
    packed = pipeline_of('upernet_swin_t_ade20k', 'test_dataloader')(copy.deepcopy(labelled))
    assert tuple(packed['inputs'].shape) == (3, 512, 680)
    assert tuple(packed['data_samples'].gt_sem_seg.data.shape) == (1, 256, 340)


@pytest.mark.parametrize(
    ('name', 'crop'), [('upernet_swin_t_ade20k', 512), ('upernet_swin_l_in22k_ade20k_640x640', 640)]
)
def test_multi_scale_testing_takes_multiples_of_the_training_scale(name: str, crop: int, labelled: dict) -> None:
    cfg = copy.deepcopy(parsed(name))
    with scope_of(name):
        enable_tta(cfg)
        packed = Compose(cfg.test_dataloader.dataset.pipeline)(copy.deepcopy(labelled))
    assert cfg.model.type == 'SegTTAModel' and cfg.model.module.type == 'EncoderDecoder'
    views = {
        (min(inputs.shape[1:]), sample.flip)
        for inputs, sample in zip(packed['inputs'], packed['data_samples'], strict=True)
    }
    ratios = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    assert views == {(int(crop * ratio), flip) for ratio in ratios for flip in (False, True)}
    assert {tuple(sample.gt_sem_seg.data.shape) for sample in packed['data_samples']} == {(1, 256, 340)}


@pytest.mark.parametrize('name', ['cascade_mask_rcnn_swin_t_coco', 'upernet_swin_t_ade20k'])
def test_red_is_normalised_as_red(name: str) -> None:
    """OpenCV loads blue, green, red; the mean and deviation of red are those of ImageNet's."""
    with scope_of(name):
        preprocessor = MODELS.build(parsed(name).model.data_preprocessor)
    red = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32)
    normalised = preprocessor({'inputs': [red], 'data_samples': None}, training=False)['inputs'][0, :, 0, 0]
    expected = (torch.tensor([255, 0, 0]) - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
        [58.395, 57.12, 57.375]
    )
    torch.testing.assert_close(normalised, expected)


def test_pretrained_files_and_data_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ('PRETRAINED', 'COCO', 'ADE'):
        monkeypatch.setenv(f'MMSWIN_{variable}_DIR', f'/{variable}')
    files = {
        'cascade_mask_rcnn_swin_b_coco': 'swin_base_patch4_window7_224',
        'atss_r50_coco': 'resnet50-0676ba61',
        'upernet_r101_ade20k': 'resnet101_v1c-e67eebb6',
        'cascade_mask_rcnn_x101_64x4d_coco': 'resnext101_64x4d-ee2c6f71',
        'upernet_deit_s_ade20k': 'deit_small_patch16_224-cd65a155',
        'upernet_swin_l_in22k_ade20k_640x640': 'swin_large_patch4_window7_224_22k',
    }
    for name, file in files.items():
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        assert cfg.model.backbone.init_cfg.checkpoint == f'/PRETRAINED/{file}.pth', name
        roots = {cfg[f'{split}_dataloader'].dataset.data_root.rstrip('/') for split in ('train', 'val', 'test')}
        assert roots == {'/ADE' if '_ade20k' in name else '/COCO'}
        if '_coco' in name:
            assert cfg.test_evaluator.ann_file == '/COCO/annotations/instances_val2017.json'
