"""What a computation allocates, as the tests of stand-ins and optimizers see it."""

import weakref
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class StorageWatch(TorchDispatchMode):
    """Notes allocations and frees of storages that were not there before, and which operators ran.

    Values that meta tensors do not have are read as 1.

    Attributes:
        events: Bytes in order, allocations positive and frees negative.
        operators: Names without overloads, in order.
    """

    def __init__(self, known: Iterable[torch.Tensor | None], *, scalars: bool = True) -> None:
        """Begin with what is known.

        Args:
            known: Tensors that are there before.
            scalars: Note tensors of one number too.
        """
        super().__init__()
        self.events: list[int] = []
        self.operators: list[str] = []
        # Storages, not tensors: a tensor whose `data` is replaced lets go of its storage, and its number is used again.
        storages = [tensor.untyped_storage() for tensor in known if tensor is not None]
        self._known = {storage._cdata: storage for storage in storages}
        self._live: set[int] = set()
        self._least_numbers = 0 if scalars else 2

    @property
    def live_bytes(self) -> int:
        """Bytes that are still there."""
        return sum(self.events)

    @property
    def peak_bytes(self) -> int:
        """Most bytes that were there at once."""
        return max(accumulate(self.events), default=0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators.append(func.overloadpacket.__name__)
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "meta":
            return 1
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.numel() >= self._least_numbers:
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, nbytes = storage._cdata, storage.nbytes()
        if key in self._known or key in self._live:
            return
        self._live.add(key)
        self.events.append(nbytes)
        weakref.finalize(storage, self._forget, key, nbytes)

    def _forget(self, key: int, nbytes: int) -> None:
        self._live.discard(key)
        self.events.append(-nbytes)
