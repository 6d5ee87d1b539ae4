"""Data pipelines: transforms translated one by one; what the data preprocessor does now leaves the pipeline."""

from collections.abc import Callable
from typing import Any

from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.reppoints_v2 import MAPS, PACKING
from mmswin.upgrade.tta import main_scale, several, tta_pipeline

# Turned arrays into tensors and picked keys; the packing transform does it all.
_PACKING = ('DefaultFormatBundle', 'ImageToTensor', 'ToTensor', 'Collect', 'WrapFieldsToLists', MAPS, PACKING)
# Look at the values of pixels, or fill with some, so they see others when images are no longer normalised before them.
_ON_PIXELS = (
    'PhotoMetricDistortion', 'Expand', 'CutOut', 'RandomCutOut', 'Mosaic', 'RandomMosaic', 'MixUp', 'RandomAffine',
    'Albu', 'Corrupt', 'InstaBoost', 'CopyPaste', 'YOLOXHSVRandomAug', 'ColorTransform', 'BrightnessTransform',
    'ContrastTransform', 'EqualizeTransform', 'Rotate', 'Shear', 'Translate', 'RandomRotate', 'RandomCenterCropPad',
    'CLAHE', 'RGB2Gray', 'AdjustGamma', 'Rerange',
)  # fmt: skip
_SEG_FILLING = {'pad_val': 0, 'seg_pad_val': 255}
_BOX_LABELS = {'gt_labels': 'gt_bboxes_labels'}


