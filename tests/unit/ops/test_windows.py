"""Windows: cutting and putting back moves data exactly, and who may attend to whom after a shift."""

import pytest
import torch

from mmswin.ops import windows
from mmswin.ops.caches import clear_caches
from mmswin.ops.windows import (
    MASKED_SCORE,
    bias_table_rows,
    from_heads,
    region_mask,
    relative_position_index,
    to_heads,
    window_plan,
)


def to_windows(x, plan, value=None):
    """The map of one part and one head, so that windows come as they are: ``(B * windows) x tokens x C``."""
    return to_heads(x, plan, num_heads=1, parts=1, value=value)[0].squeeze(1)


def from_windows(cut, plan):
    return from_heads(cut[None, :, None], plan)


CASES = [
    (14, 21, (7, 7), (0, 0)),
    (14, 21, (7, 7), (3, 3)),
    (9, 12, (7, 7), (3, 3)),
    (3, 2, (7, 7), (3, 3)),
    (1, 1, (7, 7), (0, 0)),
    (10, 11, (4, 6), (2, 3)),
    (8, 8, (1, 4), (0, 2)),
]


@pytest.mark.parametrize('captured', [False, True])
@pytest.mark.parametrize('case', CASES)
def test_round_trip_is_exact(case, captured, monkeypatch):
    monkeypatch.setattr(windows, 'is_recording', lambda: captured)
    plan = window_plan(*case)
    x = torch.randn(2, case[0], case[1], 5)
    cut = to_windows(x, plan)
    assert cut.shape == (2 * plan.rows * plan.columns, plan.tokens, 5)
    torch.testing.assert_close(from_windows(cut, plan), x, rtol=0, atol=0)


@pytest.mark.parametrize('case', CASES)
def test_the_recorded_form_equals_the_eager_one(case, monkeypatch):
    plan = window_plan(*case)
    x = torch.randn(2, case[0], case[1], 5, requires_grad=True)
    value = torch.randn(5, requires_grad=True)
    results = []
    for captured in (False, True):
        monkeypatch.setattr(windows, 'is_recording', lambda captured=captured: captured)
        cut = to_windows(x, plan, value)
        gradients = torch.autograd.grad(cut.square().sum(), (x, value), allow_unused=True)
        results.append((cut, gradients[0], torch.zeros(5) if gradients[1] is None else gradients[1]))
    for eager, recorded in zip(*results, strict=True):
        torch.testing.assert_close(eager, recorded)


def test_padding_holds_the_value_at_the_bottom_and_right():
    plan = window_plan(3, 5, (4, 4))
    cut = to_windows(torch.zeros(1, 3, 5, 1), plan, torch.ones(1)).reshape(2, 4, 4)
    expected = torch.ones(4, 8)
    expected[:3, :5] = 0
    torch.testing.assert_close(torch.cat(list(cut), dim=1), expected)


def test_shift_moves_toward_the_top_left():
    plan = window_plan(4, 4, (2, 2), (1, 1))
    cut = to_windows(torch.arange(16.0).reshape(1, 4, 4, 1), plan)
    assert cut[0].flatten().tolist() == [5, 6, 9, 10]
    assert cut[3].flatten().tolist() == [15, 12, 3, 0]


@pytest.mark.parametrize('case', CASES)
def test_mask_separates_exactly_what_were_no_neighbours(case):
    height, width, window, shift = case
    plan = window_plan(*case)
    mask = region_mask(plan, torch.zeros(1))
    if shift == (0, 0):
        assert mask is None
        return
    # Written as the authors describe it: label the padded, rolled map by slices, then compare inside windows.
    labels = torch.zeros(plan.rows * window[0], plan.columns * window[1])
    count = 0
    for rows in (slice(0, -window[0]), slice(-window[0], -shift[0] or None), slice(-shift[0] or len(labels), None)):
        for columns in (
            slice(0, -window[1]),
            slice(-window[1], -shift[1] or None),
            slice(-shift[1] or labels.shape[1], None),
        ):
            labels[rows, columns] = count
            count += 1
    if not shift[0]:
        labels = labels % 3
    cut = to_windows(labels[None, :, :, None], window_plan(*labels.shape, window, (0, 0))).squeeze(-1)
    expected = (cut[:, :, None] != cut[:, None, :]).float() * MASKED_SCORE
    torch.testing.assert_close(mask, expected, rtol=0, atol=0)


@pytest.mark.parametrize('window', [(2, 2), (7, 7), (3, 5), (1, 4)])
def test_index_is_the_row_of_the_offset(window):
    index = relative_position_index(window, torch.zeros(1))
    tokens = [(row, column) for row in range(window[0]) for column in range(window[1])]
    for query, (row, column) in enumerate(tokens):
        for key, (other_row, other_column) in enumerate(tokens):
            expected = (row - other_row + window[0] - 1) * (2 * window[1] - 1) + column - other_column + window[1] - 1
            assert index[query, key] == expected
    assert set(index.flatten().tolist()) == set(range(bias_table_rows(window)))


@pytest.mark.parametrize('captured', [False, True])
@pytest.mark.parametrize('case', CASES)
def test_parts_and_heads_are_cut_out_of_the_channels_in_this_order(case, captured, monkeypatch):
    plan, value = window_plan(*case), torch.arange(12.0)
    x = torch.randn(2, case[0], case[1], 12)  # three parts of two heads of two channels
    expected = to_windows(x, plan, value).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
    monkeypatch.setattr(windows, 'is_recording', lambda: captured)
    parts = to_heads(x, plan, 2, value=value)
    torch.testing.assert_close(parts, expected, rtol=0, atol=0)
    torch.testing.assert_close(from_heads(parts, plan), x, rtol=0, atol=0)


@pytest.mark.parametrize('case', CASES)
def test_moving_tokens_has_derivatives_of_every_kind(case):
    plan = window_plan(*case)
    x = torch.randn(2, case[0], case[1], 6, dtype=torch.float64, requires_grad=True)
    value = torch.randn(6, dtype=torch.float64, requires_grad=True)

    def there_and_back(x, value):
        q, k, v = to_heads(x, plan, 1, value=value)
        return from_heads(torch.stack([q.sin() * k + v, q * v]), plan).cos()

    assert torch.autograd.gradcheck(there_and_back, (x, value), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(there_and_back, (x, value), fast_mode=True)
    each = torch.func.vmap(lambda x: there_and_back(x, value))(x[:, None])
    torch.testing.assert_close(each[:, 0], there_and_back(x, value))


def test_fake_tensors_stay_out_of_the_caches():
    from torch._subclasses.fake_tensor import FakeTensorMode

    clear_caches()
    plan = window_plan(9, 12, (7, 7), (3, 3))
    with FakeTensorMode():
        fake = region_mask(plan, torch.zeros(1))
    real = region_mask(plan, torch.zeros(1))
    assert type(fake) is not torch.Tensor
    assert type(real) is torch.Tensor
