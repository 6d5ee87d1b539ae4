"""The ADE20K configurations parse, build, and hold the numbers of the published recipe and of the paper's table 3.

As for detection, the numbers are checked in their final form, on the objects that mmengine builds.
"""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope

from mmswin.engine.testing import enable_tta

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
RELEASES = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
# Configuration: variant, classifier, crop, published parameters in millions.
RECIPES = {
    'upernet_swin_t_ade20k': ('tiny', 'swin_tiny_patch4_window7_224', 512, 60),
    'upernet_swin_s_ade20k': ('small', 'swin_small_patch4_window7_224', 512, 81),
    'upernet_swin_b_ade20k': ('base', 'swin_base_patch4_window7_224', 512, 121),
    'upernet_swin_b_in22k_ade20k_640x640': ('base', 'swin_base_patch4_window7_224_22k', 640, 121),
    'upernet_swin_l_in22k_ade20k_640x640': ('large', 'swin_large_patch4_window7_224_22k', 640, 234),
    # Of these the paper does not give the parameters; test_table_rows.py says how they differ from Swin-T.
    **{
        f'upernet_swin_t_{ablation}_ade20k': ('tiny', 'swin_tiny_patch4_window7_224', 512, None)
        for ablation in ('no_shift', 'no_pos', 'abs_pos', 'abs_rel_pos', 'rel_pos_no_content')
    },
}
SWINS = list(RECIPES)
RECIPES |= {'upernet_deit_s_ade20k': ('deit-small', None, 512, 52), 'upernet_r101_ade20k': ('r101', None, 512, 86)}
NAMES = list(RECIPES)
# Trained as mmsegmentation does, since the paper quotes its figure.
SGD = 'upernet_r101_ade20k'
CHANNELS = {
    'tiny': [96, 192, 384, 768],
    'small': [96, 192, 384, 768],
    'base': [128, 256, 512, 1024],
    'large': [192, 384, 768, 1536],
    'deit-small': [384] * 4,
    'r101': [256, 512, 1024, 2048],
}
DEPTHS = {'tiny': [2, 2, 6, 2], 'small': [2, 2, 18, 2], 'base': [2, 2, 18, 2], 'large': [2, 2, 18, 2]}
RATIOS = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


@pytest.fixture(autouse=True)
def mmseg_scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope('mmseg'):
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
    assert set(NAMES) == {path.stem for path in CONFIGS.glob('*_ade20k*.py')}, 'state the recipe of each in RECIPES'


@pytest.mark.parametrize('name', NAMES)
def test_every_configuration_parses_and_builds(name: str) -> None:
    assert len((CONFIGS / f'{name}.py').read_text().splitlines()) <= 20
    model = model_of(name)
    assert type(model).__name__ == 'EncoderDecoder' and load(name).default_scope == 'mmseg'
    maps = model.backbone(torch.empty(2, 3, 256, 256, device='meta'))
    assert model.decode_head(maps).shape == (2, 150, 64, 64) and model.auxiliary_head(maps).shape == (2, 150, 16, 16)


def test_a_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    cfg = load('upernet_swin_b_in22k_ade20k_640x640')
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', [name for name in NAMES if RECIPES[name][-1]])
def test_parameters_are_those_of_the_paper(name: str) -> None:
    millions = sum(parameter.numel() for parameter in model_of(name).parameters()) / 1e6
    assert millions == pytest.approx(RECIPES[name][-1], abs=0.5)