class PipelineUpgrade:
    """Translates the pipelines of one configuration.

    Attributes:
        masks: Whether instance masks are loaded.
        maps: Whether label maps are, for detection.
        map_scale: By what they were scaled at the end of the pipeline, which the semantic head does now.
        reduce_zero_label: As the old ``LoadAnnotations`` said, or None.
        tta_pipeline: ``tta_pipeline``, if a test asked for several scales or for flipped images; else None.
    """

    def __init__(self, scope: str, report: Report) -> None:
        self.report = report
        self.masks = self.maps = False
        self.map_scale: float | None = None
        self.reduce_zero_label: bool | None = None
        self.tta_pipeline: list[dict[str, Any]] | None = None
        self._preprocessing: dict[str, Any] = {}
        self._testing = False
        self._detection = scope == 'mmdet'
        self._translators: dict[str, Callable[[Section], list[dict[str, Any]]]] = {
            'LoadImageFromFile': self._load_image,
            **dict.fromkeys(('LoadAnnotations', 'LoadPanopticAnnotations'), self._load_annotations),
            'SegRescale': self._rescale_maps,
            'Resize': self._resize,
            'RandomFlip': self._flip,
            'RandomCrop': self._crop,
            'Normalize': self._normalize,
            'Pad': self._pad,
            'AutoAugment': self._choice,
            'Albu': self._albu,
            'InstaBoost': self._insta_boost,
            'MultiScaleFlipAug': self._single_view,
            **dict.fromkeys(('Mosaic', 'MixUp', 'RandomAffine'), self._swap_sides),
            **dict.fromkeys(_PACKING, self._pack),
        }

    def preprocessor(self) -> dict[str, Any]:
        """``model.data_preprocessor``: what the old pipelines did to every image at their end."""
        if self._detection:
            filled = {name: True for name, there in (('pad_mask', self.masks), ('pad_seg', self.maps)) if there}
            return {'type': 'DetDataPreprocessor', **self._preprocessing, **filled}
        filling = {name: value for name, value in _SEG_FILLING.items() if name not in self._preprocessing}
        return {'type': 'SegDataPreProcessor', **self._preprocessing, **filling}

    def _preprocess(self, key: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Have the data preprocessor do what an entry of a pipeline did; two that disagree are named."""
        for name, value in values.items():
            known = self._preprocessing.setdefault(name, value)
            if known != value:
                why = f'another pipeline says {known!r}, and there is one data preprocessor ({name}) for all; make them agree'
                self.report.failed(key, value, why)
        return []

    def train(self, steps: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
        """A training pipeline, or a part of one in a wrapper."""
        new = self._all(steps, path)
        if any(step.get('type') in ('Collect', 'DefaultFormatBundle') for step in steps):
            new.append({'type': 'PackDetInputs' if self._detection else 'PackSegInputs'})
            self.report.done(
                'pipelines: Normalize and Pad -> model.data_preprocessor; DefaultFormatBundle and Collect -> '
                f'{new[-1]["type"]}; img_scale -> scale'
            )
        return new

    def test(self, steps: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
        """A test pipeline: one view, annotations loaded behind the resizing, where they are not resized."""
        self._testing = True
        views = next((step for step in steps if step.get('type') == 'MultiScaleFlipAug'), None)
        new = [step for step in self._all(steps, path) if step['type'] != 'LoadAnnotations']
        self._testing = False
        if self._detection:
            load = {'type': 'LoadAnnotations', 'with_bbox': True, **({'with_mask': True} if self.masks else {})}
            keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
            end = [load, {'type': 'PackDetInputs', 'meta_keys': keys}]
        else:
            end = [{'type': 'LoadAnnotations'}, {'type': 'PackSegInputs'}]
        if views is not None:
            self.tta_pipeline = tta_pipeline(views, new, end) or self.tta_pipeline
        if self.tta_pipeline is not None:
            self.report.remark(
                'the old test looked at several scales or at flipped images too: mmswin test --tta does so by '
                'tta_pipeline; without --tta it tests one view'
            )
        new += end
        self.report.done('MultiScaleFlipAug -> its transforms, with the annotations loaded for the evaluator')
        return new

    def _all(self, steps: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
        new = []
        for index, step in enumerate(steps):
            old = Section(step, f'{path}.{index}', self.report)
            # Others are the same here, or named when the result is checked.
            new += self._translators.get(old.get('type'), lambda old: [dict(old)])(old)
        names = [step.get('type') for step in steps]
        first = names.index('Normalize') + 1 if 'Normalize' in names else len(names)
        for index in [index for index in range(first, len(names)) if names[index] in _ON_PIXELS]:
            why = 'it came after Normalize, and images are normalised later now: is it right for pixels from 0 to 255?'
            self.report.failed(f'{path}.{index}', steps[index], why)
        return new

    def _pack(self, old: Section) -> list[dict[str, Any]]:
        if old.get('meta_keys') is not None:
            why = 'the packing transforms have their own; set meta_keys at the end of the pipeline, if you need them'
            old.fail('meta_keys', why)
        return []

    def _load_image(self, old: Section) -> list[dict[str, Any]]:
        old.rename_storage()
        self.report.done(
            'LoadImageFromFile -> mmswin.LoadImageFromFile: training skips and counts bad images, up to 1 %'
        )
        if self._testing:  # no image may be skipped, and the libraries' inferencers look for their own by name
            return [dict(old)]
        return [{**old, 'type': 'mmswin.LoadImageFromFile', 'max_bad_fraction': 0.01}]

    def _load_annotations(self, old: Section) -> list[dict[str, Any]]:
        old.rename_storage()
        panoptic = old.get('type') == 'LoadPanopticAnnotations'  # which loads both unless told otherwise
        self.masks |= self._detection and bool(old.get('with_mask', panoptic))
        self.maps |= self._detection and bool(old.get('with_seg', panoptic))
        zero = None if self._detection else old.take('reduce_zero_label')
        if zero is not None:
            self.reduce_zero_label = zero
            self.report.done('LoadAnnotations.reduce_zero_label -> the data set, which has it for all')
        return [dict(old)]

    def _rescale_maps(self, old: Section) -> list[dict[str, Any]]:
        self.map_scale = old.take('scale_factor', 1)
        self.report.done('SegRescale -> the semantic head, which scales the maps itself')
        return []

    def _resize(self, old: Section) -> list[dict[str, Any]]:
        """One scale, one of several, a range of scales, or a range of ratios: four transforms now."""
        scale, ratios = old.take('img_scale'), old.take('ratio_range')
        mode = old.take('multiscale_mode', 'range')
        old.drop('type', 'override')
        if old.get('backend') in (None, 'cv2'):
            old.drop('backend')
        rest = {'keep_ratio': old.take('keep_ratio', True), **old}
        scales = [tuple(one) for one in several(scale)]
        if not scales:
            why = 'a Resize without img_scale, relative to each image; set scale, or use a Resize with scale_factor'
            self.report.failed(old.path, {'ratio_range': ratios}, why)
            new = {'type': 'Resize', 'scale_factor': 1.0}
        elif len(scales) > 1 and mode == 'value':
            new = {'type': 'RandomChoiceResize', 'scales': scales}
        elif len(scales) > 1:
            # The old one drew the long side and the short side apart, whatever their order.
            new = {'type': 'RandomResize', 'scale': [(max(one), min(one)) for one in scales]}
        elif ratios is not None:
            new = {'type': 'RandomResize', 'scale': scales[0], 'ratio_range': tuple(ratios)}
        else:
            new = {'type': 'Resize', 'scale': scales[0]}
        return [{**new, **rest}]

    def _flip(self, old: Section) -> list[dict[str, Any]]:
        ratio = old.take('flip_ratio')
        probability = old.take('prob', ratio)
        return [] if probability is None else [{'type': old.take('type'), 'prob': probability, **old}]

    def _crop(self, old: Section) -> list[dict[str, Any]]:
        if self._detection and old.get('crop_type', 'absolute') in ('absolute', 'relative'):
            rows, columns = old.get('crop_size')
            if rows != columns:
                old['crop_size'] = (columns, rows)
                self.report.done('RandomCrop.crop_size: (height, width) -> (width, height)')
        return [{**old, 'crop_size': tuple(old['crop_size'])}]

    def _normalize(self, old: Section) -> list[dict[str, Any]]:
        mean, std = (list(old.get(name) or ()) for name in ('mean', 'std'))
        return self._preprocess(old.path, {'mean': mean, 'std': std, 'bgr_to_rgb': old.get('to_rgb', True)})

    def _pad(self, old: Section) -> list[dict[str, Any]]:
        size, divisor = old.take('size'), old.take('size_divisor')
        if divisor is not None:
            values: dict[str, Any] = {'pad_size_divisor' if self._detection else 'size_divisor': divisor}
            if self._testing and not self._detection:
                values = {'test_cfg': values}
        elif not self._detection:
            values = {'size': tuple(size), **{name: old.take(name, value) for name, value in _SEG_FILLING.items()}}
        else:
            fixed = {'size': (size[1], size[0])} if size is not None else {}
            self.report.remark('Pad to a fixed size stays in the pipeline and now pads before the normalisation')
            return [{'type': old.take('type'), **fixed, **old}]
        if old.get('pad_val') not in (None, 0, {'img': 0, 'masks': 0, 'seg': 255}):
            old.fail('pad_val', 'not taken over; set pad_value (mmdet) or pad_val (mmseg) of model.data_preprocessor')
        return self._preprocess(old.path, values)

    def _choice(self, old: Section) -> list[dict[str, Any]]:
        new = [self._all(branch, f'{old.path}.policies.{index}') for index, branch in enumerate(old['policies'])]
        self.report.done('AutoAugment.policies -> RandomChoice.transforms')
        return [{'type': 'RandomChoice', 'transforms': new}]

    def _albu(self, old: Section) -> list[dict[str, Any]]:
        boxes = old.get('bbox_params')
        if boxes and 'label_fields' in boxes:
            labels = [_BOX_LABELS.get(name, name) for name in boxes['label_fields']]
            old['bbox_params'] = {**boxes, 'label_fields': list(dict.fromkeys([*labels, 'gt_ignore_flags']))}
        old.drop('update_pad_shape')
        return [dict(old)]

    def _insta_boost(self, old: Section) -> list[dict[str, Any]]:
        """mmdet's needs a package that stops at objects of several parts."""
        self.report.done('InstaBoost -> mmswin.InstaBoost')
        return [{**old, 'type': 'mmswin.InstaBoost'}]

    def _swap_sides(self, old: Section) -> list[dict[str, Any]]:
        """(height, width) became (width, height)."""
        for name in ('img_scale', 'border'):
            sides = old.get(name)
            if isinstance(sides, (list, tuple)) and len(sides) == 2:
                old[name] = (sides[1], sides[0])
                if sides[0] != sides[1]:
                    self.report.done(f'{old.get("type")}.{name}: (height, width) -> (width, height)')
        return [dict(old)]

    def _single_view(self, old: Section) -> list[dict[str, Any]]:
        """The transforms of the old test, at its main scale and unflipped."""
        scale = main_scale({key: old.take(key) for key in ('img_scale', 'img_ratios')})
        steps = [dict(step) for step in old.take('transforms')]
        for step in steps:
            if step['type'] == 'Resize':
                step['img_scale'] = scale
            if step['type'] == 'RandomFlip':  # it flipped where `flip` of the test said so
                step.update(flip_ratio=None, prob=None)
        return self._all(steps, f'{old.path}.transforms')
