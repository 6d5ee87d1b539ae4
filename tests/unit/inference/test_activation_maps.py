"""Activation maps: they follow the gradient of the one logit, whatever computes it, and lie where the picture is."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from predictors import detection, mask_rcnn, segmentation, write

import mmswin
from mmswin.errors import RunError
from mmswin.inference.activation_maps import METHODS, _box, _fit, _targets, explain, stage_outputs
from mmswin.inference.predictor import Predictor
from mmswin.inference.results import Result


@pytest.fixture
def image() -> np.ndarray:
    return cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 14, 3), np.uint8), (110, 70))


def loaded(folder, config) -> Predictor:
    return mmswin.load(*write(folder, config), device='cpu')


def test_methods():
    values, gradients = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]]), torch.tensor([[[1.0, 0.0], [-2.0, 4.0]]])
    found = {name: method(values, gradients).tolist() for name, method in METHODS.items()}
    assert found == {'grad-cam': [[3.5, -3.5]], 'hires-cam': [[1.0, -10.0]], 'layer-cam': [[1.0, -4.0]]}


def test_maps_lie_where_the_picture_is():
    # 70 x 100 pixels, padded to 96 x 128, 3 x 4 tokens of 32 pixels; then the picture was half as large.
    values = np.zeros((3, 4), np.float32)
    values[1, 2] = 5
    found = _fit(values, (96, 128), (70, 100), (35, 50))
    assert found.shape == (35, 50) and found.max() == 1
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (abs(row - 24) <= 2, abs(column - 40) <= 2) == (True, True)
    # A last token that lies half over the border: 33 pixels are two tokens of 32.
    found = _fit(np.array([[0.0], [1.0]], np.float32), (33, 20), (33, 20), (33, 20))
    assert found[0, 0] == 0 and found.argmax() // 20 == 32


@pytest.mark.parametrize('target', ['box', 'mask'])
def test_lean_ways_and_frozen_weights_change_no_map(tmp_path, image, target):
    found = []
    reference = dict(attn_backend='reference', with_cp=False)
    for changes in ({}, reference, {'frozen_stages': 4}):
        predictor = loaded(tmp_path, mask_rcnn(**changes))
        if 'frozen_stages' in changes:
            for parameter in predictor.backend.model.parameters():
                parameter.requires_grad_(False)
        found.append(list(explain(predictor, image, number=2, target=target, method='hires-cam', score=0)))
    for one, others in zip(found[0], zip(*found[1:])):
        assert [name.split(',')[0] for name in one.maps] == [f'stage {i}' for i in (1, 2, 3, 4)]
        assert one.title.endswith(target) and len(one.result.instances) == 1
        for other in others:
            for name, values in one.maps.items():
                assert values.shape == (70, 110) and values.min() >= 0 and values.max() in (0, 1)
                np.testing.assert_allclose(values, other.maps[name], atol=1e-4)
    assert all(values.any() for values in found[0][0].maps.values())
    picture = found[0][0].draw()
    assert picture.dtype == np.uint8 and picture.ndim == 3 and (picture == 255).all(2).any()


def test_gradients_are_those_of_the_logit(tmp_path):
    """Of the box's class in the box head, against a direct computation with the last stage moved a little."""
    predictor = loaded(tmp_path, mask_rcnn())
    model = predictor.backend.model.double()
    inputs = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    outputs, features = stage_outputs(model, inputs.requires_grad_())
    box = torch.tensor([[5.0, 8.0, 60.0, 50.0]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(_box(model, features, box, 0), [outputs[4]])
    step = torch.randn_like(outputs[4])
    moved = []
    for sign in (1, -1):
        hook = model.backbone.norm3.register_forward_pre_hook(lambda _, args, s=sign: (args[0] + s * 1e-5 * step,))
        moved.append(_box(model, model.extract_feat(inputs), box, 0).item())
        hook.remove()
    assert (gradient * step).sum().item() == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-4)


def test_a_box_between_the_places_of_a_dense_head_has_the_nearest(tmp_path):
    model = loaded(tmp_path, detection()).backend.model
    features = model.extract_feat(torch.rand(1, 3, 64, 96))
    logits = model.bbox_head(features)[0][0]
    found = _box(model, features, torch.tensor([[1.0, 8.5, 3.0, 9.5]]), 1)  # places lie at 4, 12, 20, ...
    assert found == logits[0, 1, 1, 0]


def test_two_classes_of_one_name_have_their_own_logits(image):
    result = Result(image, 'a', ('crane', 'cat', 'crane'), [(0, 0, 0)] * 3, scores=np.float32([0.1, 0.3, 0.6]))
    model = SimpleNamespace(head=lambda features: torch.tensor([[1.0, 2.0, 3.0]]))
    found = [(title, logit.item()) for title, _, logit in _targets(model, (), result, {}, 'box', 3)]
    assert found == [('crane 60', 3), ('cat 30', 2), ('crane 10', 1)]


def test_several_pictures_are_refused(tmp_path, image):
    with pytest.raises(RunError, match='2 pictures'):
        list(explain(loaded(tmp_path, detection()), [image, image]))


def test_dense_heads_and_label_maps(tmp_path, image):
    predictor = loaded(tmp_path, detection())
    (one,) = explain(predictor, image, number=1, score=0)
    # The first stage is no output of this backbone (out_indices), and leads to those that are.
    assert [name.split(',')[0] for name in one.maps] == [f'stage {i}' for i in (1, 2, 3, 4)]
    assert next(iter(one.maps.values())).max() == max(values.max() for values in one.maps.values()) == 1
    with pytest.raises(RunError, match='score'):
        list(explain(predictor, image, score=1))
    with pytest.raises(RunError, match=r'\[1, 2, 3, 4\]'):
        list(explain(predictor, image, stages=[7], score=0))
    predictor = loaded(tmp_path, segmentation())
    found = list(explain(predictor, image, number=9))
    (whole,) = predictor(image)
    assert [one.title for one in found] == list(whole.counts())
    assert list(found[0].result.counts()) == [found[0].title]


@pytest.mark.parametrize('config', [detection, segmentation])
def test_masks_of_a_model_without_masks_are_refused(tmp_path, image, config):
    predictor = loaded(tmp_path, config())
    with pytest.raises(RunError, match=f"'mask'.*{type(predictor.backend.model).__name__}"):
        list(explain(predictor, image, target='mask', score=0))


def test_an_exported_program_is_refused(image, detector):
    with pytest.raises(RunError, match='exported'):
        list(explain(detector, image))


def test_a_broken_picture(tmp_path):
    (tmp_path / 'a.jpg').write_text('broken')
    with pytest.raises(RunError, match=r'a\.jpg'):
        list(explain(loaded(tmp_path, detection()), tmp_path / 'a.jpg'))
