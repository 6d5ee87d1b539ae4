"""Parameters and multiply-adds of a whole model, part by part, by the paper's protocol.

Its section 4 and the authors' tools state FLOPs as multiply-adds of one image at inference:

* Two-stage detectors: 1000 proposals through every box stage, 100 boxes through every mask head, and the region
  proposal network over all levels. Sparse R-CNN takes its own number of proposals.
* Hybrid Task Cascade: the semantic head on all levels once, and every mask head with the features of the one before.
* CondInst and Mask RepPoints V2: the box head with what gives the weights of mask convolutions. The authors' counter did
  not run the mask branch, so published figures are without it.
* Segmentation: backbone and decode head. The auxiliary head works in training alone: its parameters count, its
  multiply-adds do not.
* Classification: backbone and the linear layer behind its mean.
* Pooling of regions and suppression of boxes cost nothing, so no proposals are needed: the heads get maps of the size
  that their region extractor makes.
"""

from dataclasses import dataclass, field

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmswin.analysis.counting import META, MultiplyAdds, count
from mmswin.data.config_facts import short_name
from mmswin.engine.configure import quiet
from mmswin.engine.preflight import build_model
from mmswin.errors import RunError, plain_message

NUM_PROPOSALS = 1000
NUM_MASKS = 100
MIN_SIDE = 32

# Heads of these take a map of one region and no more; others would be counted in part.
_ROI_HEADS = ('StandardRoIHead', 'CascadeRoIHead', 'HybridTaskCascadeRoIHead', 'SparseRoIHead')


@dataclass
class Part:
    """One part of a model.

    Attributes:
        name: Its name in the model, such as ``roi_head.mask_head``.
        params: Its parameters.
        trainable: Those that are not frozen.
        cost: Its multiply-adds; None for what is not run at inference.
    """

    name: str
    params: int
    trainable: int
    cost: MultiplyAdds | None


@dataclass
class Complexity:
    """A model's parts at one input size."""

    shape: tuple[int, int]
    parts: list[Part] = field(default_factory=list)

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts)

    @property
    def trainable(self) -> int:
        return sum(part.trainable for part in self.parts)

    @property
    def cost(self) -> MultiplyAdds:
        return sum((part.cost for part in self.parts if part.cost is not None), MultiplyAdds())


def measure(cfg: Config, shape: tuple[int, int]) -> Complexity:
    """Build the model of a config on the meta device and count it.

    Args:
        cfg: A config of a detector, segmentor or classifier.
        shape: Height and width of the image in pixels.

    Raises:
        RunError: The image is too small, the model cannot be built, or how to count its kind is not known here.
    """
    if min(shape) < MIN_SIDE:
        raise RunError(
            f'an image of {shape[0]} x {shape[1]} pixels: expected at least {MIN_SIDE} pixels a side, the '
            'stride of the last map'
        )
    model = _classifier(cfg) or build_on_meta(cfg)
    with quiet():
        try:
            return measure_model(model, shape)
        except (TypeError, AttributeError, RuntimeError) as error:  # the library's own classes
            why = plain_message(error).partition('\n')[0]
            raise RunError(f'it is not known how to count a {type(model).__name__}: {why}') from error


def build_on_meta(cfg: Config) -> nn.Module:
    """The model of a config in evaluation mode, shapes without memory.

    Raises:
        RunError: It cannot be built.
    """
    try:
        with META:
            model = build_model(cfg)
    except RuntimeError:  # mmdet's Swin and others ask for numbers while they are built
        model = build_model(cfg)
    return model.eval().to(META)  # mmcv makes some weights on the CPU whatever the context says