@pytest.mark.parametrize('name', SWINS)
def test_backbone_numbers(name: str) -> None:
    arch, classifier, _, _ = RECIPES[name]
    cfg, backbone = load(name), model_of(name).backbone
    assert cfg.model.backbone.init_cfg == {'type': 'Pretrained', 'checkpoint': f'{RELEASES}{classifier}.pth'}
    assert backbone.num_features == CHANNELS[arch]
    assert [len(stage.blocks) for stage in backbone.layers] == DEPTHS[arch]
    assert tuple(backbone.window_size) == (7, 7)
    drops = [block.drop_path for stage in backbone.layers for block in stage.blocks]
    np.testing.assert_allclose(drops, np.linspace(0, 0.3, len(drops)), atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_normalisation_of_images(name: str) -> None:
    crop = RECIPES[name][2]
    preprocessor = MODELS.build(load(name).model.data_preprocessor)
    np.testing.assert_allclose(preprocessor.mean.flatten(), [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(preprocessor.std.flatten(), [58.395, 57.12, 57.375], rtol=1e-6)
    red = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1)  # as OpenCV loads it
    normalised = preprocessor({'inputs': [red]}, training=False)['inputs'].flatten()
    assert normalised.argmax() == 0 and normalised[0].item() == pytest.approx((255 - 123.675) / 58.395, rel=1e-5)
    assert (preprocessor.size, preprocessor.pad_val, preprocessor.seg_pad_val) == ((crop, crop), 0, 255)


@pytest.mark.parametrize('name', NAMES)
def test_heads(name: str) -> None:
    channels = CHANNELS[RECIPES[name][0]]
    model = model_of(name)
    head, aux = model.decode_head, model.auxiliary_head
    assert (type(head).__name__, type(aux).__name__) == ('UPerHead', 'FCNHead')
    assert list(head.in_channels) == channels and list(head.in_index) == [0, 1, 2, 3] and head.channels == 512
    assert [pool[0].output_size for pool in head.psp_modules] == [1, 2, 3, 6]
    assert (aux.in_channels, aux.in_index, aux.channels, len(aux.convs)) == (channels[2], 2, 256, 1)
    assert not aux.concat_input
    for one, weight in ((head, 1.0), (aux, 0.4)):
        assert one.num_classes == one.conv_seg.out_channels == 150
        assert one.dropout_ratio == 0.1 and one.ignore_index == 255 and not one.align_corners
        assert type(one.loss_decode).__name__ == 'CrossEntropyLoss' and one.loss_decode.loss_weight == weight
        norms = [module for module in one.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        assert norms and all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    assert load(name).model.test_cfg.mode == 'whole'


@pytest.mark.parametrize('name', NAMES)
def test_optimizer_parameter_groups(name: str) -> None:
    cfg = load(name)
    assert cfg.optim_wrapper.type == 'OptimWrapper' and 'clip_grad' not in cfg.optim_wrapper
    assert cfg.auto_scale_lr == {'enable': False, 'base_batch_size': 16}
    if name not in ('upernet_swin_t_ade20k', SGD):
        # Same rules on other backbones: the names are what matters, and here are all of Swin's.
        assert cfg.optim_wrapper == parsed('upernet_swin_t_ade20k').optim_wrapper
        return
    if name == SGD:
        optimizer = build_optim_wrapper(build_on_meta(cfg), cfg.optim_wrapper).optimizer
        assert type(optimizer) is torch.optim.SGD
        assert optimizer.defaults['lr'] == 0.01 and optimizer.defaults['momentum'] == 0.9
        assert {group['weight_decay'] for group in optimizer.param_groups} == {0.0005}
        return
    cfg.model.backbone.use_abs_pos_embed = True
    model = build_on_meta(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert {group['lr'] for group in optimizer.param_groups} == {6e-5}
    assert {group['betas'] for group in optimizer.param_groups} == {(0.9, 0.999)}
    decay = {group['params'][0]: group['weight_decay'] for group in optimizer.param_groups}
    for parameter_name, parameter in model.named_parameters():
        without = ('absolute_pos_embed', 'relative_position_bias_table', 'norm')
        expected = 0.0 if any(word in parameter_name for word in without) else 0.01
        assert decay[parameter] == expected, parameter_name
    named = dict(model.named_parameters())
    for example in (
        'backbone.absolute_pos_embed',
        'backbone.norm3.bias',
        'backbone.layers.1.blocks.0.attn.relative_position_bias_table',
    ):
        assert decay[named[example]] == 0.0
    assert decay[named['decode_head.conv_seg.weight']] == 0.01


@pytest.mark.parametrize('name', NAMES)
def test_schedule(name: str) -> None:
    """Warm-up from 1e-6 of the rate over 1500 iterations, then a straight line to 0 at 160k."""
    cfg = load(name)
    assert cfg.train_cfg.to_dict() == {'type': 'IterBasedTrainLoop', 'max_iters': 160000, 'val_interval': 16000}
    if name == SGD:
        assert [one.to_dict() for one in cfg.param_scheduler] == [
            {'type': 'PolyLR', 'power': 0.9, 'eta_min': 1e-4, 'by_epoch': False, 'begin': 0, 'end': 160000}
        ]
        return
    if name != 'upernet_swin_t_ade20k':
        assert cfg.param_scheduler == load('upernet_swin_t_ade20k').param_scheduler
        return
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=6e-5)
    schedulers = [PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer)) for one in cfg.param_scheduler]
    assert not any(scheduler.by_epoch for scheduler in schedulers)
    rates = []
    for _ in range(160000):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(6e-11)
    assert rates[750] == pytest.approx(3e-5, rel=5e-3)
    assert rates[1498] < rates[1500] == pytest.approx(6e-5)
    for iteration in (1500, 20000, 80000, 159000):
        assert rates[iteration] == pytest.approx(6e-5 * (160000 - iteration) / (160000 - 1500), rel=1e-3)
    assert 0 <= optimizer.param_groups[0]['lr'] <= rates[-1] < 1e-9


@pytest.mark.parametrize('name', NAMES)
def test_data_and_runtime(name: str) -> None:
    cfg = load(name)
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.train_dataloader.sampler.type == 'InfiniteSampler' and cfg.train_dataloader.sampler.shuffle
    for loader, part in (
        (cfg.train_dataloader, 'training'),
        (cfg.val_dataloader, 'validation'),
        (cfg.test_dataloader, 'validation'),
    ):
        dataset = loader.dataset
        assert (dataset.type, dataset.data_root) == ('ADE20KDataset', 'data/ade/ADEChallengeData2016')
        assert dataset.data_prefix == {'img_path': f'images/{part}', 'seg_map_path': f'annotations/{part}'}
        assert 'reduce_zero_label' not in dataset, 'the class sets it'
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'IoUMetric'
    assert cfg.test_evaluator.iou_metrics == ['mIoU']
    assert [hook.type for hook in cfg.custom_hooks] == ['mmswin.RunBannerHook', 'mmswin.NonFiniteLossHook']
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval, checkpoint.max_keep_ckpts) == (False, 16000, 3)
    assert (checkpoint.save_best, checkpoint.rule) == ('mIoU', 'greater')


