"""What one dispatched operator computes and moves: floating-point operations, bytes, kernel launches.

Operations come from PyTorch's own registry (`torch.utils.flop_counter`); operators that are not in it compute too
little to matter beside what they move. Bytes are those of every distinct input that is read and every output that is
written, once each, as a kernel without a cache would move them.

Follows `aten/src/ATen/native/cuda/MultiTensorApply.cuh` (how many tensors one `_foreach_*` or `_fused_*` kernel
takes), `aten/src/ATen/native/cuda/Copy.cu` (which copies make the host wait) and `cuda/GroupedBlas.cpp` (grouped
products: at once in bfloat16, else group by group).

Not covered: kernels that read their input several times (softmax over a large vocabulary), sorting passes, operations
of decompositions and transforms (`linalg_*`, `_fft_*`), which count by their bytes alone; compute that a causal
attention kernel skips; experts that no token is sent to, whose weights a grouped product does not read; grouped
products in bfloat16 on devices other than Hopper and data-centre Blackwell, which go group by group too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """What one operator asks of a device. Made for every operator of a step, so its fields are positional.

    Attributes:
        name: Of the operator, such as "addmm".
        flops: Floating-point operations of matrix products, attention and convolutions; 0 for all others.
        kind: Arithmetic: "bf16", "fp16", "fp32", "fp64", "fp8", "int8" or "int" (wider).
        read_bytes: Of distinct inputs; of embedding and indexing only what they select.
        written_bytes: Of outputs, or of inputs that are changed in place.
        launches: Kernels.
        synchronizes: The host waits until the device has done everything before it.
        transferred_bytes: Copied by the host: to or from the device, and before that into another type.
        list_tensors: Members of the longest list that an operator on lists works through, else 0.
    """

    name: str
    flops: int
    kind: str
    read_bytes: int
    written_bytes: int
    launches: int
    synchronizes: bool = False
    transferred_bytes: int = 0
    list_tensors: int = 0


def cost(func: Any, args: Args, kwargs: Kwargs, out: Any) -> OperatorCost | None:
    """Return what a dispatched aten operator costs; None where a device has nothing to do.

    Views, allocations and queries cost nothing, nor does work on the host's own tensors or on empty ones.

    Args:
        func: The operator, as `__torch_dispatch__` receives it.
        args: Its positional arguments; device tensors are those not on the CPU (on meta in a dry run).
        kwargs: Its named arguments.
        out: Its result.
    """
    rule = _rule(func)
    if rule is None:
        return None
    with torch._C.DisableTorchFunction():  # else every attribute of a tensor would pass through a function mode
        return _cost(rule, args, kwargs, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How to count one operator: worked out from its schema at first sight.

    Attributes:
        name: Of the operator.
        writes: Positions of arguments that are changed in place.
        unread: Position of an argument whose values the operator does not read.
        selects: As much is read from the unread argument as is written.
        scatters: Only as much is written into the changed argument as the last tensor holds.
        lists: Works on lists of tensors in few kernels.
        launches: Kernels of one call.
        flops: From the shapes of the arguments; None for operators that only move.
        synchronizes: Whether a call makes the host wait, None for never.
    """

    name: str
    writes: tuple[int, ...]
    unread: int | None
    selects: bool
    scatters: bool
    lists: bool
    launches: int
    flops: Callable[[Args, Kwargs, Any], int] | None
    synchronizes: Callable[[Args, Kwargs, Any], bool] | None


def _cost(rule: _Rule, args: Args, kwargs: Kwargs, out: Any) -> OperatorCost | None:
    if rule.scatters:
        written = _scattered_bytes(args)
    elif rule.writes:
        written = sum(_bytes_of(args[position]) for position in rule.writes if position < len(args))
    else:
        written = _bytes_of(out)
    read = _read_bytes(rule, args, kwargs)
    if not read and not written:
        return None
    if rule.selects or rule.scatters:
        read += written
    flops = 0 if rule.flops is None else rule.flops(args, kwargs, out)
    launches, tensors = _list_launches(rule, args, out) if rule.lists else (rule.launches, 0)
    if rule.name == _GROUPED and _goes_by_group(args):
        launches = _n_groups(args, kwargs)
    waits = rule.synchronizes is not None and rule.synchronizes(args, kwargs, out)
    moved = _moved_bytes(rule.name, args, out, read, written) if rule.name in _COPY else 0
    return _record(rule.name, flops, _kind(args, out), read, written, launches, waits, moved, tensors)


# Layers are alike, so the records of one serve all; the number kept bounds the memory.
_record = lru_cache(maxsize=8192)(OperatorCost)


def _read_bytes(rule: _Rule, args: Args, kwargs: Kwargs) -> int:
    read, seen = 0, None
    for position, value in enumerate(args):
        if position == rule.unread or value is seen:
            continue
        if isinstance(value, torch.Tensor):
            read, seen = read + _bytes(value), value
        elif isinstance(value, (list, tuple)):
            read += _bytes_of(value)
    for name, value in kwargs.items():
        if name != "out" and isinstance(value, (torch.Tensor, list, tuple)):
            read += _bytes_of(value)
    return read


