"""Muon against torch's Muon and AdamW."""

import pytest
import torch
from torch import nn

from mmswin.engine.muon import Muon, orthogonalize


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 64, 4), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 96), nn.Linear(96, 2))


def train(model: nn.Module, *optimizers: torch.optim.Optimizer, steps: int = 4, start: int = 0) -> list[torch.Tensor]:
    for step in range(start, start + steps):
        torch.manual_seed(step)
        model(torch.randn(8, 3, 4, 4)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return [p.detach().clone() for p in model.parameters()]


@pytest.fixture
def in_float32(monkeypatch):
    monkeypatch.setattr('mmswin.engine.muon.is_slower', lambda dtype: True)


@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='torch.optim.Muon came with torch 2.9')
def test_steps_are_those_of_torch(monkeypatch):
    monkeypatch.setattr('mmswin.engine.muon.is_slower', lambda dtype: False)
    ours, theirs = network(), network()
    matrices = [theirs[3].weight]
    rest = [p for p in theirs.parameters() if p is not theirs[3].weight]
    muon = torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, adjust_lr_fn='match_rms_adamw')
    found = train(ours, Muon(ours.parameters(), lr=0.01, weight_decay=0.1))
    expected = train(theirs, muon, torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=0)  # both in bfloat16: one rounding of 2^-9 of a step
    assert not torch.equal(found[-3], network()[3].weight)


@pytest.mark.parametrize('shape', [(64, 96), (96, 64), (80, 80)])
def test_singular_values_come_near_one(in_float32, shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 1e-3
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.max() < 1.25
    assert values.median() > 0.65
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    # Of the nearest orthogonal matrix itself this is all of min(shape).
    assert (orthogonalize(matrix) * (u @ v)).sum() > 0.75 * min(shape)


def test_a_group_of_both_kinds_becomes_two(in_float32):
    model = network()
    groups = Muon(
        [dict(params=list(model.parameters()), lr=0.5), dict(params=[nn.Parameter(torch.ones(3))])]
    ).param_groups
    assert [(len(g['params']), g['matrices'], g['lr']) for g in groups] == [
        (1, True, 0.5),
        (7, False, 0.5),
        (1, False, 1e-3),
    ]
    everything = Muon(network().parameters(), smallest_side=2).param_groups[0]
    assert [tuple(p.shape) for p in everything['params']] == [(96, 64), (2, 96)]


def test_a_resumed_run_goes_on_to_the_bit(in_float32):
    straight = network()
    expected = train(straight, Muon(straight.parameters()), steps=6)
    model = network()
    first = Muon(model.parameters())
    train(model, first, steps=3)
    again = network()
    again.load_state_dict(model.state_dict())
    second = Muon(again.parameters(), lr=0.1)
    second.load_state_dict(first.state_dict())
    for one, other in zip(train(again, second, steps=3, start=3), expected, strict=True):
        assert torch.equal(one, other)


def test_a_gradient_of_zero_moves_nothing_but_by_weight_decay(in_float32):
    weight = nn.Parameter(torch.ones(64, 64))
    weight.grad = torch.zeros(64, 64)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight, torch.full((64, 64), 0.95))


@pytest.mark.parametrize('wrong', [dict(momentum=1.0), dict(lr=-1.0), dict(betas=(1.0, 0.9)), dict(smallest_side=65)])
def test_values_out_of_range(wrong):
    with pytest.raises(ValueError, match='momentum|learning rate|beta|smallest_side'):
        Muon([nn.Parameter(torch.ones(64, 64))], **wrong)
