"""Low-rank adapters of several slots on one layer, computed as two batched products.

Ranks are padded with zeros to the largest. A zero row of A meets a zero column of B, so neither gets a gradient.
The stacks are copies: PEFT's own parameters stay what optimizer and `save_pretrained` see; each pass copies them in
and adds the gradients back.

Hu et al., LoRA, https://arxiv.org/abs/2106.09685, equation 3: h = W x + s B A x.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.layer import LoraLayer
from torch.nn import functional

from advisor.training.packing.layout import Layout
from advisor.training.packing.randomness import SlotRandomness

_ADAPTER = "default"


def is_plain_lora(layer: Any) -> bool:
    """Is this a LoRA layer on a linear base layer, without a variant such as DoRA?"""
    if not isinstance(layer, LoraLayer) or layer.lora_variant.get(_ADAPTER) is not None:
        return False
    if getattr(layer, "lora_bias", {}).get(_ADAPTER, False) or _ADAPTER not in layer.lora_A:
        return False
    return isinstance(layer, LoraLinear) or type(layer).__name__ in ("Linear8bitLt", "Linear4bit")


class LoraStack:
    """The low-rank adapters of all slots that have one on a layer."""

    def __init__(self, layers: Mapping[int, Any]) -> None:
        """Take PEFT's layers by slot."""
        self.slots = tuple(layers)
        self._a = [layer.lora_A[_ADAPTER].weight for layer in layers.values()]  # each (r, in)
        self._b = [layer.lora_B[_ADAPTER].weight for layer in layers.values()]  # each (out, r)
        self._p = {slot: _dropout_of(layer) for slot, layer in layers.items()}
        rank = max(a.shape[0] for a in self._a)
        first_a, first_b = self._a[0], self._b[0]
        n = len(self.slots)
        self._stack_a = first_a.new_zeros((n, rank, first_a.shape[1])).requires_grad_()
        self._stack_b = first_b.new_zeros((n, first_b.shape[0], rank)).requires_grad_()
        self._scaling = torch.tensor(
            [float(layer.scaling[_ADAPTER]) for layer in layers.values()], device=first_a.device
        ).view(-1, 1, 1)

    @property
    def copies(self) -> tuple[list[torch.Tensor], list[torch.nn.Parameter]]:
        """Places in the stacks and the parameters that belong there."""
        return _places(self._stack_a, self._stack_b, self._a, self._b), [*self._a, *self._b]

    def take_gradients(self) -> tuple[list[torch.nn.Parameter], list[torch.Tensor]]:
        """Return PEFT's parameters and their gradients of the last pass, and forget them here."""
        a, b = self._stack_a.grad, self._stack_b.grad
        self._stack_a.grad = self._stack_b.grad = None
        if a is None or b is None:
            return [], []
        return [*self._a, *self._b], _places(a, b, self._a, self._b)

    def add_to(
        self, result: torch.Tensor, x: torch.Tensor, layout: Layout, randomness: SlotRandomness | None
    ) -> torch.Tensor:
        """Add every slot's low-rank product.

        Args:
            result: Of the base layer, (rows, ..., out).
            x: Its input, (rows, ..., in).
            layout: Of the pass.
            randomness: Draws dropout in training, None in evaluation.

        Returns:
            A tensor like `result`.
        """
        here = [place for place, slot in enumerate(self.slots) if slot in layout.rows]
        slots = [self.slots[place] for place in here]
        if not slots:
            return result
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(self._stack_a.dtype)
        per_slot = layout.rows_per_slot
        if per_slot is None or len(slots) < len(layout.slots):
            return self._one_by_one(result, x, layout, randomness, here)
        rows = self._dropped(x, layout, randomness).reshape(len(slots), -1, x.shape[-1])
        # A pass may hold some of the slots only, in an order of its own.
        order = [self.slots.index(slot) for slot in layout.slots]
        whole = order == list(range(len(self.slots)))
        a, b, scaling = (stack if whole else stack[order] for stack in (self._stack_a, self._stack_b, self._scaling))
        low = torch.bmm(rows, a.transpose(1, 2)) * scaling
        return result + torch.bmm(low, b.transpose(1, 2)).view(result.shape)

    def _dropped(self, x: torch.Tensor, layout: Layout, randomness: SlotRandomness | None) -> torch.Tensor:
        if randomness is None or not any(self._p[slot] for slot in layout.slots):
            return x
        parts = []
        for slot in layout.slots:
            rows = x[layout.rows[slot]]
            p = self._p[slot]
            parts.append(randomness.noise(rows, p, slot) if p else torch.ones_like(rows))
        return x * torch.cat(parts)

    def _one_by_one(
        self,
        result: torch.Tensor,
        x: torch.Tensor,
        layout: Layout,
        randomness: SlotRandomness | None,
        here: list[int],
    ) -> torch.Tensor:
        """Add the products slot by slot: the slots have different numbers of rows, or not all are low-rank."""
        places = {self.slots[place]: place for place in here}
        parts = []
        for slot in layout.slots:
            rows = x[layout.rows[slot]]
            part = result[layout.rows[slot]]
            if slot in places:
                place, p = places[slot], self._p[slot]
                if randomness is not None and p:
                    rows = rows * randomness.noise(rows, p, slot)
                low = functional.linear(rows, self._stack_a[place]) * self._scaling[place]
                part = part + functional.linear(low, self._stack_b[place])
            parts.append(part)
        return torch.cat(parts)


def _places(
    stack_a: torch.Tensor, stack_b: torch.Tensor, a: list[torch.nn.Parameter], b: list[torch.nn.Parameter]
) -> list[torch.Tensor]:
    return [
        *(stack_a[place, : one.shape[0]] for place, one in enumerate(a)),
        *(stack_b[place, :, : one.shape[1]] for place, one in enumerate(b)),
    ]


def _dropout_of(layer: Any) -> float:
    dropout = layer.lora_dropout[_ADAPTER]
    return float(dropout.p) if isinstance(dropout, torch.nn.Dropout) else 0.0