def _bytes_of(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return _bytes(value)
    if isinstance(value, (list, tuple)):
        return sum(_bytes(one) for one in value if isinstance(one, torch.Tensor))
    return 0


def _bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of memory behind a tensor: an expanded dimension is there once, a host tensor not at all."""
    if tensor.is_cpu:
        return 0
    if tensor.is_sparse:
        return _bytes(tensor._indices()) + _bytes(tensor._values())
    strides = tensor.stride()
    if 0 not in strides:
        return tensor.nbytes
    numbers = tensor.itemsize
    for size, stride in zip(tensor.shape, strides, strict=True):
        if stride or not size:
            numbers *= size
    return numbers


def _scattered_bytes(args: Args) -> int:
    """Return the bytes of the last tensor argument: the values that go into a larger tensor, or else its index."""
    for value in reversed(args[1:]):
        if isinstance(value, torch.Tensor):
            return _bytes(value)
    return _bytes(args[0])


def _kind(args: Args, out: Any) -> str:
    for value in (*args, out):
        if isinstance(value, torch.Tensor):
            return _KINDS.get(value.dtype, "int")
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
            return _KINDS.get(value[0].dtype, "int")
    return "int"


_KINDS = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64",
    torch.complex64: "fp32", torch.complex128: "fp64", torch.float8_e4m3fn: "fp8", torch.float8_e5m2: "fp8",
    torch.int8: "int8",
}  # fmt: skip


def _list_launches(rule: _Rule, args: Args, out: Any) -> tuple[int, int]:
    """Return the kernels of an operator on lists, and its tensors: a kernel takes so many, and so many chunks."""
    lists = [value for value in (*args, out) if isinstance(value, (list, tuple)) and _is_on_device(value)]
    if not lists:
        return 0, 0
    depth = len(lists) - 1 if rule.name in _STEPS_BESIDE else len(lists)
    n_tensors, chunks = len(lists[0]), sum(-(-one.numel() // CHUNK_NUMBERS) for one in lists[0])
    tensors_each = TENSORS_PER_LAUNCH[min(depth, len(TENSORS_PER_LAUNCH)) - 1]
    kernels = max(1, -(-n_tensors // tensors_each), -(-chunks // CHUNKS_PER_LAUNCH))
    return kernels + rule.launches - 1, n_tensors


def _is_on_device(values: Any) -> bool:
    return bool(values) and isinstance(values[0], torch.Tensor) and not values[0].is_cpu


# MultiTensorApply.cuh, with kernel arguments of 4 KiB (builds for CUDA 13 take about seven times as much): tensors
# of one kernel by number of lists, blocks of one kernel, numbers of one block.
TENSORS_PER_LAUNCH = (110, 64, 48, 36, 30)
CHUNKS_PER_LAUNCH = 320
CHUNK_NUMBERS = 65536


@cache
def _rule(func: Any) -> _Rule | None:
    schema = func._schema
    name = schema.name.split("::")[1]
    if func.is_view or name in _NOTHING or name.startswith(("empty", "new_empty")):
        return None
    writes = tuple(
        position for position, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write and not argument.kwarg_only
        and not (name in _FUSED and argument.name == "grads")  # written only where a gradient scaler is used
    )  # fmt: skip
    return _Rule(
        name=name, writes=writes, unread=_unread(name), selects=name in _SELECT, scatters=name in _SCATTER,
        lists=name.startswith("_foreach_") or name in _FUSED,
        launches=_LAUNCHES.get(name, 1), flops=_flops_of(func), synchronizes=_waiting(name),
    )  # fmt: skip


def _unread(name: str) -> int | None:
    if name in _SELECT or name in _SCATTER or name in _OVERWRITE or name.endswith("_like") or name.startswith("new_"):
        return 0
    return 1 if name in ("nll_loss_backward", "nll_loss2d_backward") else None


def _flops_of(func: Any) -> Callable[[Args, Kwargs, Any], int] | None:
    """Return a function that counts operations with the registry's formula for this operator.

    The registry's wrappers walk nested arguments, which takes most of their time; so the formula behind the wrapper
    is called, with shapes, and only once for the many layers that have the same.
    """
    packet = func.overloadpacket
    if packet is torch.ops.aten._grouped_mm:
        return lambda args, kwargs, out: _grouped_flops(args[0].shape, args[1].shape)
    registered = flop_registry.get(torch.ops.aten.mm if packet is torch.ops.aten._int_mm else packet)
    if registered is None:
        return None
    wrapped = getattr(registered, "__wrapped__", None)
    if wrapped is None:
        return lambda args, kwargs, out: int(registered(*args, **kwargs, out_val=out))
    formula = lru_cache(maxsize=1024)(wrapped)

    def count(args: Args, kwargs: Kwargs, out: Any) -> int:
        named = {name: _shape(value) for name, value in kwargs.items()} if kwargs else kwargs
        return int(formula(*map(_shape, args), out_shape=_shape(out), **named))

    return count


def _grouped_flops(left: torch.Size, right: torch.Size) -> int:
    """Return the operations of a grouped product; of a matrix without a dimension for groups, each takes its part."""
    batch = left[0] if len(left) == len(right) == 3 else 1
    return 2 * batch * left[-2] * left[-1] * right[-1]


def _n_groups(args: Args, kwargs: Kwargs) -> int:
    offsets = kwargs.get("offs", args[2] if len(args) > 2 else None)
    return 1 if offsets is None else int(offsets.shape[0])


def _goes_by_group(args: Args) -> bool:
    return not all(one.dtype == torch.bfloat16 for one in args[:2])


def _shape(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, (list, tuple)) else value


def _waiting(name: str) -> Callable[[Args, Kwargs, Any], bool] | None:
    if name in _WAIT:
        return lambda args, kwargs, out: True
    if name in _COPY:
        return lambda args, kwargs, out: _crosses(name, args, out) and not _may_run_on(args, kwargs)
    if name == _GROUPED:  # the host reads where groups end
        return lambda args, kwargs, out: _goes_by_group(args) and _n_groups(args, kwargs) > 1
    if name in ("index", "index_put", "index_put_"):  # a mask becomes indices by `nonzero`
        return lambda args, kwargs, out: _has_mask(args[1])
    return None


def _moved_bytes(name: str, args: Args, out: Any, read: int, written: int) -> int:
    """Return the bytes that the host copies. Types are changed at the source, so on the host if that is there."""
    if not _crosses(name, args, out):
        return 0
    source, target = (args[1], args[0]) if name == "copy_" else (args[0], out)
    if read or source.dtype == target.dtype:
        return read + written
    return 2 * written + source.numel() * source.itemsize


def _crosses(name: str, args: Args, out: Any) -> bool:
    """Does a copy go from host to device or back?"""
    return bool(args[0].is_cpu != (args[1] if name == "copy_" else out).is_cpu)


def _may_run_on(args: Args, kwargs: Kwargs) -> bool:
    return bool(kwargs.get("non_blocking") or (len(args) > 2 and args[2]))


def _has_mask(indices: Iterable[Any]) -> bool:
    return any(isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices)


_GROUPED = "_grouped_mm"
_FUSED = frozenset({"_fused_adamw_", "_fused_adam_", "_fused_adagrad_", "_fused_sgd_"})
_STEPS_BESIDE = _FUSED - {"_fused_sgd_"}  # the kernel takes the list of step counts beside the others
# Neither kernel nor copy, although the schema shows no alias.
_NOTHING = frozenset({
    "_unsafe_view", "_reshape_alias", "lift_fresh", "resize_", "resize_as_", "set_", "_efficientzerotensor",
    "is_same_size", "sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "record_stream", "_version",
    "_coalesced_", "_sparse_coo_tensor_with_dims_and_tensors", "is_pinned", "_nested_tensor_size",
    "_has_same_storage_numel", "retain_grad", "requires_grad_",
})  # fmt: skip
# Read of a large first argument what their index selects.
_SELECT = frozenset({"embedding", "gather", "index", "index_select", "take", "nll_loss_forward", "nll_loss2d_forward"})
# Write into a large first argument what their last tensor holds.
_SCATTER = frozenset({
    "index_put_", "_index_put_impl_", "index_add_", "index_copy_", "index_fill_", "scatter_", "scatter_add_", "put_",
    "scatter_reduce_",
})  # fmt: skip
_COPY = frozenset({"_to_copy", "copy_"})
# Change their first argument without reading it.
_OVERWRITE = frozenset({
    "copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_",
    "geometric_", "cauchy_", "_foreach_zero_", "_foreach_copy_",
})  # fmt: skip
# The host reads a result, or the size of one.
_WAIT = frozenset({
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "_is_all_true", "_is_any_true", "_unique2",
    "unique_dim", "unique_consecutive", "bincount", "_linalg_check_errors", "_coalesce",
})  # fmt: skip
# Kernels of one call, where it is clearly more than one: sorts and scans by digit or block, gradients that sort their
# indices first, factorizations, attention's preparation of sums per row.
_LAUNCHES = {
    "sort": 8, "argsort": 8, "topk": 4, "cumsum": 2, "cumprod": 2, "embedding_dense_backward": 8, "_unique2": 12,
    "nonzero": 4, "masked_select": 6, "_coalesce": 16, "linalg_inv_ex": 8, "linalg_solve_ex": 8, "_linalg_solve_ex": 8,
    "_linalg_svd": 24, "linalg_qr": 16, "linalg_lu_factor_ex": 6, "convolution_backward": 3, "_foreach_norm": 2,
    "_scaled_dot_product_efficient_attention_backward": 2, "_scaled_dot_product_flash_attention_backward": 3,
    "native_layer_norm_backward": 2, _GROUPED: 2,
}  # fmt: skip
