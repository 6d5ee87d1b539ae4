"""RepPoints V2 and Mask RepPoints V2 as the authors of Swin released them: to this package's."""

from collections.abc import Collection
from typing import Any

from mmswin.data.config_facts import default_arguments
from mmswin.engine.types import resolve_type
from mmswin.upgrade.findings import Report, Section

# Old detector, and the one of today.
DETECTORS = {'RepPointsV2Detector': 'RepPointsDetector', 'RepPointsV2MaskDetector': 'mmswin.MaskRepPointsV2'}
# Steps of pipelines that made foreground maps, which the head makes itself now, and packed them.
MAPS, PACKING = 'LoadRPDV2Annotations', 'RPDV2FormatBundle'

_RENAMED = {
    'corner_dim': 'corner_channels',
    'loss_heatmap': 'loss_corner',
    'loss_offset': 'loss_corner_offset',
    'loss_sem': 'loss_foreground',
    'num_repeat': 'num_layers',
}
# Those of these names count otherwise than mmdet's: with both ends, and divided by other sums.
_LOSSES = {
    'GIoULoss': 'mmswin.InclusiveGIoULoss',
    'SEPFocalLoss': 'mmswin.NormalizedFocalLoss',
    'RPDQualityFocalLoss': 'QualityFocalLoss',
}
# What is the only way here, by the part it is of.
_ONLY: dict[str, dict[str, Any]] = {
    'neck': dict(start_level=0, add_extra_convs=False, no_norm_on_lateral=False),
    'bbox_head': dict(
        shared_stacked_convs=1, first_kernel_size=3, kernel_size=1, transform_method='exact_minmax', coord_pos='center'
    ),
    'bbox_head.mask_head.branch_cfg': dict(semantic_loss_on=False),
    'bbox_head.mask_head.head_cfg': dict(
        disable_rel_coords=False, use_fp16=False, aux_loss=True, sizes_of_interest=[64, 128, 256, 512, 1024]
    ),
    'train_cfg.init.assigner': dict(use_center=True),
    'train_cfg.heatmap.assigner': dict(type='PointHMAssigner', gaussian_bump=True, gaussian_iou=0.7),
}

_UNREAD = ('allowed_border', 'debug')


def upgrade_reppoints_v2(model: dict[str, Any], report: Report) -> None:
    """Translate a model in place, the backbone and the test aside; what ours has by itself is left out."""
    old = Section(model, 'model', report)
    with_masks = model['type'] == 'RepPointsV2MaskDetector'
    model['type'] = DETECTORS[model['type']]
    model['neck'] = _part(old.section('neck'), 'mmswin.BiFPN')
    head = old.section('bbox_head')
    masks = head.section('mask_head')
    model['bbox_head'] = _part(head, 'mmswin.MaskRepPointsV2Head' if with_masks else 'mmswin.RepPointsV2Head')
    if with_masks:
        model['mask_head'] = _mask_head(masks)
        model['test_cfg'] = {**(model.get('test_cfg') or {}), 'mask_thr': 0.5}
    stages = old.section('train_cfg')
    heatmap = stages.section('heatmap')
    _check_only(heatmap.section('assigner')).close('no option of the corners of this head; see RepPointsV2Head')
    heatmap.drop(*_UNREAD, 'pos_weight')
    heatmap.close('no option of the corners of this head; see RepPointsV2Head')
    model['train_cfg'] = {
        'init': _stage(stages.section('init'), 'PointAssigner', 'mmswin.CentroidPointAssigner'),
        'refine': _stage(stages.section('refine'), 'mmswin.MultiLevelATSSAssigner', 'mmswin.CentroidATSSAssigner'),
    }
    stages.close('no stage of this head; see RepPointsV2Head')
    report.done(
        "RepPoints V2: neck, head, losses and assigners -> mmswin's; corner targets and foreground maps are made by the head"
    )


def _check_only(old: Section) -> Section:
    """Name what asks for another way than the only one here."""
    for name, value in _ONLY.get(old.path.removeprefix('model.'), {}).items():
        found = old.take(name, value)
        if (list(found) if isinstance(found, tuple) else found) != value:
            old.report.failed(old.key(name), found, f'here it is always {value!r}')
    return old


def _part(old: Section, kind: str) -> dict[str, Any]:
    """A neck or head without what it has by itself."""
    old.drop('type')
    values = {}
    for name, value in _check_only(old).items():
        if isinstance(value, dict) and 'type' in value:
            value = {**value, 'type': _LOSSES.get(value['type'], value['type'])}
        values[_RENAMED.get(name, name)] = value
    return without_defaults(kind, values)


def without_defaults(kind: str, values: dict[str, Any], always: Collection[str] = ()) -> dict[str, Any]:
    """A dict of a type with the values that are not its defaults, or are always said."""
    (made,) = resolve_type(kind, 'mmdet')
    defaults = {name: _complete(value) for name, value in default_arguments(made).items()}
    said = {
        name: value
        for name, value in values.items()
        if name in always or name not in defaults or defaults[name] != _complete(value)
    }
    return {'type': kind, **said}


def _complete(value: Any) -> Any:
    """A dict with a type with all arguments of that type; lists as they are to the libraries."""
    if isinstance(value, dict) and isinstance(value.get('type'), str):
        kinds = resolve_type(value['type'], 'mmdet')
        return {**(default_arguments(kinds[0]) if kinds and isinstance(kinds[0], type) else {}), **value}
    return list(value) if isinstance(value, tuple) else value


def _mask_head(old: Section) -> dict[str, Any]:
    old.drop('type')
    branch, head = _check_only(old.section('branch_cfg')), _check_only(old.section('head_cfg'))
    levels, strides = branch.take('in_features', [0, 1, 2]), branch.take('out_stride', [8])
    features = {
        'in_channels': branch.take('in_channels', 256),
        'feat_channels': branch.take('channels', 128),
        'start_level': levels[0],
        'end_level': levels[-1],
        'out_channels': branch.take('out_channels', 8),
        'mask_stride': strides[0],
        'num_stacked_convs': branch.take('num_convs', 4),
        'norm_cfg': branch.take('norm', {'type': 'BN', 'requires_grad': True}),
    }
    branch.drop('num_classes', 'loss_sem')  # of the semantic loss that is off
    unused, auxiliary, final = head.get('mask_loss_weight', [0.0, 0.6, 1.0])
    if (unused, final) != (0, 1):
        head.fail('mask_loss_weight', 'the first and the last are 0 and 1 here; set auxiliary_weight and loss_mask')
    head.drop('mask_loss_weight')
    values = {
        'mask_feature_head': features,
        'num_layers': head.take('num_layers', 3),
        'feat_channels': head.take('channels', 8),
        'mask_out_stride': head.take('mask_out_stride', 4),
        'max_masks_to_train': head.take('max_proposals', 500),
        'auxiliary_weight': auxiliary,
        'loss_mask': {'type': 'DiceLoss', 'use_sigmoid': True, 'activate': True, 'eps': 5e-6},
    }
    for section in (branch, head, old):
        section.close('no argument of AuxiliaryMaskHead; see its arguments')
    return without_defaults('mmswin.AuxiliaryMaskHead', values, always=('mask_feature_head', 'loss_mask'))


def _stage(old: Section, plain: str, by_centroids: str) -> dict[str, Any]:
    """The training of one point set, its assigner by boxes or by the masks' centroids."""
    assigner = _check_only(old.section('assigner'))
    assigner.drop('type')
    kind = by_centroids if assigner.take('mask_center_sample', False) else plain
    old.drop(*_UNREAD)
    return {'assigner': {'type': kind, **assigner}, **old}
