"""Operators that need values, answered for tensors of the meta device, which have none.

A training step reads values in a few places: is the batch padded, which labels count, where lie the entries of a
sparse matrix. `answer` gives each such operator a stand-in of the type, shape and device that the real result would
have. Where the result depends on the data, memory decides:

- a truth value is False (no row is free of padding, so the attention mask is written out), a whole number 0 (the
  first index, the first task), any other number 1;
- two tensors of one shape are equal (a search for the tokens that switch an adapter on finds them), and the parameters
  of a distribution are valid;
- everything counts: a mask selects all, `nonzero` finds all, every entry is unique, no two entries of a sparse
  matrix fall together; but neighbours are alike (all rows of a batch have as many end tokens);
- a copy to the CPU is a small tensor of these values; beyond `LARGEST_REAL` numbers all of them share one number in
  memory, so it can be read but not written in place.

Sparse COO tensors on meta keep their layout, with `memory_parts` as their memory.

Not covered, and failing as without this module: results whose size only the values tell and nothing bounds
(`repeat_interleave` without `output_size`, `bincount` without `minlength`), `torch.tensor` of a list of tensors,
least squares, compressed sparse layouts. Code that stops on a false truth value, such as a check that all numbers are
finite, stops. Memory that a kernel takes for itself is counted elsewhere (`scratch`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

_aten = torch.ops.aten
_META = torch.device("meta")
LARGEST_REAL = 1 << 16  # numbers

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def answer(func: Any, args: Args, kwargs: Kwargs) -> Any:
    """Return what stands for the result of an operator that meta cannot run, or `NotImplemented` for all others.

    To be called by a `TorchDispatchMode` before it runs the operator.

    Args:
        func: The dispatched operator.
        args: Its positional arguments.
        kwargs: Its named arguments.
    """
    rule = _RULES.get(func)
    return NotImplemented if rule is None else rule(func, args, kwargs)


def value_for(dtype: torch.dtype) -> bool | int | float | complex:
    """Return the number that is read wherever a value of this type is asked for."""
    if dtype == torch.bool:
        return False
    if dtype.is_complex:
        return complex(1.0)
    return 1.0 if dtype.is_floating_point else 0


def stand_in_on_cpu(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return a CPU tensor of a shape whose values do not matter; a large one takes the memory of one number."""
    size = torch.Size(shape)
    if size.numel() <= LARGEST_REAL:
        return torch.full(size, value_for(dtype), dtype=dtype)
    return torch.full((), value_for(dtype), dtype=dtype).expand(size)


