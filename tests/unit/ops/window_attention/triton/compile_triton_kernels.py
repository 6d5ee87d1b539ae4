"""Compile the Triton kernels for a GPU that need not be there and print what they take of it, as JSON, one line each.

    python tests/ops/compile_triton_kernels.py CAPABILITY TYPE WINDOW KERNEL...
    python tests/ops/compile_triton_kernels.py 90 bfloat16 7 forward backward

Registers are those of a thread; ``stack`` is bytes of a thread that did not fit into them; ``shared`` is bytes of
shared memory of a program. The variant compiled is the largest: padded, shifted, with all gradients.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

os.environ.pop('TRITON_INTERPRET', None)  # before triton is imported

import torch  # noqa: E402
import triton  # noqa: E402
import triton.backends.nvidia  # noqa: E402
import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mmswin.ops.window_attention.triton import op as triton_op  # noqa: E402
from mmswin.ops.window_attention.triton.kernels import SIZES  # noqa: E402

TYPES = {'bfloat16': 'bf16', 'float16': 'fp16', 'float32': 'fp32', 'float64': 'fp64'}
SUMS = ('bias', 'grad_bias', 'grad_pad', 'statistics')  # not in the type of the map


def compile_kernel(name, capability, dtype, window, heads=3):
    launch = triton_op.launch_of(name, getattr(torch, dtype), window**2)
    sums = 'float64' if dtype == 'float64' else 'float32'
    constants = dict(HEADS=heads, ROWS=window, COLUMNS=window, SHIFT_ROWS=window // 2, SHIFT_COLUMNS=window // 2)
    constants |= dict(SCALE=32**-0.5, TILE=launch.tile, OPERAND=getattr(tl, dtype), ACC=getattr(tl, sums))
    constants |= dict.fromkeys(('PADDED', 'PAD_VALUE', 'BIAS', 'BIAS_GRAD', 'PAD_GRAD'), True)
    signature, used, aligned = {}, {}, {}
    for place, argument in enumerate(triton_op.KERNELS[name].arg_names):
        if argument in constants:
            signature[argument], used[argument] = 'constexpr', constants[argument]
        elif argument in SIZES:
            signature[argument] = 'i32'
        else:
            signature[argument] = '*' + TYPES[sums if argument in SUMS else dtype]
            aligned[(place,)] = [['tt.divisibility', 16]]
    source = ASTSource(triton_op.KERNELS[name], signature, used, aligned)
    options = dict(num_warps=launch.warps, num_stages=launch.stages)
    compiled = triton.compile(source, target=GPUTarget('cuda', capability, 32), options=options)
    return dict(kernel=name, capability=capability, dtype=dtype, window=window, **launch._asdict(), **_taken(compiled))


def _taken(compiled):
    tool = os.path.join(os.path.dirname(triton.backends.nvidia.__file__), 'bin', 'cuobjdump')
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(compiled.asm['cubin'])
        file.flush()
        text = subprocess.run([tool, '-res-usage', file.name], capture_output=True, text=True, check=True)
    registers, stack = re.search(r'REG:(\d+) STACK:(\d+)', text.stdout + text.stderr).groups()
    ptx = compiled.asm['ptx']
    counts = {name: len(re.findall(rf'\b{name}', ptx)) for name in ('wgmma.mma_async', 'mma.sync', 'cp.async', 'atom')}
    return dict(registers=int(registers), stack=int(stack), shared=compiled.metadata.shared, **counts)


if __name__ == '__main__':
    for kernel in sys.argv[4:]:
        print(json.dumps(compile_kernel(kernel, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))), flush=True)
