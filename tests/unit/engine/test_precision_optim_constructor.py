"""A recipe with mixed precision trains in float32 where there is no accelerator, and says so."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper

from mmswin.engine import precision


@pytest.fixture
def warnings() -> list[str]:
    """Messages of level warning."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def wrapper_of(**options) -> OptimWrapper:
    cfg = dict(
        constructor='mmswin.OptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
        paramwise_cfg=dict(custom_keys=dict(weight=dict(decay_mult=0.0))),
    )
    return build_optim_wrapper(torch.nn.Linear(2, 2), cfg | options)


def test_without_an_accelerator(monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    monkeypatch.setattr(precision, 'has_accelerator', lambda: False)
    wrapper = wrapper_of(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', accumulative_counts=2)
    assert type(wrapper) is OptimWrapper and wrapper._accumulative_counts == 2
    assert len(warnings) == 1 and 'mixed precision is off: training in float32' in warnings[0]
    assert [group['weight_decay'] for group in wrapper.optimizer.param_groups] == [0.0, 0.05]


def test_with_an_accelerator_the_recipe_stands(monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    built = []
    monkeypatch.setattr(precision, 'has_accelerator', lambda: True)
    monkeypatch.setattr('mmengine.optim.AmpOptimWrapper.__init__', lambda self, **options: built.append(options))
    wrapper = wrapper_of(type='AmpOptimWrapper', dtype='bfloat16')
    assert type(wrapper).__name__ == 'AmpOptimWrapper'
    assert built[0]['dtype'] == 'bfloat16' and warnings == []


def test_a_plain_wrapper_is_left_alone(monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    monkeypatch.setattr(precision, 'has_accelerator', lambda: False)
    assert type(wrapper_of(type='OptimWrapper')) is OptimWrapper
    assert type(wrapper_of()) is OptimWrapper
    assert warnings == []
