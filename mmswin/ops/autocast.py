"""The type that autocast gives to matrix products, whatever the device and the version of torch."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocast_dtype(device: str) -> torch.dtype | None:
    """The type that autocast gives to matrix products on a kind of device at the moment; None without autocast."""
    if device == 'meta':  # torch raises an error there
        return None
    if hasattr(torch, 'get_autocast_dtype'):  # since torch 2.4
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cuda':
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
    return torch.get_autocast_cpu_dtype() if device == 'cpu' and torch.is_autocast_cpu_enabled() else None


def autocast_to(device: str, dtype: torch.dtype | None) -> AbstractContextManager:
    """Autocast to ``dtype`` on a kind of device, whatever it is at the moment; no autocast if it is None."""
    if autocast_dtype(device) == dtype:  # not every device has one
        return nullcontext()
    return torch.autocast(device, dtype, enabled=dtype is not None)


def product_dtype(x: Tensor) -> torch.dtype:
    """The type of a matrix product with ``x``; autocast leaves float64 as it is."""
    return x.dtype if x.dtype == torch.float64 else autocast_dtype(x.device.type) or x.dtype
