"""Autocast as it is, and as it is asked for."""

import torch

from mmswin.ops.autocast import autocast_dtype, autocast_to, product_dtype


def test_autocast_as_it_is_asked_for():
    assert autocast_dtype('cpu') is None
    with torch.autocast('cpu', torch.bfloat16):
        with autocast_to('cpu', None):
            assert autocast_dtype('cpu') is None
        with autocast_to('cpu', torch.float16):
            assert autocast_dtype('cpu') == torch.float16
        assert autocast_dtype('cpu') == torch.bfloat16
    with autocast_to('meta', None):  # which has none
        assert autocast_dtype('meta') is None


def test_float64_stays_under_autocast():
    with torch.autocast('cpu', torch.bfloat16):
        assert product_dtype(torch.zeros(1)) == torch.bfloat16
        assert product_dtype(torch.zeros(1, dtype=torch.float64)) == torch.float64
