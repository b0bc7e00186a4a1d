"""Shapes of results, remembered: all layers of a model ask for the same ones.

PyTorch works out the shape, strides and type of a result on the meta device in Python for most operators, which is
where a dry run spends its time. They follow from those of the arguments, so a second operator with equal ones can be
given an empty tensor at once. Only operators that neither change nor alias their arguments are remembered.
"""

from collections.abc import Iterable
from typing import Any

import torch

Key = tuple[Any, ...]
# Size, strides, type and storage bytes of each result; None where an operator returns nothing in that place.
Layout = tuple[torch.Size, tuple[int, ...], torch.dtype, int]
Layouts = tuple[Layout | None, ...]


class ShapeMemory:
    """What operators returned for which arguments."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[Key, tuple[bool, Layouts]] = {}
        self._pure: dict[Any, bool] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on meta tensors, or return what it returned for arguments alike.

        Args:
            func: The dispatched operator.
            args: Its positional arguments.
            kwargs: Its named arguments.
        """
        pure = self._pure.get(func)
        if pure is None:
            pure = self._pure[func] = _is_pure(func)
        key = _key(func, args, kwargs) if pure else None
        if key is None:
            return func(*args, **kwargs)
        known = self._known.get(key)
        if known is None:
            out = func(*args, **kwargs)
            layouts = _layouts(out)
            if _shares_memory(args, out):  # such as _unsafe_view, whose schema does not say so
                self._pure[func] = False
            elif layouts is not None:
                self._known[key] = (isinstance(out, (tuple, list)), layouts)
            return out
        several, layouts = known
        results = tuple(None if one is None else _empty(*one) for one in layouts)
        return results if several else results[0]


def _is_pure(func: Any) -> bool:
    schema = func._schema
    return (
        bool(schema.returns)
        and all(one.alias_info is None for one in schema.returns)
        and all(one.alias_info is None for one in schema.arguments)
        and all(str(one.type) in ("Tensor", "Optional[Tensor]") for one in schema.returns)
    )


def _key(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key | None:
    """Return what a result depends on, None where an argument is not on meta or cannot be compared."""
    parts: list[Any] = [func]
    for value in (*args, *kwargs, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            if not value.is_meta or value.layout is not torch.strided or value.dtype.is_complex:
                return None
            parts.append((value.shape, value.stride(), value.dtype))
        elif isinstance(value, (list, tuple)):
            if any(isinstance(one, torch.Tensor) for one in value):
                return None
            parts.append(tuple(value))
        else:
            parts.append((type(value), value))  # 1, 1.0 and True are equal but not alike
    try:
        hash(key := tuple(parts))
    except TypeError:
        return None
    return key


def _empty(size: torch.Size, strides: tuple[int, ...], dtype: torch.dtype, storage_bytes: int) -> torch.Tensor:
    found = torch.empty_strided(size, strides, dtype=dtype, device="meta")
    if found.untyped_storage().nbytes() == storage_bytes:
        return found
    # Part of a larger tensor, such as the gradient of an attention mask, whose rows are padded.
    return torch.empty(storage_bytes // dtype.itemsize, dtype=dtype, device="meta").as_strided(size, strides)


def _shares_memory(args: tuple[Any, ...], out: Any) -> bool:
    results = out if isinstance(out, (tuple, list)) else (out,)
    return not _storages(args).isdisjoint(_storages(results))


def _storages(values: Iterable[Any]) -> set[int]:
    return {
        value.untyped_storage()._cdata
        for value in values
        if isinstance(value, torch.Tensor) and value.layout is torch.strided
    }


def _layouts(out: Any) -> Layouts | None:
    found: list[Layout | None] = []
    for one in out if isinstance(out, (tuple, list)) else (out,):
        if one is None:
            found.append(None)
        elif isinstance(one, torch.Tensor) and one.is_meta and one.layout is torch.strided:
            found.append((one.shape, one.stride(), one.dtype, one.untyped_storage().nbytes()))
        else:
            return None
    return tuple(found)
