"""Memory that attention's kernels take for themselves, against sums by hand of the shapes in PyTorch's sources."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.dryrun.scratch import scratch_bytes

aten: Any = torch.ops.aten
BF16, FP32 = torch.bfloat16, torch.float32


class Scratch(TorchDispatchMode):
    """Collects what operators take for themselves, other than nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if taken := scratch_bytes(func, args, out):
            self.found[func._opname] = taken
        return out


def meta(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)


def flash(batch: int, heads: int, kv_heads: int, tokens: int, size: int) -> dict[str, int]:
    query = meta(batch, heads, tokens, size, dtype=BF16)
    key, value = meta(batch, kv_heads, tokens, size, dtype=BF16), meta(batch, kv_heads, tokens, size, dtype=BF16)
    with Scratch() as scratch:
        aten._scaled_dot_product_flash_attention(query, key, value, 0.0, True)[0].sum().backward()
    return scratch.found


def efficient(batch: int, heads: int, tokens: int, size: int, dtype: torch.dtype) -> dict[str, int]:
    query = meta(batch, heads, tokens, size, dtype=dtype)
    with Scratch() as scratch:
        aten._scaled_dot_product_efficient_attention(query, query, query, None, True)[0].sum().backward()
    return scratch.found


FLASH, EFFICIENT = (
    "_scaled_dot_product_flash_attention_backward", "_scaled_dot_product_efficient_attention_backward"
)  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "size", "expected"),
    [
        (128, 64, 2 * 4 * 128 * (64 + 1) * 4),  # float32: gradient of each query, and one sum
        (129, 64, 2 * 4 * 256 * (64 + 1) * 4),  # tokens are rounded up to 128,
        (1, 64, 2 * 4 * 128 * (64 + 1) * 4),
        (128, 72, 2 * 4 * 128 * (96 + 1) * 4),  # heads to 32 numbers,
        (128, 136, 2 * 4 * 128 * (192 + 1) * 4),  # and above 128 to 64
    ],
)
def test_flash_attention_s_backward_pass_accumulates_in_float32(tokens, size, expected):
    assert flash(2, 4, 4, tokens, size) == {FLASH: expected}


def test_with_fewer_key_heads_the_gradients_of_all_query_heads_come_first():
    # Of keys and of values, in bf16, for each of the 4 query heads.
    assert flash(2, 4, 2, 128, 64) == {FLASH: 2 * 4 * 128 * 65 * 4 + 2 * (2 * 4 * 128 * 64 * 2)}


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (FP32, 2 * 4 * 100 * 4),  # a sum per query: the gradient itself is the accumulator
        (BF16, 2 * 4 * 100 * 4 + 2 * 4 * 100 * 64 * 4),  # and a float32 accumulator of the query's gradient
    ],
)
def test_memory_efficient_attention_s_backward_pass_keeps_a_sum_per_query(dtype, expected):
    assert efficient(2, 4, 100, 64, dtype) == {EFFICIENT: expected}


def test_other_operators_take_nothing():
    x = meta(4, 8, dtype=FP32)
    with Scratch() as scratch:
        (x @ x.t()).softmax(-1).sum().backward()
        torch.nn.functional.layer_norm(x, (8,)).sum().backward()
    assert scratch.found == {}
