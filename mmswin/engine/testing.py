"""What ``mmswin test`` adds to a config: predictions to a file, pictures, test-time augmentation."""

import copy
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from mmswin.data.config_facts import dicts_in, leaf_datasets, metrics_of, short_name
from mmswin.engine.dry_build import check_work_dir
from mmswin.engine.precision import is_slower, mixed_precision
from mmswin.engine.types import resolve_type
from mmswin.errors import RunError

_MASK_PARTS = ('mask_head', 'panoptic_head', 'panoptic_fusion_head')


def check_outputs(out: str | None, show_dir: str | None, overwrite: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        RunError: ``out`` is no pickle name, or it or ``show_dir`` exists already or cannot be written.
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise RunError(f'--out {out}: predictions are pickled; the name must end in .pkl or .pickle')
    if out is not None and not overwrite and Path(out).exists():
        raise RunError(f'--out {out} exists; choose another name or add --overwrite')
    shown = Path(show_dir) if show_dir is not None else None
    if shown is not None and not overwrite and shown.exists() and (not shown.is_dir() or any(shown.iterdir())):
        raise RunError(f'--show-dir {show_dir} exists and is not empty; choose another name or add --overwrite')
    for place, option in ((out and Path(out).parent, '--out'), (show_dir, '--show-dir')):
        if place:
            check_work_dir(place, option)


def show_into(cfg: Config, show_dir: str) -> None:
    """Draw every tested image into ``show_dir`` with the config's visualizer.

    Raises:
        RunError: The config has no visualization hook.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise RunError(
            '--show-dir needs default_hooks.visualization in the config (mmdet: '
            "dict(type='DetVisualizationHook'), mmseg: dict(type='SegVisualizationHook'), mmpretrain: "
            "dict(type='VisualizationHook'))"
        )
    target = str(Path(show_dir).absolute())
    if cfg.get('default_scope') == 'mmpretrain':
        hook.update(enable=True, interval=1, out_dir=target)
        if short_name(hook.get('type')) == 'VisualizationHook':
            own = {name: value for name, value in hook.items() if name not in ('type', 'enable', 'interval')}
            cfg.default_hooks.visualization = dict(type='mmswin.ClassPicturesHook', **own)
        return
    hook.draw = True
    if cfg.get('default_scope') == 'mmseg':
        # mmseg's hook draws every 50th image and leaves the place to the visualizer.
        hook.interval = 1
        cfg.visualizer.save_dir = target
    else:
        # An absolute path is taken as it is; mmdet's hook puts others below the time stamp of the run.
        hook.test_out_dir = target


def enable_tta(cfg: Config) -> None:
    """Test with the config's ``tta_model`` and ``tta_pipeline``; detection has defaults for both (flip, NMS, masks
    averaged).

    In segmentation the figures are named apart: ``tta/mIoU``.

    Raises:
        RunError: The model predicts masks in a way that cannot be merged, or segmentation or classification without a TTA
            pipeline.
    """
    leaves = [leaf for _, leaf in leaf_datasets(cfg.test_dataloader.dataset, '')]
    scope = cfg.get('default_scope')
    if scope in ('mmseg', 'mmpretrain'):
        missing = [name for name in ('tta_model', 'tta_pipeline') if name not in cfg]
        if missing:
            raise RunError(f'--tta: the config has no {" and no ".join(missing)}')
        # mmseg's figures have no prefix; with one nobody takes those of several views for those of a single one.
        for _, metric in metrics_of(cfg, 'test') if scope == 'mmseg' else ():
            metric.setdefault('prefix', 'tta')
    else:
        if cfg.get('tta_model') is None:
            cfg.tta_model = ConfigDict(tta_cfg=_merging(cfg.model))
        if short_name(cfg.tta_model.get('type', 'DetTTAModel')) == 'DetTTAModel':
            _check_masks(cfg)
            # The same for boxes; it merges masks too, and an image without any box does not stop it.
            cfg.tta_model.type = 'mmswin.InstanceTTAModel'
        if 'tta_pipeline' not in cfg:
            cfg.tta_pipeline = _flipped(leaves[0].pipeline)
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for leaf in leaves:
        leaf.pipeline = cfg.tta_pipeline


def tta_note(cfg: Config, images: int) -> str:
    """A line for the log of a test that :func:`enable_tta` has set up, which takes many times as long as another."""
    steps = [step for step in cfg.tta_pipeline if short_name(step.get('type')) == 'TestTimeAug']
    views = prod(len(choices) for step in steps for choices in step['transforms'])
    sizes = [node['scale'] for node in dicts_in(steps) if isinstance(node.get('scale'), (list, tuple))]
    largest = f', the largest within {" x ".join(map(str, max(sizes, key=prod)))} pixels' if sizes else ''
    return f'--tta: {views} {"view" if views == 1 else "views"} of each of {images} images{largest}'


def _check_masks(cfg: Config) -> None:
    """Refuse a model whose masks cannot be merged, and one scored on masks that it does not predict."""
    scope, model = cfg.get('default_scope'), cfg.model
    scored = any('segm' in (metric.get('metric') or ()) for _, metric in metrics_of(cfg, 'test'))
    heads = [part for part in _MASK_PARTS if any(node.get(part) for node in dicts_in(model))]
    if not heads and not scored:
        return
    roi_head = model.get('roi_head') or {}
    if heads == ['mask_head'] and roi_head.get('mask_head'):
        # Here and not above: it is for detection alone, and imports what only that needs.
        from mmswin.detectors.instance_tta import masks_can_be_merged

        pairs = product(resolve_type(model.type, scope), resolve_type(roi_head.type, scope))
        if any(masks_can_be_merged(*pair) for pair in pairs):
            return
    found = 'predicts masks in another way' if heads else 'is scored on masks, which it does not predict'
    raise RunError(
        '--tta merges the masks of Mask R-CNN, Cascade Mask R-CNN and HTC (StandardRoIHead, CascadeRoIHead, '
        f'HybridTaskCascadeRoIHead), and this {model.get("type")} {found}: test without --tta, use a config without masks, or name a tta_model of your own'
    )


def _merging(model: ConfigDict) -> dict:
    """How to merge boxes: as the model itself does where it says so."""
    rule = model.get('test_cfg') or {}
    rule = rule.get('rcnn') or rule
    nms = rule.get('nms') or {'type': 'nms', 'iou_threshold': 0.5}
    return {'nms': dict(nms), 'max_per_img': rule.get('max_per_img', 100)}


def _flipped(pipeline: list) -> list:
    """The test pipeline ending in two views of the image, as it is and mirrored."""
    *steps, pack = copy.deepcopy(list(pipeline))
    keys = tuple(pack.get('meta_keys', ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')))
    pack['meta_keys'] = tuple(dict.fromkeys([*keys, 'flip', 'flip_direction']))
    views = [{'type': 'RandomFlip', 'prob': 1.0}, {'type': 'RandomFlip', 'prob': 0.0}]
    return [*steps, ConfigDict(type='TestTimeAug', transforms=[views, [pack]])]


def predict_in(runner: Runner, dtype: torch.dtype) -> str:
    """Have a runner's test predict in mixed precision.

    Returns:
        A line for the log.
    """
    model, step = runner.model, runner.model.test_step

    def test_step(data: Any) -> Any:
        with mixed_precision(model, dtype):
            return step(data)

    model.test_step = test_step
    name = str(dtype).removeprefix('torch.')
    slower = ', which is slower here: this processor has no instructions for it' if is_slower(dtype) else ''
    return f'--amp: predictions in {name} autocast, boxes and masks in float32{slower}'


def dump_predictions(runner: Runner, scope: str | None, out: str) -> None:
    """Have a runner's test pickle its predictions into ``out``."""
    dump: type[DumpResults] = DumpResults
    if scope == 'mmdet':
        from mmdet.evaluation import DumpDetResults as dump
    runner.test_evaluator.metrics.append(dump(out_file_path=out))