def memory_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the tensors that own the memory of a tensor: indices and values of a sparse one, else itself."""
    if tensor.layout != torch.sparse_coo:
        return (tensor,)
    return tensor._indices(), tensor._values()


def _new(like: torch.Tensor, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype or like.dtype, device=_META)


def _scalar(func: Any, args: Args, kwargs: Kwargs) -> Any:
    return value_for(args[0].dtype) if args[0].is_meta else NotImplemented


def _valid(func: Any, args: Args, kwargs: Kwargs) -> Any:
    return torch.tensor(True) if args[0].is_meta else NotImplemented


def _same(func: Any, args: Args, kwargs: Kwargs) -> Any:
    one, other = args[:2]
    return one.shape == other.shape if one.is_meta or other.is_meta else NotImplemented


def _to_copy(func: Any, args: Args, kwargs: Kwargs) -> Any:
    device = kwargs.get("device")
    if not args[0].is_meta or device is None or torch.device(device).type != "cpu":
        return NotImplemented
    return stand_in_on_cpu(args[0].shape, kwargs.get("dtype") or args[0].dtype)


def _copy_into(func: Any, args: Args, kwargs: Kwargs) -> Any:
    target, source = args[:2]
    return target if source.is_meta and not target.is_meta else NotImplemented


def _nonzero(func: Any, args: Args, kwargs: Kwargs) -> Any:
    mask = args[0]
    if not mask.is_meta:
        return NotImplemented
    # CUDA writes the positions one dimension after the other and returns the transpose.
    return _new(mask, mask.dim(), mask.numel(), dtype=torch.int64).t()


def _index(func: Any, args: Args, kwargs: Kwargs) -> Any:
    source, indices = args[:2]
    if not source.is_meta or not any(_is_mask(index) for index in indices):
        return NotImplemented
    places: list[torch.Tensor | None] = []
    for index in indices:
        if _is_mask(index):
            places += [_new(index, index.numel(), dtype=torch.int64) for _ in range(index.dim())]
        else:
            places.append(index)
    return func(source, places)


def _is_mask(index: torch.Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def _masked_select(func: Any, args: Args, kwargs: Kwargs) -> Any:
    source, mask = args[:2]
    if not source.is_meta and not mask.is_meta:
        return NotImplemented
    return _new(source, torch.broadcast_shapes(source.shape, mask.shape).numel())


def _unique(func: Any, args: Args, kwargs: Kwargs) -> Any:
    source = args[0]
    if not source.is_meta:
        return NotImplemented
    count = source.numel()
    counts = _new(source, count, dtype=torch.int64)
    return _new(source, count), _new(source, *source.shape, dtype=torch.int64), counts


def _one_run(func: Any, args: Args, kwargs: Kwargs) -> Any:
    """All rows are alike: models of the BART kind ask so whether every row has as many end tokens as the others."""
    source = args[0]
    if not source.is_meta:
        return NotImplemented
    return _new(source, 1), _new(source, *source.shape, dtype=torch.int64), _new(source, 1, dtype=torch.int64)


def _bincount(func: Any, args: Args, kwargs: Kwargs) -> Any:
    minlength = args[2] if len(args) > 2 else kwargs.get("minlength", 0)
    if not args[0].is_meta or not minlength:
        return NotImplemented
    weights = args[1] if len(args) > 1 else kwargs.get("weights")
    if weights is None:
        return _new(args[0], minlength, dtype=torch.int64)
    return _new(args[0], minlength, dtype=torch.float32 if weights.dtype == torch.float32 else torch.float64)


def _is_sparse_meta(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.layout == torch.sparse_coo and tensor.is_meta


def _coalesce(func: Any, args: Args, kwargs: Kwargs) -> Any:
    return _sparse_like(args[0], args[0].dtype) if _is_sparse_meta(args[0]) else NotImplemented


def _sparse_like(pattern: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a coalesced sparse tensor with entries where `pattern` has them, in memory of its own."""
    indices, values = pattern._indices(), pattern._values()
    made: torch.Tensor = _aten._sparse_coo_tensor_with_dims_and_tensors.default(
        pattern.sparse_dim(),
        pattern.dense_dim(),
        list(pattern.shape),
        torch.empty_like(indices),
        torch.empty_like(values, dtype=dtype),
        dtype=dtype,
        layout=torch.sparse_coo,
        device=_META,
    )
    made._coalesced_(True)
    return made


def _to_dense(func: Any, args: Args, kwargs: Kwargs) -> Any:
    if not _is_sparse_meta(args[0]):
        return NotImplemented
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    return _new(args[0], *args[0].shape, dtype=dtype)


def _add(func: Any, args: Args, kwargs: Kwargs) -> Any:
    dense, other = args[:2]
    if not _is_sparse_meta(other) or dense.layout != torch.strided:
        return NotImplemented
    return dense if func is _aten.add_.Tensor else torch.empty_like(dense, dtype=torch.result_type(dense, other))


def _sparse_mask(func: Any, args: Args, kwargs: Kwargs) -> Any:
    source, pattern = args[:2]
    return _sparse_like(pattern, source.dtype) if _is_sparse_meta(pattern) else NotImplemented


def _product(func: Any, args: Args, kwargs: Kwargs) -> Any:
    left, right = args[-2:]
    if not _is_sparse_meta(left) or right.layout != torch.strided:
        return NotImplemented
    return _new(right, left.shape[0], right.shape[1])


_Rule = Callable[[Any, Args, Kwargs], Any]
_RULES: dict[Any, _Rule] = {
    _aten._local_scalar_dense.default: _scalar,  # item(), bool(), int(), float(), all(), any() in conditions
    _aten._is_all_true.default: _valid,  # torch.distributions checks its parameters with it
    _aten.equal.default: _same,
    _aten.allclose.default: _same,
    _aten._to_copy.default: _to_copy,
    _aten.copy_.default: _copy_into,
    _aten.nonzero.default: _nonzero,
    _aten.index.Tensor: _index,
    _aten.masked_select.default: _masked_select,
    _aten._unique2.default: _unique,
    _aten.unique_consecutive.default: _one_run,
    _aten.bincount.default: _bincount,
    _aten._coalesce.default: _coalesce,
    _aten._to_dense.default: _to_dense,
    _aten.add.Tensor: _add,
    _aten.add_.Tensor: _add,
    _aten.sparse_mask.default: _sparse_mask,
    _aten.mm.default: _product,
    _aten._sparse_addmm.default: _product,
}
