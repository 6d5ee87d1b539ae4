"""Numbers that contradict the number of classes are refused with both numbers and the option."""

import pytest
from mmengine.config import Config
from torch import nn

from mmswin.engine import class_counts
from mmswin.errors import RunError


class Loss(nn.Module):
    __module__ = 'mmseg.models.losses'

    def __init__(self, weights, use_sigmoid=False) -> None:
        super().__init__()
        self.class_weight, self.use_sigmoid = weights, use_sigmoid


def model(weights, segments: bool, **more) -> nn.Module:
    head = nn.Module()
    head.num_classes, head.loss = 3, Loss(weights, **more)
    if segments:
        head.conv_seg = None
    return nn.ModuleDict({'head': head})


CFG = Config({'model': {}})


def test_heads_without_a_background():
    class Classifier(nn.Module):
        __module__ = 'mmpretrain.models.heads'

    class Mine(Classifier):
        pass

    for head in (Mine(), nn.Module()):
        head.num_classes, head.loss, head.conv_logits = 3, Loss([1.0] * 3), None
        class_counts.check(CFG, nn.ModuleDict({'head': head}))
        del head.conv_logits
        if isinstance(head, Mine):
            class_counts.check(CFG, nn.ModuleDict({'head': head}))


@pytest.mark.parametrize(
    ('weights', 'segments', 'more'),
    [
        ([1.0] * 3, True, {}),
        ([1.0] * 4, False, {}),
        ([1.0] * 3, False, {'use_sigmoid': True}),
        (None, True, {}),
        (0.1, False, {}),
    ],
)
def test_weights_that_fit(weights, segments, more):
    class_counts.check(CFG, model(weights, segments, **more))


@pytest.mark.parametrize(('number', 'segments', 'wanted'), [(2, True, 3), (3, False, 4)])
def test_weights_that_do_not(number, segments, wanted):
    with pytest.raises(RunError, match=rf'model\.head\.loss\.class_weight has {number} .*num_classes=3.* {wanted}'):
        class_counts.check(CFG, model([1.0] * number, segments))


def test_things_and_stuff():
    part = {'num_things_classes': 80, 'num_stuff_classes': 53}
    cfg = Config({'model': {'panoptic_head': dict(part), 'panoptic_fusion_head': dict(part)}})
    class_counts.check(cfg, nn.Module())
    cfg.model.panoptic_fusion_head.num_things_classes = 2
    with pytest.raises(RunError, match=r'2 things .*panoptic_head has 80'):
        class_counts.check(cfg, nn.Module())
    cfg.model.panoptic_fusion_head.num_things_classes = 80
    cfg.train_dataloader = {'dataset': {'metainfo': {'classes': ('a', 'b')}}}
    with pytest.raises(RunError, match=r'together 133, .* 2 classes'):
        class_counts.check(cfg, nn.Module())


def test_more_boxes_than_queries_can_give():
    head = nn.Module()
    head.num_queries, head.num_classes = 100, 2  # each query may be found once for each class
    class_counts.check(Config({'model': {'test_cfg': {'max_per_img': 200}}}), head)
    with pytest.raises(RunError, match=r'max_per_img=300.*100 queries'):
        class_counts.check(Config({'model': {'test_cfg': {'max_per_img': 300}}}), head)


@pytest.mark.parametrize(('topk', 'fits'), [((1, 5), False), (5, False), ((1, 3), True), (1, True)])
@pytest.mark.parametrize('part', ['val_evaluator', 'test_evaluator'])
def test_no_accuracy_among_more_than_the_classes(topk, fits, part):
    cfg = Config({'model': {}, part: {'type': 'Accuracy', 'topk': topk}})
    if fits:
        class_counts.check(cfg, model(None, False))
        return
    with pytest.raises(RunError, match=rf'{part}\.topk.*num_classes=3'):
        class_counts.check(cfg, model(None, False))
