"""RepPoints V2's head: the released number of parameters, what flows where, losses and boxes of made-up maps."""

from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from models import reppointsv2
from torch import Tensor

from mmswin.checkpoints.formats import REPPOINTS_V2_HEAD
from mmswin.checkpoints.naming import rename_below
from mmswin.dense_heads import RepPointsV2Head
from mmswin.ops.autocast import autocast_to
from mmswin.registry import MODELS

pytestmark = pytest.mark.usefixtures('mmdet_scope')

SHAPE = (128, 192)
SIZES = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
STRIDES = (8, 16, 32, 64, 128)
BOX = (36.0, 20.0, 100.0, 84.0)  # first stage: the point at its middle on the level of stride 16
META = dict(img_shape=SHAPE, pad_shape=SHAPE, batch_input_shape=SHAPE, ori_shape=SHAPE, scale_factor=(1.0, 1.0))


def head_of(**changes: Any) -> RepPointsV2Head:
    torch.manual_seed(0)
    cfg = ConfigDict(reppointsv2())
    head = MODELS.build({**cfg.bbox_head, 'train_cfg': cfg.train_cfg, 'test_cfg': cfg.test_cfg, **changes})
    head.init_weights()
    return head


def test_the_class_loss_has_the_released_values() -> None:
    """Class 0 that should learn an IoU of 0.7, and background."""
    logits = torch.tensor([[0.3, -1.2], [-0.5, 0.8]])
    target = torch.tensor([0, 2]), torch.tensor([0.7, 0.0])
    loss = head_of().loss_cls(logits, target, reduction_override='none')
    assert loss.tolist() == pytest.approx([0.024265, 0.625093], abs=1e-6)


def features(seed: int = 0, images: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, 16, *size, generator=generator) for size in SIZES]


def objects(*boxes: tuple[float, ...]) -> InstanceData:
    return InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.ones(len(boxes)).long())


def made_up_maps() -> tuple[list[Tensor], ...]:
    """What the head could give: nothing is found anywhere, and points are where they are."""
    channels = (2, 18, 18, 2, 4, 2)
    maps = tuple([torch.zeros(1, count, *size) for size in SIZES] for count in channels)
    for kind in (0, 3, 5):
        for x in maps[kind]:
            x.fill_(-20.0)
    return maps


def put(maps: tuple[list[Tensor], ...], level: int, x: int, y: int, box: tuple[float, ...]) -> None:
    """Let one place predict a box in both stages, with certainty in the second."""
    stride = STRIDES[level]
    points = [box[1] / stride - y, box[0] / stride - x, box[3] / stride - y, box[2] / stride - x]
    for kind in (1, 2):
        maps[kind][level][0, :4, y, x] = torch.tensor(points)
    maps[0][level][0, 1, y, x] = 20.0


def test_parameters_are_those_of_the_released_models() -> None:
    with torch.device('meta'):
        head = MODELS.build(dict(type='mmswin.RepPointsV2Head', num_classes=80, in_channels=256))
    assert sum(parameter.numel() for parameter in head.parameters()) == 7_210_442


def test_weights_start_small_and_scores_at_a_hundredth() -> None:
    head = head_of(feat_channels=64, in_channels=64)
    for layer in (head.cls_convs[0].conv, head.shared_conv.conv, head.reppoints_cls_conv, head.reppoints_pts_init_conv):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert head.corner_modules[0].direction1_conv.conv.weight.std() > 0.03
    for layer in (head.reppoints_cls_out, head.foreground_out, *head.corner_score_outs):
        assert layer.bias.tolist() == pytest.approx([-4.59512] * len(layer.bias))
    assert not head.reppoints_pts_init_out.bias.any()
    head = head_of(init_cfg=dict(type='Constant', layer='Conv2d', val=2.0, bias=3.0))
    assert head.reppoints_cls_out.weight.eq(2).all() and head.reppoints_cls_out.bias.eq(3).all()


def test_maps_have_their_channels_in_training_and_evaluation() -> None:
    head = head_of()
    found = head(features())
    for x, channels in zip(found, (2, 18, 18, 2, 4, 2), strict=True):
        assert [tuple(level.shape) for level in x] == [(1, channels, *size) for size in SIZES]
    for one, other in zip(found, head.eval()(features())):
        assert all(torch.equal(x, y) for x, y in zip(one, other))


