"""Memory that CUDA kernels allocate for themselves and free before they return.

No tensor of the autograd graph shows it, so it is computed from the shapes of the arguments.

- Flash attention's backward accumulates the query gradient in float32, rounded up to 128 tokens and 32 (above a head
  size of 128: 64) numbers, and keeps one sum per query; with fewer key than query heads it expands both gradients to
  all heads first (`mha_bwd` in aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp, at 03b7c19).
- Memory-efficient attention's backward keeps one sum per query in float32 and, for 16-bit numbers, a float32
  accumulator of the query gradient (`_efficient_attention_backward` in
  aten/src/ATen/native/transformers/cuda/attention_backward.cu, at 00afd8f, and `workspace_size` in
  mem_eff_attention/kernel_backward.h beside it). Up to a head size of 128 the key and value gradients stay in
  registers on devices of compute capability 8.0 and later; elsewhere the kernel takes more than is counted here.

Not covered: split-K workspaces of matrix products; the workspace of cuBLAS is a constant (`feasibility.device`).
"""

from typing import Any

import torch

_aten = torch.ops.aten
FP32_BYTES = 4


def scratch_bytes(func: Any, args: tuple[Any, ...], out: Any) -> int:
    """Return the bytes one operator takes for itself while it runs.

    Args:
        func: The dispatched operator.
        args: Its arguments; query (or output gradient first) of shape (batch, heads, tokens, head size).
        out: Its result, unused so far but part of what a kernel may size its scratch by.
    """
    rule = _RULES.get(func)
    return rule(args) if rule else 0


def _flash_backward(args: tuple[Any, ...]) -> int:
    query, key = args[1], args[2]
    batch, heads, tokens, size = query.shape
    multiple = 32 if size <= 128 else 64
    rounded = batch * heads * (-(-tokens // 128) * 128)
    total = rounded * (-(-size // multiple) * multiple + 1) * FP32_BYTES
    if key.shape[1] != heads:
        total += 2 * batch * heads * key.shape[2] * size * query.element_size()
    return int(total)


def _efficient_backward(args: tuple[Any, ...]) -> int:
    query = args[1]
    batch, heads, tokens, size = query.shape
    numbers = 1 if query.dtype == torch.float32 else 1 + size
    return int(batch * heads * tokens * numbers * FP32_BYTES)


_RULES = {
    _aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    _aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
}
