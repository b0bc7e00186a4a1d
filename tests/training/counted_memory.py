"""A device that counts its memory, for tests on a CPU."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class CountedMemory(TorchDispatchMode):
    """A device that counts the bytes of every storage that is alive, by looking at every operator."""

    def __init__(self, available_bytes: int = 10**9) -> None:
        super().__init__()
        self.available = available_bytes
        self.live = 0
        self.peak = 0
        self.said: list[str] = []
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        return found

    def _see(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, n_bytes: int) -> None:
        self._known.discard(key)
        self.live -= n_bytes

    def reset(self) -> None:
        self.said.append("reset")
        self.peak = self.live

    def synchronize(self) -> None:
        self.said.append("synchronize")

    def peak_bytes(self) -> int:
        self.said.append("peak")
        return self.peak

    def available_bytes(self) -> int:
        return self.available
