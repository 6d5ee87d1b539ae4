"""Models: the authors' backbone, and what mmdet 3.x and mmseg 1.x renamed in heads."""

from typing import Any

from mmswin.backbones.swin import SwinTransformer
from mmswin.data.config_facts import dicts_in
from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.reppoints_v2 import DETECTORS, upgrade_reppoints_v2, without_defaults

# Argument of the authors' class: argument of ours.
_RENAMED = {
    'embed_dim': 'embed_dims',
    'in_chans': 'in_channels',
    'ape': 'use_abs_pos_embed',
    'use_checkpoint': 'with_cp',
}
# Where a default of the authors' class is not ours.
_AUTHORS_DEFAULTS = {'drop_path_rate': 0.2, 'embed_dims': 96, 'depths': (2, 2, 6, 2), 'num_heads': (3, 6, 12, 24)}
_SEGMENTORS = ('EncoderDecoder', 'CascadeEncoderDecoder')


def scope_of(model: dict[str, Any]) -> str:
    """The library that a model belongs to, ``'mmdet'`` or ``'mmseg'``."""
    return 'mmseg' if 'decode_head' in model or model.get('type') in _SEGMENTORS else 'mmdet'


def upgrade_model(old: Section, preprocessor: dict[str, Any], pretrained: str | None) -> dict[str, Any]:
    """The model of the new configuration, with a data preprocessor; ``pretrained`` wins over the old file's weights."""
    model = old.section('model')
    report = old.report
    for name in ('train_cfg', 'test_cfg'):  # next to the model in mmdet before 2.8
        if name in old and name not in model:
            model[name] = old.take(name)
            report.done(f'{name} -> model.{name}')
    new: dict[str, Any] = {'type': model.take('type'), 'data_preprocessor': preprocessor}
    weights = model.take('pretrained')
    backbone = model.section('backbone')
    new['backbone'] = _upgrade_swin(backbone) if backbone.get('type') == 'SwinTransformer' else dict(backbone)
    if pretrained or weights:
        new['backbone']['init_cfg'] = {'type': 'Pretrained', 'checkpoint': pretrained or weights}
        report.done(f'{"--pretrained" if pretrained else "model.pretrained"} -> model.backbone.init_cfg')
    elif not new['backbone'].get('init_cfg'):
        report.remark(
            'model.pretrained was None, so training starts from random weights. The authors named the file '
            'on the command line; name it with --pretrained FILE_OR_URL, or in model.backbone.init_cfg'
        )
    new |= model
    if new['type'] in DETECTORS:
        upgrade_reppoints_v2(new, report)
    _rename_in_heads(new, report)
    return new


def _upgrade_swin(old: Section) -> dict[str, Any]:
    """Arguments of ``mmswin.SwinTransformer``, without those that it has by itself."""
    report = old.report
    authors = any(name in old for name in _RENAMED)
    old.drop('type', 'convert_weights')  # formats are recognised
    values = {_RENAMED.get(name, name): value for name, value in old.items()}
    if not values.get('with_cp', True):
        del values['with_cp']  # the default recomputes no product either
    if authors:
        values = {**_AUTHORS_DEFAULTS, **values}
    if 'norm_layer' in values:
        why = "a class cannot stand in a configuration; write norm_cfg=dict(type='LN') or the norm of your choice"
        report.failed(old.key('norm_layer'), values.pop('norm_layer'), why)
    size = {name: values[name] for name in ('embed_dims', 'depths', 'num_heads') if values.get(name) is not None}
    size = {name: tuple(value) if isinstance(value, list) else value for name, value in size.items()}
    arch = next((name for name, sizes in SwinTransformer.variants.items() if sizes == size), None)
    if arch:
        values = {'arch': arch, **{name: value for name, value in values.items() if name not in size}}
    # A reader expects to see how much of the network is dropped, whatever the default.
    new = without_defaults('mmswin.SwinTransformer', values, always=('arch', 'drop_path_rate'))
    report.done(
        "model.backbone: type='mmswin.SwinTransformer'"
        + (', embed_dim, depths and num_heads -> arch' if arch else ', embed_dim -> embed_dims')
        + (', ape -> use_abs_pos_embed, use_checkpoint -> with_cp; defaults left out' if authors else '')
    )
    return new


def _rename_in_heads(model: dict[str, Any], report: Report) -> None:
    for stage in ('train_cfg', 'test_cfg'):
        settings = model.get(stage) or {}
        for name in ('rpn', 'rpn_proposal'):
            path, node = f'model.{stage}.{name}', settings.get(name)
            node = node if isinstance(node, dict) else {}
            for gone in ('nms_across_levels', 'nms_post'):
                if node.pop(gone, None) is not None:
                    report.done(f'{path}.{gone}: left out, it had no effect any more (max_per_img has)')
            if 'nms_thr' in node:
                node.setdefault('nms', {'type': 'nms', 'iou_threshold': node.pop('nms_thr')})
                report.done(f'{path}.nms_thr -> nms.iou_threshold')
        for node in dicts_in(settings):
            _rename(node, 'max_num', 'max_per_img', f'model.{stage}', report)
            if node.get('type') in ('nms', 'soft_nms'):
                _rename(node, 'iou_thr', 'iou_threshold', f'model.{stage}', report)
    for node in dicts_in(model):
        if isinstance(node.get('roi_layer'), dict):
            _rename(node['roi_layer'], 'out_size', 'output_size', 'roi_layer', report)
            _rename(node['roi_layer'], 'sample_num', 'sampling_ratio', 'roi_layer', report)


def _rename(node: dict[str, Any], old: str, new: str, path: str, report: Report) -> None:
    if old in node:
        node.setdefault(new, node.pop(old))
        report.done(f'{path}: {old} -> {new}')
