"""Mask RepPoints V2: centroids, masks beside their convolutions written out, losses, and the whole detector."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from models import mask_reppointsv2
from torch import Tensor, nn

from mmswin.dense_heads.mask_reppoints_v2_head import AuxiliaryMaskHead, mask_centers
from mmswin.ops.autocast import autocast_to
from mmswin.registry import MODELS

pytestmark = pytest.mark.usefixtures('mmdet_scope')


def detector() -> nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(mask_reppointsv2()))
    model.init_weights()
    return model


def mask_head() -> AuxiliaryMaskHead:
    return detector().mask_head


def sample(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (96, 128)) -> DetDataSample:
    """Objects whose masks are the upper left halves of their boxes."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1 : (y1 + y2) // 2, x1:x2] = 1
    found = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
    found.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4).float(),
        labels=torch.zeros(len(boxes)).long(),
        masks=BitmapMasks(masks.numpy(), *size),
    )
    found.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return found


def losses_of(model: nn.Module, *samples: DetDataSample) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randint(0, 255, (3, 96, 128), generator=generator, dtype=torch.uint8) for _ in samples]
    data = model.data_preprocessor(dict(inputs=images, data_samples=list(samples)), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    return {name: sum(loss) if isinstance(loss, list) else loss for name, loss in losses.items()}


def test_centers_are_centroids_and_those_of_boxes_without_a_mask() -> None:
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:7] = True
    centers = mask_centers(masks, torch.tensor([[0.0, 0, 9, 9], [2, 4, 6, 10]]))
    assert centers.tolist() == [[4.5, 3.0], [4.0, 7.0]]