@pytest.mark.parametrize('name', NAMES)
def test_pipeline_numbers(name: str) -> None:
    crop = RECIPES[name][2]
    scale = (4 * crop, crop)
    cfg = load(name)
    train = [step.to_dict() for step in cfg.train_dataloader.dataset.pipeline]
    assert train == [
        {'type': 'mmswin.LoadImageFromFile', 'max_bad_fraction': 0.01},
        {'type': 'LoadAnnotations'},
        {'type': 'RandomResize', 'scale': scale, 'ratio_range': (0.5, 2.0), 'keep_ratio': True},
        {'type': 'RandomCrop', 'crop_size': (crop, crop), 'cat_max_ratio': 0.75},
        {'type': 'RandomFlip', 'prob': 0.5},
        {'type': 'PhotoMetricDistortion'},
        {'type': 'PackSegInputs'},
    ]
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert [step.to_dict() for step in loader.dataset.pipeline] == [
            {'type': 'mmswin.LoadImageFromFile', 'max_bad_fraction': 0.0},
            {'type': 'Resize', 'scale': scale, 'keep_ratio': True},
            {'type': 'LoadAnnotations'},
            {'type': 'PackSegInputs'},
        ]


class Files:
    """An image of 340x256, smaller than any scale, with its label map: 0, 1 and 150 in three bands."""

    def __init__(self, root: Path) -> None:
        self.image, self.map = root / 'image.jpg', root / 'map.png'
        cv2.imwrite(str(self.image), np.random.default_rng(0).integers(0, 255, (256, 340, 3), dtype=np.uint8))
        labels = np.zeros((256, 340), np.uint8)
        labels[:, 120:240], labels[:, 240:] = 1, 150
        cv2.imwrite(str(self.map), labels)

    def sample(self) -> dict:
        """What the data set hands to the pipeline."""
        return {
            'img_path': str(self.image),
            'seg_map_path': str(self.map),
            'label_map': None,
            'reduce_zero_label': True,
            'seg_fields': [],
        }


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp('pipeline'))


