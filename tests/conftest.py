"""What all tests need before torch computes anything."""

import os

import torch

# Several tests fork. GNU's OpenMP hangs in the child of a process that has computed with more than one thread.
torch.set_num_threads(1)

# Where there is no GPU, Triton kernels run in Triton's interpreter, which must be chosen before triton is imported.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')
