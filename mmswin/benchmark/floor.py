"""The least memory traffic of a Swin in mixed precision, against which a GPU's figures are set.

Counted for a block of five kernels, (norm, qkv) (attention) (proj, residual) (norm, fc1, GELU) (fc2, residual), that
keep a float32 residual stream and hand bfloat16 from one to the next.
"""

from __future__ import annotations

from mmswin.backbones.swin import VARIANTS
from mmswin.benchmark.work import Work, parse_size

# Bytes per token and channel of a block. Forward: read x 4, write qkv 6; read qkv 6, write o 2; read o 2 and x 4, write
# x 4; read x 4, write h 8; read h 8 and x 4, write x 4. Backward, with norms and GELU recomputed: fc2 20 + 12 (data and
# weights), fc1 20 + 12, proj 6 + 6, attention 14, qkv 18 + 10.
FORWARD = 56
BACKWARD = 118


def least_bytes(work: Work) -> int:
    """Bytes that one repetition of the work must move; image, patch merging and the four outputs included."""
    variant = VARIANTS[work.arch]
    total = 0
    for size in work.sizes:
        count, height, width = parse_size(size)
        rows, columns = -(-height // 4), -(-width // 4)
        total += 4 * 3 * count * height * width
        for stage, depth in enumerate(variant['depths']):
            numbers = count * rows * columns * variant['embed_dims'] * 2**stage
            per_block = FORWARD + (BACKWARD if work.mode == 'training' else 0)
            # Besides the blocks: the stage's input written, read by merging, and by the output norm, output written.
            ends = 16 * (2 if work.mode == 'training' else 1)
            total += numbers * (depth * per_block + ends)
            rows, columns = -(-rows // 2), -(-columns // 2)
    return total