def test_what_gradients_reach() -> None:
    """Corner outputs are not detached; of the first points a tenth comes back through the offsets, none through the sum."""
    head = head_of()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    x = features()[1]
    bias = head.reppoints_pts_init_out.bias

    def gradients(gradient_mul: float) -> tuple[Tensor, Tensor]:
        head.gradient_mul = gradient_mul
        cls_score, _, pts_refine, *_ = head.forward_single(x)
        weight = torch.randn(pts_refine.shape, generator=torch.Generator().manual_seed(2))
        total = (pts_refine * weight).sum() + cls_score.square().sum()
        return torch.autograd.grad(total, [bias, head.corner_score_outs[0].bias])

    small, large, none = gradients(0.1), gradients(1.0), gradients(0.0)
    torch.testing.assert_close(small[0], 0.1 * large[0])
    assert large[0].abs().max() > 0.01 and not none[0].any()
    assert small[1].abs().max() > 1e-6


def test_boxes_are_the_first_two_points() -> None:
    head = head_of()
    points = torch.arange(36.0).view(2, 18)
    assert head.points2bbox(points).tolist() == [[1, 0, 3, 2], [19, 18, 21, 20]]
    assert head.points2bbox(points, y_first=False)[0].tolist() == [0, 1, 2, 3]


def test_every_parameter_learns_and_empty_images_are_no_trouble() -> None:
    head = head_of()
    samples = [DetDataSample(metainfo=META) for _ in range(2)]
    for sample, boxes in zip(samples, [(BOX, (3.0, 5, 20, 18)), ()]):
        sample.gt_instances, sample.ignored_instances = objects(*boxes), objects()
    losses = head.loss(features(images=2), samples)
    total = sum(sum(loss) if isinstance(loss, list) else loss for loss in losses.values())
    total.backward()
    assert total.isfinite()
    assert not [name for name, parameter in head.named_parameters() if parameter.grad is None]
    assert not [name for name, parameter in head.named_parameters() if not parameter.grad.isfinite().all()]
    samples[0].gt_instances = objects()
    losses = head.loss(features(images=2), samples)
    values = {name: sum(loss) if isinstance(loss, list) else loss for name, loss in losses.items()}
    assert all(value.isfinite() for value in values.values())
    assert values['loss_pts_init'] == values['loss_pts_refine'] == values['loss_corner_offset'] == 0


def test_perfect_maps_have_no_loss() -> None:
    head, maps = head_of(), made_up_maps()
    put(maps, 1, 4, 3, BOX)
    instances = objects(BOX)
    for level, stride in enumerate(STRIDES):
        for corner, (x, y) in enumerate((BOX[:2], BOX[2:])):
            cell = [min(round(value / stride - 1e-6), side - 1) for value, side in zip((y, x), SIZES[level])]
            maps[3][level][0, corner, cell[0], cell[1]] = 20.0
            maps[4][level][0, 2 * corner : 2 * corner + 2, cell[0], cell[1]] = torch.tensor(
                [x / stride - cell[1], y / stride - cell[0]]
            )
    maps[5][0][0, 1, 2:11, 4:13] = 20.0
    rows = {1: (slice(1, 6), slice(2, 7)), 2: (slice(1, 3), slice(1, 4)), 3: (slice(1, 2), slice(1, 2))}
    for level, (y, x) in rows.items():
        maps[5][level][0, 1, y, x] = 20.0
    losses = head.loss_by_feat(*maps, [instances], [META])
    values = {name: float(sum(x)) if isinstance(x, list) else float(x) for name, x in losses.items()}
    assert set(values) == {
        'loss_cls', 'loss_pts_init', 'loss_pts_refine', 'loss_corner', 'loss_corner_offset', 'loss_foreground'
    }  # fmt: skip
    assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=1e-4)


def test_losses_are_weighted_sums_over_levels_and_means_over_positives() -> None:
    """One object, one positive: the boxes are off by known amounts, and every loss is known."""
    head, maps = head_of(), made_up_maps()
    put(maps, 1, 4, 3, BOX)
    maps[2][1][0, :4, 3, 4] += 4.0  # a unit of four strides; the object has one a side
    losses = head.loss_by_feat(*maps, [objects(BOX)], [META])
    # GIoU of boxes of 2 x 2 that overlap in 1 x 1, once the 1 is added; weighted 2.
    assert float(sum(losses['loss_pts_refine'])) == pytest.approx(2 * (1 - 1 / 7 + 2 / 9), abs=1e-4)
    assert float(sum(losses['loss_pts_init'])) == pytest.approx(0, abs=1e-5)
    # The score says certain, the boxes touch alone: IoU 0.
    assert float(sum(losses['loss_cls'])) == pytest.approx(20.0, abs=1e-2)
    # Two corners at five levels, each missed with a logit of -20.
    assert float(sum(losses['loss_corner'])) == pytest.approx(0.25 * 5 * 20 / 5, rel=1e-3)


