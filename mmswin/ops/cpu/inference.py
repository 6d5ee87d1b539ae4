"""A Swin block without gradients on a CPU, some windows at a time.

Whole maps of what lies between a block's input and its output would be fresh memory, which the system clears page by
page, and too large for a processor's cache. A chunk of windows goes through norm, projection, attention, projection and
sum, then a chunk of tokens through the MLP, before the next one. Values are those of the modules up to rounding.
"""

import torch
from torch import Tensor, nn

from mmswin.ops.autocast import autocast_to
from mmswin.ops.cpu import products
from mmswin.ops.window_attention.reference import attend_windows
from mmswin.ops.windows import WindowPlan, mask_between, region_ids, relative_position_bias, window_plan, window_tokens

# About so many tokens are a chunk. Fewer, and calls cost more than they compute; more, and what is between them leaves the
# cache. Measured: on AVX2 2400 are 13 % faster than 4096 or 10000, on AVX-512 (Zen 4) 10000 are 10 to 12 % faster than 2400.
TOKENS_PER_CHUNK = 10_000 if products.PACKED_DTYPES else 2400


def run_block(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)`` of a Swin block (paper, equation 3): ``B x H x W x C`` to the same."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    tokens = x.reshape(-1, x.shape[-1])
    attn = block.attn
    plan = window_plan(x.shape[1], x.shape[2], attn.window, attn.shift, attn.shift_small_maps)
    _attention(block, tokens, out.view_as(tokens), plan, len(x))
    mlp = block.mlp
    fc1, fc2 = (products.layer(x, fc.weight, fc.bias, len(tokens)) for fc in (mlp.fc1, mlp.fc2))
    for part in out.view_as(tokens).tensor_split(max(1, round(len(tokens) / TOKENS_PER_CHUNK))):
        part += fc2(fc1(block.norm2(part), mlp.act.approximate), None)
    return out


def _attention(block: nn.Module, tokens: Tensor, out: Tensor, plan: WindowPlan, images: int) -> None:
    """``out = x + attention(norm(x))`` over the ``B * H * W`` tokens of a batch of maps."""
    attn = block.attn
    table = attn.relative_position_bias_table
    bias = None if table is None else relative_position_bias(table, attn.window)
    source, _, padding = window_tokens(plan, images, tokens.device)
    is_padding = None
    if len(padding):
        is_padding = torch.zeros_like(source, dtype=torch.bool).index_fill_(0, padding, True)
    regions = region_ids(plan, tokens.device) if plan.shifted else None
    to_qkv, project = (products.layer(tokens, fc.weight, fc.bias, len(source)) for fc in (attn.qkv, attn.proj))
    slots = torch.arange(len(source), device=source.device).view(-1, plan.tokens)
    chunks = min(len(slots), max(1, round(len(source) / TOKENS_PER_CHUNK)))  # none of them empty
    for chunk in slots.tensor_split(chunks):
        first, last = chunk[0, 0].item(), chunk[-1, -1].item() + 1
        index, inside = source[first:last], None
        if is_padding is not None:
            inside = is_padding[first:last].logical_not().nonzero().flatten()
            inside, index = (None, index) if len(inside) == len(index) else (inside, index[inside])
        given = tokens.index_select(0, index)
        qkv = to_qkv(block.norm1(given), None)
        if inside is not None:  # a padded token is a zero before the projection: its bias
            whole = qkv.new_zeros(last - first, qkv.shape[1])
            if attn.qkv.bias is not None:
                whole += attn.qkv.bias
            qkv = whole.index_copy_(0, inside, qkv)
        dtype = qkv.dtype
        qkv = qkv.float() if dtype in products.UNSUPPORTED_DTYPES else qkv
        parts = qkv.view(-1, plan.tokens, 3, attn.num_heads, given.shape[1] // attn.num_heads).permute(2, 0, 3, 1, 4)
        mask = None
        if regions is not None:
            mask = mask_between(regions[chunk[:, 0] // plan.tokens % len(regions)], qkv.dtype)
        with autocast_to('cpu', None):  # the type is that of the projection
            mixed = attend_windows(*parts, bias, mask, attn.scale)
        mixed = mixed.transpose(1, 2).reshape(len(qkv), -1).to(dtype)
        if inside is not None:
            mixed = mixed.index_select(0, inside)
        out.index_copy_(0, index, given.add_(project(mixed, None)))
