"""Bytes of the tensors that are alive at a time while real operators run, on a device that reports no memory.

`advisor.dryrun.tracker` does the same for operators that are not computed. Not covered: what a kernel takes for itself,
blocks that an allocator keeps or rounds.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):
    """Adds up the storages that operators make, and subtracts each when the last tensor that shares it is gone.

    Attributes:
        peak_bytes: Most that was alive at a time, of what was made while this is active.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.peak_bytes = 0
        self._live_bytes = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and note the storages of its results."""
        given = {one.untyped_storage()._cdata for one in _tensors((args, kwargs)) if one.layout is torch.strided}
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            if tensor.layout is torch.strided and tensor.untyped_storage()._cdata not in given:
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, nbytes = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def died(_: object) -> None:
            del self._known[key]
            self._live_bytes -= nbytes

        self._known[key] = weakref.ref(storage, died)
        self._live_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)


def _tensors(values: object) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
