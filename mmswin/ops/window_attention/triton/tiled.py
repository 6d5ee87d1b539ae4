"""Triton kernels of shifted-window attention for windows of more than 64 tokens, cut into tiles of TILE x TILE.

As :mod:`mmswin.ops.window_attention.triton.kernels`, but a program has one head and one tile of queries (or of keys, or
of both for the bias) and loops over the other tiles. Tiles vary next to heads, so that those of one window run together
and share the cache.
"""

import triton
import triton.language as tl

from mmswin.ops.window_attention.triton.kernels import HEAD_WIDTH, SIZES, load, load_bias, part, place, product, store


@triton.jit(do_not_specialize=SIZES)
def forward(qkv, pad_value, bias, out, height, width, down, across, windows, strips, HEADS: tl.constexpr,
            ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr, SHIFT_COLUMNS: tl.constexpr,
            SCALE: tl.constexpr, TILE: tl.constexpr, PADDED: tl.constexpr, PAD_VALUE: tl.constexpr, BIAS: tl.constexpr,
            OPERAND: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """out = softmax(SCALE * q k^T + bias + mask) v for one head and tile of queries of every strips-th window."""
    AREA: tl.constexpr = ROWS * COLUMNS
    TILES: tl.constexpr = (AREA + TILE - 1) // TILE
    C: tl.constexpr = HEADS * HEAD_WIDTH
    head = tl.program_id(0) % HEADS
    channel = head * HEAD_WIDTH
    query = tl.program_id(0) // HEADS % TILES * TILE + tl.arange(0, TILE)
    for window in range(tl.program_id(0) // HEADS // TILES, windows, strips):
        token, inside = place(query, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        q = load(qkv, pad_value, token, inside, query, channel, 3 * C, AREA, PADDED, PAD_VALUE)
        top = tl.full((TILE,), float('-inf'), ACC)
        total = tl.zeros((TILE,), ACC)
        o = tl.zeros((TILE, HEAD_WIDTH), ACC)
        for tile in range(TILES):
            key = tile * TILE + tl.arange(0, TILE)
            other, there = place(key, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
            k = load(qkv, pad_value, other, there, key, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
            v = load(qkv, pad_value, other, there, key, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
            scores = product(q, tl.trans(k), OPERAND, ACC) * SCALE
            scores += load_bias(bias, head, query[:, None], key[None, :], AREA, BIAS, ACC)
            scores = part(scores, query[:, None], key[None, :], window, down, across, ROWS, COLUMNS, SHIFT_ROWS,
                          SHIFT_COLUMNS)  # fmt: skip
            highest = tl.maximum(top, tl.max(scores, axis=1))
            fade = tl.exp(top - highest)
            weights = tl.exp(scores - highest[:, None])
            total = total * fade + tl.sum(weights, axis=1)
            o = o * fade[:, None] + product(weights.to(v.dtype), v, OPERAND, ACC)
            top = highest
        store(out, o / total[:, None], token, inside & (query < AREA), channel, C)


@triton.jit(do_not_specialize=SIZES)
def backward_queries(qkv, pad_value, bias, grad, grad_qkv, statistics, height, width, down, across, windows, strips,
                     HEADS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr,
                     SHIFT_COLUMNS: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr, PADDED: tl.constexpr,
                     PAD_VALUE: tl.constexpr, BIAS: tl.constexpr, OPERAND: tl.constexpr,
                     ACC: tl.constexpr):  # fmt: skip
    """Gradient of q, and what the other two kernels need of each query.

    Writes the logarithm of the softmax's denominator and the sum of the weights times their gradients to statistics,
    ``2 x windows x heads x area``.
    """
    AREA: tl.constexpr = ROWS * COLUMNS
    TILES: tl.constexpr = (AREA + TILE - 1) // TILE
    C: tl.constexpr = HEADS * HEAD_WIDTH
    head = tl.program_id(0) % HEADS
    channel = head * HEAD_WIDTH
    query = tl.program_id(0) // HEADS % TILES * TILE + tl.arange(0, TILE)
    for window in range(tl.program_id(0) // HEADS // TILES, windows, strips):
        token, inside = place(query, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        q = load(qkv, pad_value, token, inside, query, channel, 3 * C, AREA, PADDED, PAD_VALUE)
        g = load(grad, grad, token, inside, query, channel, C, AREA, PADDED, False)
        top = tl.full((TILE,), float('-inf'), ACC)
        total = tl.zeros((TILE,), ACC)
        delta = tl.zeros((TILE,), ACC)
        for tile in range(TILES):
            key = tile * TILE + tl.arange(0, TILE)
            other, there = place(key, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
            k = load(qkv, pad_value, other, there, key, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
            v = load(qkv, pad_value, other, there, key, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
            scores = product(q, tl.trans(k), OPERAND, ACC) * SCALE
            scores += load_bias(bias, head, query[:, None], key[None, :], AREA, BIAS, ACC)
            scores = part(scores, query[:, None], key[None, :], window, down, across, ROWS, COLUMNS, SHIFT_ROWS,
                          SHIFT_COLUMNS)  # fmt: skip
            highest = tl.maximum(top, tl.max(scores, axis=1))
            fade = tl.exp(top - highest)
            weights = tl.exp(scores - highest[:, None])
            total = total * fade + tl.sum(weights, axis=1)
            delta = delta * fade + tl.sum(weights * product(g, tl.trans(v), OPERAND, ACC), axis=1)
            top = highest
        top += tl.log(total)
        delta /= total
        at = statistics + (tl.cast(window, tl.int64) * HEADS + head) * AREA + query
        tl.store(at, top, mask=query < AREA)
        tl.store(at + tl.cast(windows, tl.int64) * HEADS * AREA, delta, mask=query < AREA)
        dq = tl.zeros((TILE, HEAD_WIDTH), ACC)
        for tile in range(TILES):
            key = tile * TILE + tl.arange(0, TILE)
            other, there = place(key, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
            k = load(qkv, pad_value, other, there, key, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
            v = load(qkv, pad_value, other, there, key, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
            scores = product(q, tl.trans(k), OPERAND, ACC) * SCALE
            scores += load_bias(bias, head, query[:, None], key[None, :], AREA, BIAS, ACC)
            scores = part(scores, query[:, None], key[None, :], window, down, across, ROWS, COLUMNS, SHIFT_ROWS,
                          SHIFT_COLUMNS)  # fmt: skip
            weights = tl.exp(scores - top[:, None])
            grad_scores = weights * (product(g, tl.trans(v), OPERAND, ACC) - delta[:, None])
            dq += product(grad_scores.to(q.dtype), k, OPERAND, ACC)
        store(grad_qkv, dq * SCALE, token, inside & (query < AREA), channel, 3 * C)


@triton.jit(do_not_specialize=SIZES)
def backward_keys(qkv, pad_value, bias, grad, grad_qkv, grad_pad, statistics, height, width, down, across, windows,
                  strips, HEADS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr,
                  SHIFT_COLUMNS: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr, PADDED: tl.constexpr,
                  PAD_VALUE: tl.constexpr, BIAS: tl.constexpr, PAD_GRAD: tl.constexpr, OPERAND: tl.constexpr,
                  ACC: tl.constexpr):  # fmt: skip
    """Gradients of k, v and pad_value for one head and tile of keys; all is transposed, ``keys x queries``.

    Writes partial sums, ``(strips * tiles) x 2C`` (k, v), to grad_pad.
    """
    AREA: tl.constexpr = ROWS * COLUMNS
    TILES: tl.constexpr = (AREA + TILE - 1) // TILE
    C: tl.constexpr = HEADS * HEAD_WIDTH
    head = tl.program_id(0) % HEADS
    channel = head * HEAD_WIDTH
    key = tl.program_id(0) // HEADS % TILES * TILE + tl.arange(0, TILE)
    sum_k = tl.zeros((HEAD_WIDTH,), ACC)
    sum_v = tl.zeros((HEAD_WIDTH,), ACC)
    for window in range(tl.program_id(0) // HEADS // TILES, windows, strips):
        token, inside = place(key, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        k = load(qkv, pad_value, token, inside, key, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        v = load(qkv, pad_value, token, inside, key, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        dk = tl.zeros((TILE, HEAD_WIDTH), ACC)
        dv = tl.zeros((TILE, HEAD_WIDTH), ACC)
        for tile in range(TILES):
            query = tile * TILE + tl.arange(0, TILE)
            other, there = place(query, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
            q = load(qkv, pad_value, other, there, query, channel, 3 * C, AREA, PADDED, PAD_VALUE)
            g = load(grad, grad, other, there, query, channel, C, AREA, PADDED, False)
            at = statistics + (tl.cast(window, tl.int64) * HEADS + head) * AREA + query
            # +inf takes out the slots that are no query: their weights are exp(-inf) = 0.
            top = tl.load(at, mask=query < AREA, other=float('inf'))
            delta = tl.load(at + tl.cast(windows, tl.int64) * HEADS * AREA, mask=query < AREA, other=0.0)
            scores = product(k, tl.trans(q), OPERAND, ACC) * SCALE
            scores += load_bias(bias, head, query[None, :], key[:, None], AREA, BIAS, ACC)
            scores = part(scores, query[None, :], key[:, None], window, down, across, ROWS, COLUMNS, SHIFT_ROWS,
                          SHIFT_COLUMNS)  # fmt: skip
            weights = tl.exp(scores - top[None, :])
            grad_scores = weights * (product(v, tl.trans(g), OPERAND, ACC) - delta[None, :])
            dk += product(grad_scores.to(q.dtype), q, OPERAND, ACC)
            dv += product(weights.to(q.dtype), g, OPERAND, ACC)
        dk *= SCALE
        keep = inside & (key < AREA)
        store(grad_qkv, dk, token, keep, C + channel, 3 * C)
        store(grad_qkv, dv, token, keep, 2 * C + channel, 3 * C)
        if PAD_GRAD:
            padded = ((key < AREA) & (inside == 0))[:, None]
            sum_k += tl.sum(tl.where(padded, dk, 0.0), axis=0)
            sum_v += tl.sum(tl.where(padded, dv, 0.0), axis=0)
    if PAD_GRAD:
        at = grad_pad + (tl.program_id(0) // HEADS) * 2 * C + channel + tl.arange(0, HEAD_WIDTH)
        tl.store(at, sum_k)
        tl.store(at + C, sum_v)


@triton.jit(do_not_specialize=SIZES)
def backward_bias(qkv, pad_value, bias, grad, grad_bias, statistics, height, width, down, across, windows, strips,
                  HEADS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHIFT_ROWS: tl.constexpr,
                  SHIFT_COLUMNS: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr, PADDED: tl.constexpr,
                  PAD_VALUE: tl.constexpr, BIAS: tl.constexpr, OPERAND: tl.constexpr,
                  ACC: tl.constexpr):  # fmt: skip
    """Gradient of the bias for one head, tile of queries and tile of keys, summed in registers over the windows.

    Writes partial sums, ``strips x heads x area x area``, to grad_bias.
    """
    AREA: tl.constexpr = ROWS * COLUMNS
    TILES: tl.constexpr = (AREA + TILE - 1) // TILE
    C: tl.constexpr = HEADS * HEAD_WIDTH
    head = tl.program_id(0) % HEADS
    tile = tl.program_id(0) // HEADS % (TILES * TILES)
    strip = tl.program_id(0) // HEADS // (TILES * TILES)
    channel = head * HEAD_WIDTH
    query = tile // TILES * TILE + tl.arange(0, TILE)
    key = tile % TILES * TILE + tl.arange(0, TILE)
    added = load_bias(bias, head, query[:, None], key[None, :], AREA, BIAS, ACC)
    sum_bias = tl.zeros((TILE, TILE), ACC)
    for window in tl.range(strip, windows, strips):
        token, inside = place(query, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        other, there = place(key, window, height, width, down, across, ROWS, COLUMNS, SHIFT_ROWS, SHIFT_COLUMNS)
        q = load(qkv, pad_value, token, inside, query, channel, 3 * C, AREA, PADDED, PAD_VALUE)
        g = load(grad, grad, token, inside, query, channel, C, AREA, PADDED, False)
        k = load(qkv, pad_value, other, there, key, C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        v = load(qkv, pad_value, other, there, key, 2 * C + channel, 3 * C, AREA, PADDED, PAD_VALUE)
        at = statistics + (tl.cast(window, tl.int64) * HEADS + head) * AREA + query
        top = tl.load(at, mask=query < AREA, other=float('inf'))
        delta = tl.load(at + tl.cast(windows, tl.int64) * HEADS * AREA, mask=query < AREA, other=0.0)
        scores = product(q, tl.trans(k), OPERAND, ACC) * SCALE + added
        scores = part(scores, query[:, None], key[None, :], window, down, across, ROWS, COLUMNS, SHIFT_ROWS,
                      SHIFT_COLUMNS)  # fmt: skip
        weights = tl.exp(scores - top[:, None])
        sum_bias += weights * (product(g, tl.trans(v), OPERAND, ACC) - delta[:, None])
    at = grad_bias + (tl.cast(strip * HEADS + head, tl.int64) * AREA + query[:, None]) * AREA + key[None, :]
    tl.store(at, sum_bias, mask=(query < AREA)[:, None] & (key < AREA)[None, :])
