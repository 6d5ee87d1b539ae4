"""What tune_cpu does to a process, seen from outside: memory that is freed is not asked for again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, warnings
import torch
torch.set_num_threads(1)
if sys.argv[1] == 'tuned':
    import mmswin
    assert mmswin.tune_cpu() is True
least = None
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20).sum()  # 64 MiB
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    # The system may take pages back by itself, now and then.
    least = faults if least is None else min(least, faults)
print(least)
"""


def _faults(setting):
    done = subprocess.run([sys.executable, '-c', FAULTS, setting], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc is of Linux')
def test_freed_memory_is_kept():
    assert _faults('tuned') < 0.1 * _faults('default')
