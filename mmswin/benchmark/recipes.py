"""A training recipe made ready for an end-to-end benchmark: either backbone, any data, any image size, no downloads."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmswin.backbones.swin import VARIANTS
from mmswin.benchmark.peers import make_visible
from mmswin.checkpoints.export import export
from mmswin.engine.configure import dicts_in
from mmswin.engine.preflight import build_model
from mmswin.errors import RunError

MODES = ('training', 'testing')
OURS = 'mmswin-'
# Longer side of generated images in pixels: what COCO and ADE20K typically have. The pipelines resize them.
IMAGE_SIDES = {'mmdet': 640, 'mmseg': 683}
# Random classifiers of a detector give such logits that boxes pass the score threshold and masks are computed.
_LOGIT_SPREAD = 4.0
# Images without objects are left out of training.
_SPARE_IMAGES = 8


class Options(NamedTuple):
    """What is run of a recipe.

    Args:
        warm_up: Iterations before the clock starts; the first of them is compared.
        iterations: Iterations that are timed.
        batch_size: Images of a training batch; None for the recipe's.
        image_scale: Factor on all image sizes of the recipe.
        workers: Processes that load images; None for the recipe's.
    """

    warm_up: int = 1
    iterations: int = 4
    batch_size: int | None = None
    image_scale: float = 1.0
    workers: int | None = None

    def check(self) -> None:
        """Raises RunError for values out of range."""
        for name, value, least in (
            ('--warm-up', self.warm_up, 1),
            ('--iterations', self.iterations, 1),
            ('--batch-size', self.batch_size, 1),
            ('--workers', self.workers, 0),
        ):
            if value is not None and value < least:
                raise RunError(f'{name} {value}: give {least} or more')
        if not 0 < self.image_scale <= 4:
            raise RunError(f'--image-scale {self.image_scale}: give a factor above 0 and up to 4')


def read(path: Path) -> Config:
    """A recipe's config.

    Raises:
        RunError: It cannot be read, is not for mmdet or mmseg, or its backbone is not mmswin's Swin.
    """
    if not path.is_file():
        raise RunError(f'config {path} does not exist')
    cfg = Config.fromfile(path)
    if cfg.get('default_scope') not in IMAGE_SIDES:
        raise RunError(f'config {path} is for {cfg.get("default_scope")!r}; give one for mmdet or mmseg')
    kind = cfg.model.get('backbone', {}).get('type')
    if kind != 'mmswin.SwinTransformer':
        raise RunError(f'config {path} has the backbone {kind!r}; give one with mmswin.SwinTransformer')
    return cfg


def with_backbone(cfg: Config, side: str) -> Config:
    """The config with one side's backbone, to be initialised from a checkpoint of the whole network.

    Args:
        cfg: A recipe.
        side: ``mmswin-BACKEND``, or ``mmdet`` or ``mmseg`` for that library's own class: then ``type`` changes, and
            ``arch``, which that class lacks, is written out.
    """
    cfg = copy.deepcopy(cfg)
    backbone = cfg.model.backbone
    backbone.init_cfg = None
    if side.startswith(OURS):
        backbone.attn_backend = side.removeprefix(OURS)
    else:
        backbone.type = f'{side}.SwinTransformer'
        arch = backbone.pop('arch', None)
        for name, value in VARIANTS.get(arch, {}).items():
            backbone.setdefault(name, value)
    return cfg


def prepare(cfg: Config, side: str, mode: str, options: Options, data_root: Path | None) -> Config:
    """The config of one run: a side's backbone, so many iterations, nothing saved, no validation.

    Args:
        cfg: A recipe.
        side: As in :func:`with_backbone`.
        mode: ``'training'`` or ``'testing'``.
        options: What is run.
        data_root: Data in the layout that the recipe names; None for the recipe's own.
    """
    cfg = with_backbone(cfg, side)
    if data_root is not None:
        _move_data(cfg, data_root)
    _scale_images(cfg, options.image_scale)
    loader = cfg.train_dataloader if mode == 'training' else cfg.test_dataloader
    if options.workers is not None:
        loader.num_workers = options.workers
    number = options.warm_up + options.iterations
    if mode == 'training':
        loader.batch_size = options.batch_size or loader.batch_size
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.train_cfg = ConfigDict(type='IterBasedTrainLoop', max_iters=number, val_interval=number + 1)
    else:
        _innermost(loader.dataset).indices = number * loader.batch_size
    cfg.default_hooks = ConfigDict(cfg.get('default_hooks') or {}, checkpoint=None)
    return cfg


def _innermost(dataset: ConfigDict) -> ConfigDict:
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def _move_data(cfg: Config, data_root: Path) -> None:
    """Replace the recipe's data folder wherever it stands."""
    earlier = str(_innermost(cfg.train_dataloader.dataset).get('data_root') or '')
    if not earlier:
        raise RunError('the data sets of the config have no data_root, so their data cannot be replaced')
    parts = [cfg[name] for name in cfg if name.endswith(('_dataloader', '_evaluator')) and cfg[name]]
    for node in dicts_in(parts):
        for key, value in node.items():
            if isinstance(value, str) and (value + '/').startswith(earlier.rstrip('/') + '/'):
                node[key] = str(data_root) + value[len(earlier.rstrip('/')) :]