def test_boxes_are_found_and_refined_by_finer_corners() -> None:
    head, maps = head_of(), made_up_maps()
    head.test_cfg['score_thr'] = 0.05
    put(maps, 1, 4, 3, (38.0, 21.0, 98.0, 86.0))
    maps[3][0][0, 0, 2, 5], maps[4][0][0, :2, 2, 5] = 3.0, torch.tensor([-0.5, 0.5])  # at (40, 16): the corner (36, 20)
    maps[3][0][0, 1, 11, 13], maps[4][0][0, 2:, 11, 13] = 3.0, torch.tensor([-0.5, -0.5])  # at (104, 88): (100, 84)
    put(maps, 0, 20, 10, (140.0, 60.0, 180.0, 99.0))
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[META])
    assert found.labels.tolist() == [1, 1]
    assert sorted(found.bboxes.tolist()) == [pytest.approx(BOX), pytest.approx((140, 60, 180, 99))]
    meta = dict(META, img_shape=(90, 170), scale_factor=(2.0, 2.0))
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[meta], rescale=True)
    assert sorted(found.bboxes.tolist())[1] == pytest.approx((70, 30, 85, 45))
    head.corner_levels = (None,) * 5
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[META])
    assert min(found.bboxes.tolist()) == pytest.approx((38, 21, 98, 86))


def test_places_are_chosen_by_their_best_class_and_keep_all() -> None:
    head, maps = head_of(), made_up_maps()
    head.test_cfg.update(score_thr=0.05, nms_pre=1)
    put(maps, 0, 5, 6, (10.0, 10, 60, 60))
    put(maps, 0, 15, 6, (100.0, 10, 150, 60))
    maps[0][0][0, 0, 6, 5] = 0.0
    (found,) = head.predict_by_feat(*maps, batch_img_metas=[META])
    assert found.labels.tolist() == [1, 0] and found.scores.tolist() == pytest.approx([1.0, 0.5])


def test_points_are_float32_under_bfloat16() -> None:
    head = head_of().eval()
    expected = head(features())
    with autocast_to('cpu', torch.bfloat16):
        found = head(features())
    for kind in range(5):
        for one, other in zip(found[kind], expected[kind]):
            assert one.dtype == torch.float32
            torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_the_names_of_released_checkpoints_load() -> None:
    head = head_of()
    own = [name for name in head.state_dict() if name.startswith(('cls_convs', 'reg_convs', 'reppoints'))]
    modules = ('shared_convs.0', 'reppoints_sem_embedding')
    theirs = own + [f'{name}.{part}' for name in modules for part in ('conv.weight', 'gn.weight', 'gn.bias')]
    theirs += ['reppoints_sem_out.weight', 'reppoints_sem_out.bias']
    for corner in ('tl', 'br'):
        theirs += [
            f'reppoints_hem_{corner}_{kind}_out.{part}' for kind in ('score', 'offset') for part in ('weight', 'bias')
        ]
        for layer in ('p1_conv1', 'p2_conv1', 'conv2'):
            theirs += [f'hem_{corner}.{layer}.{part}' for part in ('conv.weight', 'gn.weight', 'gn.bias')]
        theirs += [f'hem_{corner}.{part}' for part in ('p_conv1.weight', 'p_gn1.weight', 'p_gn1.bias')]
        theirs += [f'hem_{corner}.{part}' for part in ('conv1.weight', 'gn1.weight', 'gn1.bias')]
    names = dict.fromkeys(f'bbox_head.{name}' for name in theirs)
    rename_below(names, 'bbox_head.', REPPOINTS_V2_HEAD)
    assert set(names) == {f'bbox_head.{name}' for name in head.state_dict()} and len(theirs) == len(names)
    state = head.state_dict()
    for corner, number in (('tl', 0), ('br', 1)):
        state[f'hem_{corner}.gn1.bias'] = torch.full_like(
            state.pop(f'corner_modules.{number}.conv1.gn.bias'), number + 2
        )
    head.load_state_dict(state)
    assert [module.conv1.gn.bias.unique().tolist() for module in head.corner_modules] == [[2], [3]]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r'corner_levels=\(None, 0\)'):
        head_of(corner_levels=(None, 0))
    with pytest.raises(ValueError, match='FocalLoss'):
        head_of(loss_cls=dict(type='FocalLoss', use_sigmoid=True))