@pytest.mark.parametrize('name', ['upernet_swin_t_ade20k', 'upernet_swin_b_in22k_ade20k_640x640'])
def test_training_pipeline_crops_flips_and_leaves_out_label_0(name: str, files: Files) -> None:
    crop = RECIPES[name][2]
    steps = load(name).train_dataloader.dataset.pipeline
    pipeline = Compose(steps)
    resize = Compose(steps[:3])
    np.random.seed(0)
    sides, flips, values = [], 0, set()
    for _ in range(40):
        packed = pipeline(files.sample())
        labels = packed['data_samples'].gt_sem_seg.data
        height, width = packed['inputs'].shape[1:]
        assert labels.shape == (1, height, width) and max(height, width) <= crop
        flips += packed['data_samples'].flip
        values |= set(labels.unique().tolist())
        sides.append(min(resize(files.sample())['img'].shape[:2]) / crop)
    assert values == {255, 0, 149}
    assert 8 < flips < 32
    assert 0.5 <= min(sides) < 0.7 and 1.7 < max(sides) <= 2.0


def test_test_pipeline_keeps_the_labels_size(files: Files) -> None:
    packed = Compose(load('upernet_swin_t_ade20k').test_dataloader.dataset.pipeline)(files.sample())
    assert tuple(packed['inputs'].shape) == (3, 512, 680)
    assert tuple(packed['data_samples'].gt_sem_seg.data.shape) == (1, 256, 340)


@pytest.mark.parametrize('name', ['upernet_swin_t_ade20k', 'upernet_swin_l_in22k_ade20k_640x640'])
def test_multi_scale_testing_takes_multiples_of_the_training_scale(name: str, files: Files) -> None:
    crop = RECIPES[name][2]
    cfg = load(name)
    enable_tta(cfg)
    assert cfg.model.type == 'SegTTAModel' and cfg.model.module.type == 'EncoderDecoder'
    packed = Compose(cfg.test_dataloader.dataset.pipeline)(files.sample())
    views = {
        (min(inputs.shape[1:]), sample.flip)
        for inputs, sample in zip(packed['inputs'], packed['data_samples'], strict=True)
    }
    assert views == {(int(crop * ratio), flip) for ratio in RATIOS for flip in (False, True)}
    assert len(packed['inputs']) == 12
    assert {tuple(sample.gt_sem_seg.data.shape) for sample in packed['data_samples']} == {(1, 256, 340)}


def test_pretrained_files_and_data_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMSWIN_PRETRAINED_DIR', '/cache/swin')
    monkeypatch.setenv('MMSWIN_ADE_DIR', '/data/ADEChallengeData2016')
    cfg = Config.fromfile(CONFIGS / 'upernet_swin_l_in22k_ade20k_640x640.py')
    assert cfg.model.backbone.init_cfg.checkpoint == '/cache/swin/swin_large_patch4_window7_224_22k.pth'
    roots = {cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')}
    assert roots == {'/data/ADEChallengeData2016'}


@pytest.mark.parametrize('name', NAMES)
def test_segmentation_and_detection_share_their_rules(name: str) -> None:
    """The same facts, stated once: parameters without weight decay, hooks, and images that may be skipped."""
    cfg, detection = load(name), parsed('cascade_mask_rcnn_swin_t_coco')
    if name != SGD:
        assert cfg.optim_wrapper.paramwise_cfg == detection.optim_wrapper.paramwise_cfg
    assert cfg.custom_hooks == detection.custom_hooks
    assert cfg.train_dataloader.dataset.pipeline[0] == detection.train_dataloader.dataset.pipeline[0]


def test_r101_is_mmsegmentations() -> None:
    """The stem of three convolutions, nothing frozen, batch norms that are synchronised and train."""
    backbone = model_of(SGD).backbone
    backbone.train()
    assert (type(backbone).__name__, backbone.depth) == ('ResNetV1c', 101)
    assert load(SGD).model.backbone.init_cfg == {'type': 'Pretrained', 'checkpoint': 'open-mmlab://resnet101_v1c'}
    assert len([layer for layer in backbone.stem if isinstance(layer, torch.nn.Conv2d)]) == 3
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert len(norms) > 100 and all(norm.training for norm in norms)