def test_masks_are_three_layers_of_coordinates_and_features() -> None:
    head, generator = mask_head(), torch.Generator().manual_seed(0)
    feature = torch.randn(8, 4, 6, generator=generator)
    params = torch.randn(2, 189, generator=generator)
    places, strides = torch.tensor([[20.0, 10.0], [3.0, 30.0]]), torch.tensor([8.0, 32.0])
    info = InstanceData(param_preds=params, points=places, strides=strides)
    both = head.train().forward_single(feature, info)[0]
    final = head.eval().forward_single(feature, info)[0]
    assert both.shape == (4, 8, 12) and torch.equal(both[2:], final)
    y, x = torch.meshgrid(torch.arange(4) * 8 + 4, torch.arange(6) * 8 + 4, indexing='ij')
    for index, one in enumerate(params):
        w1, w2, w3, b1, b2, b3, _, w_hidden, _, b_hidden = one.split([80, 64, 8, 8, 8, 1, 10, 8, 1, 1])
        relative = (places[index].view(2, 1, 1) - torch.stack([x, y])) / (8 * strides[index])
        hidden = torch.einsum('oi,ihw->ohw', w1.view(8, 10), torch.cat([relative, feature])) + b1.view(8, 1, 1)
        first = torch.einsum('i,ihw->hw', w_hidden, hidden.relu()) + b_hidden
        hidden = torch.einsum('oi,ihw->ohw', w2.view(8, 8), hidden.relu()) + b2.view(8, 1, 1)
        last = torch.einsum('i,ihw->hw', w3, hidden.relu()) + b3
        # Upsampling keeps values at every second place, from the second on.
        torch.testing.assert_close(both[index, 1::2, 1::2], first, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(both[2 + index, 1::2, 1::2], last, rtol=1e-4, atol=1e-4)


def test_perfect_masks_have_no_loss_and_the_first_layers_counts_for_less() -> None:
    head = mask_head().train()
    instances = sample((16, 16, 80, 64)).gt_instances
    target = torch.from_numpy(instances.masks.masks)[0, 2::4, 2::4].float() * 200 - 100
    info = InstanceData(param_preds=torch.zeros(1, 189), pos_assigned_gt_inds=torch.tensor([0]))
    losses = head.loss_by_feat([torch.stack([target, target])], [instances], [{}], [info])
    assert losses['loss_mask'].item() == pytest.approx(0, abs=1e-5)
    losses = head.loss_by_feat([torch.stack([-target, -target])], [instances], [{}], [info])
    assert losses['loss_mask'].item() == pytest.approx(1, abs=1e-5)
    assert losses['loss_mask_auxiliary'].item() == pytest.approx(0.6, abs=1e-5)


def test_every_parameter_learns_with_and_without_objects() -> None:
    model = detector()
    with torch.no_grad():  # at first all boxes are points, and none is assigned
        model.bbox_head.reppoints_pts_init_out.bias[:4] = torch.tensor([-2.0, -2.0, 2.0, 2.0])
    for samples in ([sample((16, 16, 80, 64), (8, 40, 60, 90)), sample()], [sample(), sample()]):
        model.zero_grad()
        losses = losses_of(model, *samples)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        assert (losses['loss_mask'] > 0.1) == bool(len(samples[0].gt_instances))
        without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert not without


@pytest.mark.parametrize('training', [True, False])
def test_at_most_so_many_objects_of_a_batch_are_trained(training: bool) -> None:
    head, seen = mask_head().train(training), []
    head.max_in_batch = 3
    head.register_forward_hook(lambda _, inputs, output: seen.append([len(info.points) for info in inputs[1]]))
    maps = [torch.randn(2, 16, 96 // stride, 128 // stride) for stride in (8, 16, 32)]
    infos = [
        InstanceData(
            param_preds=torch.zeros(count, 189, requires_grad=True),
            points=torch.zeros(count, 2),
            strides=torch.full((count,), 8.0),
            pos_assigned_gt_inds=torch.zeros(count).long(),
        )
        for count in (4, 2)
    ]
    samples = [sample((16, 16, 80, 64)), sample((16, 16, 80, 64))]
    for one in samples:
        one.set_metainfo(dict(batch_input_shape=(96, 128)))
    losses = head.loss(maps, samples, positive_infos=infos)
    assert sum(seen[0]) == 3 and head.training == training
    # Masks of 0.5 everywhere: of one loss as well as the other, in either mode.
    assert losses['loss_mask_auxiliary'].item() == pytest.approx(0.6 * losses['loss_mask'].item())
    assert losses['loss_mask'] > 0


def test_objects_are_not_chosen_by_scores() -> None:
    with pytest.raises(ValueError, match='topk_masks_per_img=64'):
        MODELS.build(ConfigDict(mask_reppointsv2()['mask_head'], topk_masks_per_img=64))


def test_objects_lie_in_the_middle_of_their_points() -> None:
    model = detector().eval()
    points = [torch.zeros(1, 18, 4, 6), torch.zeros(1, 18, 2, 3)]
    points[0][0, 1::2, 2, 3] = torch.arange(9.0)  # x
    model.bbox_head.point_strides = (8, 16)
    model.bbox_head.prior_generator.strides = [(8, 8), (16, 16)]
    places, strides = model.bbox_head._places(points)
    assert places[0][0, :, 2, 3].tolist() == [3 * 8 + 4 + 4 * 8, 2 * 8 + 4]
    assert places[1][0, :, 1, 2].tolist() == [40, 24] and strides[1].unique().tolist() == [16]


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_a_detector_predicts_masks_of_the_original_size(dtype: torch.dtype | None) -> None:
    model = detector().eval()
    with torch.no_grad():
        model.bbox_head.reppoints_pts_init_out.bias[:4] = torch.tensor([-2.0, -2.0, 2.0, 2.0])
    image = torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)
    meta = sample()
    meta.set_metainfo(dict(ori_shape=(48, 64), scale_factor=(2.0, 2.0)))
    with torch.no_grad(), autocast_to('cpu', dtype):
        (found,) = model.test_step(dict(inputs=[image], data_samples=[meta]))
    result = found.pred_instances
    assert len(result) == 5 and result.masks.shape == (5, 48, 64) and result.bboxes.max() <= 64
