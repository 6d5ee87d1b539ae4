"""tune_cpu where it can do nothing; what it does to a process is in tests/e2e."""

import pytest

import mmswin


def test_elsewhere_it_says_that_nothing_was_changed(monkeypatch):
    monkeypatch.setattr('mmswin.allocator.ctypes.CDLL', lambda name: object())
    with pytest.warns(UserWarning, match='needs glibc: nothing was changed'):
        assert mmswin.tune_cpu() is False
