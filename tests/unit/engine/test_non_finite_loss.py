"""NonFiniteLossHook: finite losses pass; the first that is not stops the run before a checkpoint can be saved, naming
the iteration, the terms and the images of the batch.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub
from mmengine.runner import get_priority
from mmengine.structures import BaseDataElement, InstanceData

from mmswin.engine import NonFiniteLossHook
from mmswin.engine.non_finite_loss import image_ids
from mmswin.errors import NonFiniteLossError


def runner(iteration: int = 6) -> SimpleNamespace:
    return SimpleNamespace(
        iter=iteration, epoch=1, message_hub=MessageHub('test'), logger=SimpleNamespace(error=lambda message: None)
    )


def sample(**meta) -> BaseDataElement:
    return BaseDataElement(metainfo=meta)


def outputs(**terms: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in terms.items()}


BATCH = {'inputs': [], 'data_samples': [sample(img_id=42, img_path='a/42.jpg'), sample(img_path='b/7\x1b[2J.png')]}


def test_finite_losses_pass():
    hook = NonFiniteLossHook()
    hook.before_train(runner())
    hook.after_train_iter(runner(), 0, BATCH, outputs(loss=1e30, loss_cls=1.0, acc=math.nan))


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_iteration_terms_and_images_are_named(value):
    with pytest.raises(NonFiniteLossError) as caught:
        NonFiniteLossHook().after_train_iter(
            runner(), 0, BATCH, outputs(loss=value, loss_cls=1.0, loss_bbox=value, acc=0.5)
        )
    message = str(caught.value)
    for text in ('iteration 7 (epoch 2)', f'loss_bbox={value:g}', '42 (a/42.jpg)', r'b/7\x1b[2J.png', 'no checkpoint'):
        assert text in message
    assert 'loss_cls' not in message
    assert '\n' not in message


def test_boxes_without_area_are_counted():
    images = [sample(img_id=number) for number in (1, 2)]
    images[0].gt_instances = InstanceData(bboxes=torch.tensor([[5.0, 5.0, 9.0, 9.0], [0.0, 240.0, 30.0, 240.0]]))
    images[1].gt_instances = InstanceData(bboxes=torch.tensor([[5.0, 5.0, 9.0, 9.0]]))
    for batch, text in ((images, '1 (such as a RandomCrop'), (images[1:], None)):
        with pytest.raises(NonFiniteLossError) as caught:
            NonFiniteLossHook().after_train_iter(runner(), 0, {'data_samples': batch}, outputs(loss=math.nan))
        if text:
            assert f'boxes without width or height: {text}' in str(caught.value)
        else:
            assert 'without width' not in str(caught.value)


def test_last_good_checkpoint_is_named():
    run = runner()
    run.message_hub.update_info('last_ckpt', 'work_dirs/x/epoch_1.pth')
    with pytest.raises(NonFiniteLossError, match='last good checkpoint is work_dirs/x/epoch_1.pth'):
        NonFiniteLossHook().after_train_iter(run, 0, BATCH, outputs(loss=math.nan))


def test_terms_are_checked_where_there_is_no_total():
    """Several optimizers: a train_step may report its terms alone."""
    with pytest.raises(NonFiniteLossError, match='loss_disc=nan'):
        NonFiniteLossHook().after_train_iter(runner(), 0, BATCH, outputs(loss_disc=math.nan, loss_gen=1.0))


@pytest.mark.parametrize('nothing', [None, {}, {'pred': torch.full((3, 3), math.nan)}, {'loss': 3.0}])
def test_outputs_without_scalar_losses_are_left_alone(nothing):
    NonFiniteLossHook().after_train_iter(runner(), 0, BATCH, nothing)


def test_interval():
    hook = NonFiniteLossHook(interval=5)
    hook.after_train_iter(runner(iteration=6), 0, BATCH, outputs(loss=math.nan))
    with pytest.raises(NonFiniteLossError):
        hook.after_train_iter(runner(iteration=9), 0, BATCH, outputs(loss=math.nan))
    with pytest.raises(ValueError, match='interval must be at least 1, got 0'):
        NonFiniteLossHook(interval=0)


def test_runs_before_the_checkpoint_hook():
    """Or the spoilt weights of this very iteration would be saved."""
    assert get_priority(NonFiniteLossHook.priority) < get_priority(CheckpointHook.priority)


@pytest.mark.parametrize(
    'batch',
    [
        {'inputs': [], 'data_samples': [sample(img_id=3)]},
        {'inputs': {}, 'data_samples': {'sup': [sample(img_id=3)]}},
        {'sup': {'data_samples': [sample(img_id=3)]}},
        [sample(img_id=3)],
    ],
)
def test_images_of_wrapped_batches_are_found(batch):
    assert image_ids(batch) == ['3']


@pytest.mark.parametrize('batch', [None, {}, torch.zeros(2), {'inputs': torch.zeros(2)}])
def test_batches_without_samples_have_no_images(batch):
    assert image_ids(batch) == []
