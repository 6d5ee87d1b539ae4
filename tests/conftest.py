"""What all tests need before torch computes anything."""

import functools
import os

# Two processes of tests and the threads of each share the processors: a thread that waits must not spin.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import mmengine.config.utils
import torch

# GNU's OpenMP hangs in the child of a process that has computed with several threads, if the child does so too.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

# A config that inherits from `mmdet::` has mmengine read a hundred files of metadata, each time.
mmengine.config.utils.load = functools.cache(mmengine.config.utils.load)

# Where there is no GPU, Triton kernels run in Triton's interpreter, which must be chosen before triton is imported.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')
