"""Triton kernels of shifted-window attention for windows of up to 64 tokens: one tile, all of it on the chip.

In place on the projected map: no rolled, padded or partitioned tensor exists. A slot of a window is mapped to its
token of the unpadded ``B x H x W x 3C`` map by index arithmetic. A program is persistent: it has one head, holds its
bias (and the bias's gradient) in registers, and goes through every ``strips``-th window. Sums over windows are partial
sums of the programs, added up afterwards in a fixed order: no atomics, equal results in every run.

Heads vary fastest over programs: neighbours read the same lines of the map at the same time. Larger windows are in
:mod:`mmswin.ops.window_attention.triton.tiled`.
"""

import triton
import triton.language as tl

# The width of a head that these kernels are written for; every published Swin has it.
HEAD_WIDTH = tl.constexpr(32)

# Sizes change from image to image: no kernel is compiled anew for them.
SIZES = ['height', 'width', 'down', 'across', 'windows', 'strips']


@triton.jit
def place(slot, window, height, width, down, across, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
          SHIFT_ROWS: tl.constexpr, SHIFT_COLUMNS: tl.constexpr):  # fmt: skip
    """Token of the map that each slot of a window holds, and whether it is on the map and not padding."""
    y = window // across % down * ROWS + slot // COLUMNS + SHIFT_ROWS
    x = window % across * COLUMNS + slot % COLUMNS + SHIFT_COLUMNS
    y = tl.where(y >= down * ROWS, y - down * ROWS, y)
    x = tl.where(x >= across * COLUMNS, x - across * COLUMNS, x)
    image = tl.cast(window // across // down, tl.int64)  # offsets exceed 2^31 on large maps
    return (image * height + y) * width + x, (y < height) & (x < width)


@triton.jit
def load(qkv, pad_value, token, inside, slot, channel, WIDTH: tl.constexpr, AREA: tl.constexpr, PADDED: tl.constexpr,
         PAD_VALUE: tl.constexpr):  # fmt: skip
    """``slots x 32`` numbers from ``channel`` on; a padded token's come from ``pad_value``, or are zeros."""
    keep = slot < AREA
    rows = qkv + token * WIDTH
    if PADDED:
        if PAD_VALUE:
            rows = tl.where(inside, rows, pad_value)
        else:
            keep = keep & inside
    return tl.load(rows[:, None] + channel + tl.arange(0, HEAD_WIDTH)[None, :], mask=keep[:, None], other=0.0)


@triton.jit
def store(to, tile, token, keep, channel, WIDTH: tl.constexpr):
    """The tile to the kept tokens, in the type of the map."""
    at = (to + token * WIDTH)[:, None] + channel + tl.arange(0, HEAD_WIDTH)[None, :]
    tl.store(at, tile.to(to.dtype.element_ty), mask=keep[:, None])


@triton.jit
def product(a, b, OPERAND: tl.constexpr, ACC: tl.constexpr):
    """a b, float32 inputs in full precision; OPERAND differs from their type in the interpreter alone."""
    return tl.dot(a.to(OPERAND), b.to(OPERAND), input_precision='ieee', out_dtype=ACC)


@triton.jit
def load_bias(bias, head, query, key, AREA: tl.constexpr, BIAS: tl.constexpr, ACC: tl.constexpr):
    """Bias of (query, key) pairs, whichever shapes they broadcast to; -inf for a slot that is no key of the window."""
    real = (query < AREA) & (key < AREA)
    if BIAS:
        added = tl.load(bias + (head * AREA + query) * AREA + key, mask=real, other=0.0).to(ACC)
    else:
        added = tl.zeros(real.shape, ACC)
    return tl.where(key < AREA, added, float('-inf'))


@triton.jit
def region(slot, lowest, rightmost, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr,
           SHIFT_COLUMNS: tl.constexpr):  # fmt: skip
    """Which of four parts of a window a slot is in; the map's last windows have two or four, the others one."""
    below = (slot // COLUMNS >= ROWS - SHIFT_ROWS) & lowest
    right = (slot % COLUMNS >= COLUMNS - SHIFT_COLUMNS) & rightmost
    return 2 * below.to(tl.int32) + right.to(tl.int32)


@triton.jit
def part(scores, query, key, window, down, across, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr,
         SHIFT_COLUMNS: tl.constexpr):  # fmt: skip
    """Add -100 between tokens that were no neighbours before the shift."""
    if SHIFT_ROWS + SHIFT_COLUMNS > 0:
        lowest = window // across % down == down - 1
        rightmost = window % across == across - 1
        if lowest | rightmost:
            # Compared anew for each window: kept over windows, a mask would cost a register for each score.
            apart = region(query, lowest, rightmost, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS) != region(
                key, lowest, rightmost, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)  # fmt: skip
            scores = tl.where(apart, scores - 100.0, scores)
    return scores


@triton.jit(do_not_specialize=SIZES)
def forward(qkv, pad_value, bias, out, height, width, down, across, windows, strips, HEADS: tl.constexpr,
            ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr, SHIFT_COLUMNS: tl.constexpr,
            SCALE: tl.constexpr, TILE: tl.constexpr, PADDED: tl.constexpr, PAD_VALUE: tl.constexpr, BIAS: tl.constexpr,
            OPERAND: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """out = softmax(SCALE * q k^T + bias + mask) v for one head of every strips-th window."""
    AREA: tl.constexpr = ROWS * COLUMNS
    C: tl.constexpr = HEADS * HEAD_WIDTH
    head = tl.program_id(0) % HEADS
    channel = head * HEAD_WIDTH
    slot = tl.arange(0, TILE)
    query, key = slot[:, None], slot[None, :]
    added = load_bias(bias, head, query, key, AREA, BIAS, ACC)
    for window in tl.range(tl.program_id(0) // HEADS, windows, strips):
        token, inside = place(slot, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        q = load(qkv, pad_value, token, inside, slot, channel, 3 * C, AREA, PADDED, PAD_VALUE)
        k = load(qkv, pad_value, token, inside, slot, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        v = load(qkv, pad_value, token, inside, slot, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        scores = product(q, tl.trans(k), OPERAND, ACC) * SCALE + added
        scores = part(scores, query, key, window, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
        total = tl.sum(weights, axis=1)
        o = product(weights.to(v.dtype), v, OPERAND, ACC) / total[:, None]
        store(out, o, token, inside & (slot < AREA), channel, C)


@triton.jit(do_not_specialize=SIZES)
def backward(qkv, pad_value, bias, grad, grad_qkv, grad_bias, grad_pad, height, width, down, across, windows, strips,
             HEADS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr,
             SHIFT_COLUMNS: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr, PADDED: tl.constexpr,
             PAD_VALUE: tl.constexpr, BIAS: tl.constexpr, BIAS_GRAD: tl.constexpr, PAD_GRAD: tl.constexpr,
             OPERAND: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """All gradients for one head of every strips-th window; the scores are computed again.

    Writes partial sums, ``strips x heads x area x area`` to grad_bias and ``strips x 2C`` (k, v) to grad_pad.
    """
    AREA: tl.constexpr = ROWS * COLUMNS
    C: tl.constexpr = HEADS * HEAD_WIDTH
    head = tl.program_id(0) % HEADS
    strip = tl.program_id(0) // HEADS
    channel = head * HEAD_WIDTH
    slot = tl.arange(0, TILE)
    query, key = slot[:, None], slot[None, :]
    added = load_bias(bias, head, query, key, AREA, BIAS, ACC)
    sum_bias = tl.zeros((TILE, TILE), ACC)
    sum_k = tl.zeros((HEAD_WIDTH,), ACC)
    sum_v = tl.zeros((HEAD_WIDTH,), ACC)
    for window in tl.range(strip, windows, strips):
        token, inside = place(slot, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        q = load(qkv, pad_value, token, inside, slot, channel, 3 * C, AREA, PADDED, PAD_VALUE)
        k = load(qkv, pad_value, token, inside, slot, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        v = load(qkv, pad_value, token, inside, slot, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        g = load(grad, grad, token, inside, slot, channel, C, AREA, PADDED, False)
        scores = product(q, tl.trans(k), OPERAND, ACC) * SCALE + added
        scores = part(scores, query, key, window, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
        weights = weights / tl.sum(weights, axis=1)[:, None]
        grad_scores = product(g, tl.trans(v), OPERAND, ACC)
        grad_scores = weights * (grad_scores - tl.sum(weights * grad_scores, axis=1)[:, None])
        if BIAS_GRAD:
            sum_bias += grad_scores
        grad_scores = grad_scores.to(q.dtype)
        keep = inside & (slot < AREA)
        dv = product(tl.trans(weights.to(q.dtype)), g, OPERAND, ACC)
        store(grad_qkv, dv, token, keep, 2 * C + channel, 3 * C)
        dq = product(grad_scores, k, OPERAND, ACC) * SCALE
        store(grad_qkv, dq, token, keep, channel, 3 * C)
        dk = product(tl.trans(grad_scores), q, OPERAND, ACC) * SCALE
        store(grad_qkv, dk, token, keep, C + channel, 3 * C)
        if PAD_GRAD:
            padded = ((slot < AREA) & (inside == 0))[:, None]
            sum_k += tl.sum(tl.where(padded, dk, 0.0), axis=0)
            sum_v += tl.sum(tl.where(padded, dv, 0.0), axis=0)
    if BIAS_GRAD:
        at = grad_bias + (tl.cast(strip * HEADS + head, tl.int64) * AREA + query) * AREA + key
        tl.store(at, sum_bias, mask=(query < AREA) & (key < AREA))
    if PAD_GRAD:
        at = grad_pad + strip * 2 * C + channel + tl.arange(0, HEAD_WIDTH)
        tl.store(at, sum_k)
        tl.store(at + C, sum_v)
