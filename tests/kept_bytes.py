"""Exact bytes that autograd keeps between forward and backward."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def saved_by(forward: Callable[[], object], not_counted: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd holds after ``forward()`` and until backward, each storage once.

    Recomputation (``with_cp``) is seen as it is, because what is not saved is not counted.

    Args:
        forward: Computes something that has a backward.
        not_counted: The parameters.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in not_counted}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage  # held, so that no later storage takes its address and goes uncounted
        return tensor.detach()

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        result = forward()
    del result
    return sum(storage.nbytes() for storage in kept.values())
