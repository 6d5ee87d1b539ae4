"""What is kept between calls holds for later ones."""

import os
import signal
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmswin.ops.caches import ForkSafeLock, clear_caches, lru_cache_tensors


@pytest.fixture
def counted():
    calls = []

    @lru_cache_tensors(max_bytes=20)
    def ones(count):
        calls.append(count)
        return torch.ones(count)

    return ones, calls


def test_the_last_ones_are_kept_within_the_bytes(counted):
    ones, calls = counted
    for count in (1, 2, 1, 3, 1, 2):  # 3 displaces 2, 2 displaces 3: five numbers of 4 bytes are kept
        assert len(ones(count)) == count
    assert calls == [1, 2, 3, 2]
    for _ in range(2):  # larger alone than all that is kept
        ones(6)
    assert calls[4:] == [6, 6]
    clear_caches()
    ones(2)
    assert calls[6:] == [2]


def test_fake_tensors_and_those_of_transforms_are_not_kept(counted):
    ones, calls = counted
    with FakeTensorMode():
        assert type(ones(1)) is not torch.Tensor
    torch.func.grad(lambda x: (x * ones(1)).sum())(torch.zeros(1))
    ones(1)
    assert calls == [1, 1, 1]


def test_what_inference_made_can_be_trained_with(counted):
    ones, _ = counted
    with torch.inference_mode():
        ones(1)
    assert not ones(1).is_inference()


@pytest.mark.skipif(sys.platform == 'win32', reason='no fork on Windows')
def test_a_lock_is_free_after_a_fork():
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
        if child == 0:
            signal.alarm(5)  # ends it where it would wait for ever
            with lock:
                os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
