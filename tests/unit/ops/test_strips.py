"""Strips hold every token once, in window order, with the masks of the whole map."""

import pytest
import torch

from mmswin.ops.cpu import chunks as module
from mmswin.ops.cpu.chunks import Strips, strips
from mmswin.ops.cpu.parallel import Cut
from mmswin.ops.windows import region_mask, to_windows, window_plan

CASES = [
    # batch, height, width, window, shift
    (1, 14, 21, (7, 7), (0, 0)), (2, 14, 21, (7, 7), (3, 3)), (3, 9, 12, (7, 7), (3, 3)), (2, 3, 4, (7, 7), (3, 3)),
    (2, 10, 11, (4, 6), (2, 3)), (5, 6, 6, (3, 3), (1, 0)), (5, 7, 6, (3, 3), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize('parts', [1, 2, 3, 5, 10**6])
@pytest.mark.parametrize('case', CASES)
def test_strips_in_a_row_are_the_partition(case, parts):
    batch, height, width, window, shift = case
    plan = window_plan(height, width, window, shift)
    x, value = torch.randn(batch, height, width, 4), torch.randn(4)
    flat, windows = x.view(-1, 4), to_windows(x, plan, value)
    back, ordered = torch.full_like(flat, torch.nan), torch.full_like(flat, torch.nan)
    found, masks = [], []
    for strip in Strips(plan, batch, x.device, Cut(parts, 1)):
        taken = strip.take(flat)
        strip.rows_of(ordered).copy_(taken)
        found.append(strip.in_places(taken, value).view(strip.windows, plan.tokens, 4))
        assert torch.equal(strip.of_tokens(strip.in_places(taken)), taken)
        strip.put(taken, back)
        masks.append(strip.mask_(torch.zeros(strip.windows, 2, plan.tokens, plan.tokens)))
    assert torch.equal(torch.cat(found), windows)
    assert torch.equal(back, flat)
    mask = region_mask(plan, windows)
    expected = torch.zeros(len(windows), plan.tokens, plan.tokens) if mask is None else mask.repeat(batch, 1, 1)
    assert torch.equal(torch.cat(masks), expected[:, None].expand(-1, 2, -1, -1))
    assert len(found) == min(parts, plan.rows * plan.columns * batch)
    inside = to_windows(torch.ones(batch, height, width, 1), plan).flatten().bool()
    assert torch.equal(ordered, windows.view(-1, 4)[inside])


def test_those_of_the_maps_last_used_are_kept(monkeypatch):
    monkeypatch.setattr(module, '_kept', type(module._kept)())
    monkeypatch.setattr(module, 'KEPT_PLACES', 6 * 49)
    cpu = torch.device('cpu')
    small, other = window_plan(14, 14, (7, 7)), window_plan(7, 14, (7, 7))
    first = strips(small, 1, cpu)
    with torch.inference_mode():
        tokens = first[0].tokens
    assert not tokens.is_inference()
    assert strips(small, 1, cpu) is first and first[-1].tokens is tokens
    second = strips(other, 1, cpu)
    assert strips(small, 1, cpu) is first and strips(other, 1, cpu) is second  # 6 windows in all
    strips(small, 2, cpu)  # 8 alone
    assert strips(other, 1, cpu) is second and strips(small, 1, cpu) is first
    third = strips(other, 2, cpu)  # 4: both of the others must go
    assert strips(other, 2, cpu) is third and strips(small, 1, cpu) is not first