class _Classifier(nn.Module):
    """What costs anything in mmpretrain's classifier of linear head, which is installed apart if at all."""

    def __init__(self, backbone: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(channels, classes)


def _classifier(cfg: Config) -> nn.Module | None:
    model = cfg.model
    if short_name(model.get('type')) != 'ImageClassifier' or not str(model.backbone.get('type')).startswith('mmswin.'):
        return None
    if short_name(model.head.get('type')) != 'LinearClsHead':
        return None
    with META:
        return _Classifier(MODELS.build(model.backbone), model.head.in_channels, model.head.num_classes).eval()


def measure_model(model: nn.Module, shape: tuple[int, int]) -> Complexity:
    """Count a model that is on the meta device and in evaluation mode; see :func:`measure`."""
    kinds = {base.__name__ for base in type(model).__mro__}
    if 'BaseSelfSupervisor' in kinds:  # SimMIM's and MAE's
        raise RunError(f'a {type(model).__name__} pretrains: count the classifier or detector that its backbone is for')
    first = next((layer for layer in model.backbone.modules() if isinstance(layer, nn.Conv2d)), None)
    image = torch.empty(1, 3 if first is None else first.in_channels, *shape, device=META)
    costs: dict[str, MultiplyAdds | None] = {}
    features, costs['backbone'] = count(model.backbone, image)
    if getattr(model, 'neck', None) is not None:
        features, costs['neck'] = count(model.neck, features)
    if 'EncoderDecoder' in kinds and not isinstance(model.decode_head, nn.ModuleList):
        costs['decode_head'] = count(model.decode_head, features)[1]
        if getattr(model, 'auxiliary_head', None) is not None:
            costs['auxiliary_head'] = None
    elif 'TwoStageDetector' in kinds and type(model.roi_head).__name__ in _ROI_HEADS:
        costs.update(_two_stage_heads(model, features))
    elif 'CondInst' in kinds:
        # As published for Mask RepPoints V2: the boxes alone.
        costs['bbox_head'], costs['mask_head'] = count(model.bbox_head, features)[1], None
    elif '_Classifier' in kinds:
        costs['head'] = count(model.head, features[-1].mean((2, 3)))[1]
    elif 'SingleStageDetector' in kinds:
        costs['bbox_head'] = count(model.bbox_head, features)[1]
    else:
        what = type(model).__name__
        if 'TwoStageDetector' in kinds:
            what += f' with a {type(model.roi_head).__name__}'
        raise RunError(
            f'it is not known how to count a {what}: only single-stage detectors, two-stage detectors with '
            f'{", ".join(_ROI_HEADS)}, segmentors of class EncoderDecoder and classifiers on mmswin backbones are'
        )
    return Complexity(shape, _parts(model, costs))


def _two_stage_heads(model: nn.Module, features: tuple[Tensor, ...]) -> dict[str, MultiplyAdds]:
    roi_head = model.roi_head
    if type(roi_head).__name__ == 'SparseRoIHead':
        proposals = model.rpn_head.num_proposals
        objects = torch.empty(1, proposals, roi_head.proposal_feature_channel, device=META)
        return {'rpn_head': MultiplyAdds(), 'roi_head.bbox_head': _stages(roi_head, 'bbox', proposals, objects)}
    costs = {
        'rpn_head': count(model.rpn_head, features)[1],
        'roi_head.bbox_head': _stages(roi_head, 'bbox', NUM_PROPOSALS),
    }
    if getattr(roi_head, 'with_semantic', False):
        costs['roi_head.semantic_head'] = count(roi_head.semantic_head, features)[1]
    if roi_head.with_mask:
        costs['roi_head.mask_head'] = _stages(roi_head, 'mask', NUM_MASKS)
    return costs


def _stages(roi_head: nn.Module, kind: str, regions: int, *more: Tensor) -> MultiplyAdds:
    """All box or mask heads, each on the maps of ``regions`` regions."""
    heads = _listed(getattr(roi_head, f'{kind}_head'))
    extractors = _listed(getattr(roi_head, f'{kind}_roi_extractor'))
    relays = kind == 'mask' and getattr(roi_head, 'mask_info_flow', False)
    total = MultiplyAdds()
    for head, extractor in zip(heads, extractors if len(extractors) > 1 else extractors * len(heads)):
        side = extractor.roi_layers[0].output_size
        maps = torch.empty(regions, extractor.out_channels, *side, device=META)
        if roi_head.with_shared_head:
            maps, cost = count(roi_head.shared_head, maps)
            total += cost
        found, cost = count(head, maps, *more)
        total += cost
        if relays:
            more = (found[-1],)  # logits and features
    return total


def _listed(modules: nn.Module) -> list[nn.Module]:
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]


def _parts(model: nn.Module, costs: dict[str, MultiplyAdds | None]) -> list[Part]:
    """Every parameter in exactly one part, ``other`` for those of none."""
    params = dict.fromkeys(costs, 0)
    trainable = dict.fromkeys(costs, 0)
    for name, parameter in model.named_parameters():
        part = next((part for part in costs if name.startswith(f'{part}.')), 'other')
        params[part] = params.get(part, 0) + parameter.numel()
        trainable[part] = trainable.get(part, 0) + parameter.numel() * parameter.requires_grad
    return [Part(name, params[name], trainable[name], costs.get(name)) for name in params]