def _scale_images(cfg: Config, factor: float) -> None:
    """Multiply all sizes to which images are resized, cropped and padded."""
    if factor == 1:
        return
    parts = [cfg[name] for name in cfg if name.endswith('_dataloader') and cfg[name]]
    for node in dicts_in(parts):
        for key in ('scale', 'scales', 'crop_size'):
            if key in node:
                node[key] = _times(node[key], factor)
    preprocessor = cfg.model.get('data_preprocessor') or {}
    if preprocessor.get('size') is not None:
        preprocessor['size'] = _times(preprocessor['size'], factor)


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_times(part, factor) for part in value)
    return max(1, round(value * factor))


def generated_data(cfg: Config, folder: Path, options: Options, progress: Callable[[str], None]) -> Path:
    """A miniature COCO or ADE20K with images of real size and as many as the runs need, made unless it is there.

    Returns:
        What stands for the recipe's ``data_root``.
    """
    scope = cfg.default_scope
    number = options.warm_up + options.iterations
    training = number * (options.batch_size or cfg.train_dataloader.batch_size) + _SPARE_IMAGES
    figures = dict(num_train=training, num_val=number * cfg.test_dataloader.batch_size, image_size=IMAGE_SIDES[scope])
    root = folder / ('coco' if scope == 'mmdet' else 'ade')
    progress(f'data: {figures["num_train"]} + {figures["num_val"]} images in {root}')
    if scope == 'mmdet':
        from mmswin.data.miniature import MiniatureSettings, ensure_miniature_coco

        ensure_miniature_coco(root, MiniatureSettings(**figures, classes=('coco',)))
    else:
        from mmswin.data.miniature_ade import MiniatureAdeSettings, ensure_miniature_ade

        ensure_miniature_ade(root, MiniatureAdeSettings(**figures, classes=('ade',)))
    return root


def write_weights(cfg: Config, folder: Path) -> dict[str, Path]:
    """Random weights of the whole network: a file under our names, and one under the library's, converted from it.

    Returns:
        The files, by ``'mmswin'`` and the name of the library.
    """
    ours = with_backbone(cfg, OURS + 'reference')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the runs themselves say it
        model = build_model(ours)
    torch.manual_seed(0)
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)  # mmengine would list every parameter
    try:
        model.init_weights()
    finally:
        logging.disable(previous)
    make_visible(model.backbone)
    _spread_scores(model)
    checkpoint = {'state_dict': model.state_dict(), 'meta': {}}
    files = {'mmswin': folder / 'mmswin.pth', cfg.default_scope: folder / f'{cfg.default_scope}.pth'}
    torch.save(checkpoint, files['mmswin'])
    torch.save(export(checkpoint, cfg.default_scope).content, files[cfg.default_scope])
    return files


def _spread_scores(model: nn.Module) -> None:
    """Give the box classifiers weights that favour some classes, as trained ones do."""
    generator = torch.Generator().manual_seed(1)
    for name, module in model.named_modules():
        if name.endswith('fc_cls'):
            module.bias.data.copy_(_LOGIT_SPREAD * torch.randn(module.bias.shape, generator=generator))
