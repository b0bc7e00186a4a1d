"""Which layer of a stack an allocation belongs to, in the forward and in the backward pass.

All layers of a stack are alike, so a model with three of each tells what any number of them needs: `dryrun.depth`
extrapolates, and this module tells it where a layer begins. In the forward pass hooks on the layers say so; in the
backward pass the sequence number of the running autograd node does, since autograd numbers operators in the order
of the forward pass and runs them backwards.
"""

import bisect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from advisor.dryrun.tracker import Phase, Tracker, current_sequence_number, next_sequence_number

# (stack, layer) while a layer is at work; None before, between and after the stacks.
Place = tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A stretch of the trace that one layer (or what lies outside of all layers) is responsible for.

    Attributes:
        phase: Of the training step.
        place: Stack and layer.
        first_event: Index of the first event of the stretch.
        first_cost: Index of the first operator cost of the stretch.
        after: Stacks that the forward pass has left, for stretches outside of all layers.
    """

    phase: Phase
    place: Place
    first_event: int
    first_cost: int
    after: int


class LayerTracker(Tracker):
    """A tracker that also notes where each layer begins and ends.

    Attributes:
        regions: In the order of the trace; each ends where the next begins.
        n_stacks: Number of stacks of layers, 2 in encoder-decoder models.
    """

    def __init__(self, model: torch.nn.Module, n_layers: int) -> None:
        """Prepare for a model whose stacks have `n_layers` layers each."""
        super().__init__()
        self.regions: list[Region] = []
        self._stacks = stacks_of(model, n_layers)
        self.n_stacks = len(self._stacks)
        self._place: Place = None
        self._left = 0
        # Sequence numbers at which the place changed in the forward pass, and the place from there on.
        self._numbers: list[int] = []
        self._places: list[tuple[Place, int]] = []
        self._seen: tuple[Phase, Place, int] | None = None

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Listen to the layers within the block."""
        with ExitStack() as stack:
            for number, layers in enumerate(self._stacks):
                for layer, module in enumerate(layers):
                    for register, hook in (
                        (module.register_forward_pre_hook, self._on_enter((number, layer))),
                        (module.register_forward_hook, self._on_leave(number, last=layer == len(layers) - 1)),
                    ):
                        stack.callback(register(hook).remove)
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note the region, then run the operator."""
        place, left = self._place, self._left
        if self.phase == "backward":
            number = current_sequence_number()
            if number is not None and self._numbers and number <= self._last_number:
                index = bisect.bisect_right(self._numbers, number) - 1
                place, left = self._places[index] if index >= 0 else (None, 0)
                self._place, self._left = place, left
        elif self.phase != "forward":
            place, left = None, 0
        self._change(place, left)
        return super().__torch_dispatch__(func, types, args, kwargs)

    def begin_backward(self) -> None:
        """The backward pass begins, outside of all layers."""
        super().begin_backward()
        self._last_number = next_sequence_number()
        self._place = None

    def _change(self, place: Place, left: int) -> None:
        seen = (self.phase, place, left)
        if seen != self._seen:
            self._seen = seen
            self.regions.append(
                Region(
                    phase=self.phase, place=place, first_event=len(self.events), first_cost=len(self.costs), after=left
                )
            )

    def _on_enter(self, place: tuple[int, int]) -> Any:
        def enter(*_: object) -> None:
            if self.phase == "forward":
                self._go(place, self._left)

        return enter

    def _on_leave(self, stack: int, *, last: bool) -> Any:
        def leave(*_: object) -> None:
            if self.phase == "forward" and last:
                self._go(None, stack + 1)

        return leave

    def _go(self, place: Place, left: int) -> None:
        self._place, self._left = place, left
        self._numbers.append(next_sequence_number())
        self._places.append((place, left))
        self._change(place, left)


def stacks_of(model: torch.nn.Module, n_layers: int) -> list[list[torch.nn.Module]]:
    """Return the stacks of layers: the outermost module lists of `n_layers` members, in the order of the model."""
    found: list[tuple[str, list[torch.nn.Module]]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers and not inside:
            found.append((name, list(module)))
    return [layers for _, layers in found]
