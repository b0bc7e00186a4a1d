"""Live bytes of a training step, storage by storage, while it runs on the meta device.

Every operator that PyTorch dispatches passes through `Tracker`. A new storage adds its bytes, a weak reference on it
subtracts them when the last tensor that shares it is gone: exactly the moments at which the CUDA caching allocator
would be called. What a kernel allocates for itself never shows as a tensor and is added by `dryrun.scratch`.

Not covered: memory of libraries outside PyTorch's allocator (NCCL, cuDNN plans), and several devices.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.dryrun.operators import OperatorCost, cost
from advisor.dryrun.scratch import scratch_bytes
from advisor.dryrun.shapes import ShapeMemory
from advisor.dryrun.value_reads import answer, memory_parts

Category = Literal[
    "weights", "adapter", "gradients", "optimizer", "activations", "logits", "workspace", "paged", "inputs"
]
Phase = Literal["forward", "backward", "clip", "optimizer"]

# Allocated by PyTorch while a phase runs, unless something better is known about the storage.
_DEFAULT_CATEGORY: dict[Phase, Category] = {
    "forward": "activations", "backward": "workspace", "clip": "workspace", "optimizer": "workspace",
}  # fmt: skip


class Block:
    """One storage: how large, and what it is for."""

    __slots__ = ("category", "nbytes", "number")

    def __init__(self, number: int, nbytes: int, category: Category) -> None:
        """Note a storage of `nbytes` (as requested, not rounded); `number` is unique within the tracker."""
        self.number = number
        self.nbytes = nbytes
        self.category = category


class Tracker(TorchDispatchMode):
    """Records allocations, frees and operator costs of everything that runs while it is active.

    Attributes:
        blocks: Every storage seen, by number.
        events: `(number, nbytes)` for an allocation, `(number, 0)` for a free, in order.
        costs: What each operator computes and moves, in order, where it does either.
        phase: Set by the caller; decides the default category.
        forward_ends: Number of events when the last forward pass ended.
    """

    def __init__(self, *, with_costs: bool = True, shapes: ShapeMemory | None = None) -> None:
        """Begin with nothing.

        Args:
            with_costs: Count operations and bytes; without it the run is a little faster.
            shapes: Shapes seen by an earlier tracker, to begin with.
        """
        super().__init__()
        self.blocks: list[Block] = []
        self.events: list[tuple[int, int]] = []
        self.costs: list[tuple[Phase, OperatorCost]] = []
        self.phase: Phase = "forward"
        self.forward_ends = 0
        self._live: dict[int, tuple[Block, weakref.ref[torch.UntypedStorage]]] = {}
        self._with_costs = with_costs
        self._shapes = shapes or ShapeMemory()
        self._head_begins: int | None = None
        self._forward_ends: int | None = None
        self._in_head = False

    def register(self, tensors: Iterable[torch.Tensor], category: Category) -> None:
        """Count tensors that exist already, such as weights."""
        for tensor in tensors:
            self._note(tensor, category)

    def mark(self, tensors: Iterable[torch.Tensor | None], category: Category) -> None:
        """Say what storages that were seen before turned out to be, such as gradients."""
        for tensor in tensors:
            if tensor is not None and tensor.device.type == "meta":
                block = self._note(tensor, category)
                block.category = category

    def enter_head(self) -> None:
        """From here to the end of the forward pass everything belongs to logits and loss."""
        if self.phase == "forward" and not self._in_head:
            self._head_begins = next_sequence_number()
            self._in_head = True

    def begin_forward(self) -> None:
        """A forward pass begins; its head has not been reached."""
        self.phase, self._head_begins, self._in_head = "forward", None, False

    def begin_backward(self) -> None:
        """The backward pass begins: nodes made from here on belong to recomputed layers."""
        self.phase, self._forward_ends, self._in_head = "backward", next_sequence_number(), False
        self.forward_ends = len(self.events)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator on meta tensors and note what it allocates."""
        kwargs = kwargs or {}
        # Shape rules of operators are Python too: below autograd no function mode must see them.
        with torch._C.DisableTorchFunction():
            out = answer(func, args, kwargs)
            if out is NotImplemented:
                out = self._shapes.run(func, args, kwargs)
            self._observe(func, args, kwargs, out)
        return out

    def _observe(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if func not in _ALIASING and not _only_aliases(func):
            for result in out if isinstance(out, (tuple, list)) else (out,):
                for tensor in result if isinstance(result, (tuple, list)) else (result,):
                    if isinstance(tensor, torch.Tensor):
                        self._note_parts(tensor)
            scratch = scratch_bytes(func, args, out)
            if scratch:
                self._pass_by(scratch)
        if self._with_costs:
            spent = cost(func, args, kwargs, out)
            if spent is not None:
                self.costs.append((self.phase, spent))

    def _note_parts(self, tensor: torch.Tensor) -> None:
        if tensor.layout is torch.strided:
            self._note(tensor, None)
        else:
            for part in memory_parts(tensor):  # a sparse tensor has no storage of its own
                self._note(part, None)

    def _note(self, tensor: torch.Tensor, category: Category | None) -> Block:
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._live.get(key)
        if known is not None:
            return known[0]
        block = Block(len(self.blocks), _nbytes(storage, tensor), category or self._category())
        self.blocks.append(block)
        if tensor.device.type == "meta":
            self.events.append((block.number, block.nbytes))
        self._live[key] = (block, weakref.ref(storage, self._death_of(key, block.number, tensor.device.type)))
        return block

    def _death_of(self, key: int, number: int, device: str) -> Callable[[object], None]:
        def died(_: object) -> None:
            del self._live[key]
            if device == "meta":
                self.events.append((number, 0))

        return died

    def _pass_by(self, nbytes: int) -> None:
        """Memory that a kernel takes for itself and gives back before it returns."""
        block = Block(len(self.blocks), nbytes, "workspace")
        self.blocks.append(block)
        self.events += [(block.number, nbytes), (block.number, 0)]

    def _category(self) -> Category:
        if self._in_head or (self.phase == "backward" and self._is_head_backward()):
            return "logits"
        return _DEFAULT_CATEGORY[self.phase]

    def _is_head_backward(self) -> bool:
        if self._head_begins is None or self._forward_ends is None:
            return False
        number = current_sequence_number()
        return number is not None and self._head_begins <= number < self._forward_ends


def next_sequence_number() -> int:
    """Return the number that autograd gives to the next operator of a forward pass."""
    return int(torch._C._autograd._get_sequence_nr())


def current_sequence_number() -> int | None:
    """Return the number of the forward operator whose gradient is being computed, None outside a backward pass."""
    node = torch._C._current_autograd_node()
    return None if node is None else int(node._sequence_nr())


_ALIASING: set[Any] = set()


def _only_aliases(func: Any) -> bool:
    """Does every result of this operator share memory with an argument? Remembered per operator."""
    returns = func._schema.returns
    aliases = bool(returns) and all(one.alias_info is not None for one in returns)
    if aliases:
        _ALIASING.add(func)
    return aliases


def _nbytes(storage: torch.UntypedStorage, tensor: torch.Tensor) -> int:
    return storage.nbytes() if tensor.device.type == "meta" else 0
