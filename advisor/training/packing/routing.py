"""Modules that send each slot's rows through what belongs to that slot.

`Routed` calls each slot's own PEFT module on its rows: right for every method by construction, one call per slot.
`RoutedLinear` runs the base layer once for all rows and adds the slots' changes to it: low-rank adapters as batched
products, (IA)3 scales and bias offsets as one product or sum, bottleneck adapters slot by slot. The base layer need not
be linear for what is added after it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.beft.layer import Linear as BiasLinear
from peft.tuners.ia3.layer import Linear as ScaledLinear

from advisor.modeling.tuners.bitfit import BitFitLayer
from advisor.modeling.tuners.bottleneck import BesideLayer, BottleneckLayer, NormLayer
from advisor.modeling.tuners.wrapping import AnswersForBaseLayer
from advisor.training.packing.layout import Layout, PackingError
from advisor.training.packing.lora import LoraStack, is_plain_lora
from advisor.training.packing.randomness import SlotRandomness

Own = Mapping[int, torch.nn.Module]


class Routed(AnswersForBaseLayer):
    """Stands in for a module of the base model; each slot's rows go through the slot's own module."""

    def __init__(self, base: torch.nn.Module, own: Own, layout: Layout) -> None:
        """Take the base model's module and those of the slots that change it."""
        super().__init__()
        self.base_layer = base
        self._own = dict(own)
        self._layout = layout

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Run every slot's module on its rows; tensors with another first dimension are passed as they are."""
        layout = self._layout
        n_rows = layout.n_rows
        parts = []
        for slot in layout.slots:
            rows = layout.rows[slot]
            layout.current = slot
            own_args = [_rows(value, rows, n_rows) for value in args]
            own_kwargs = {name: _rows(value, rows, n_rows) for name, value in kwargs.items()}
            part = self._own.get(slot, self.base_layer)(*own_args, **own_kwargs)
            if not isinstance(part, torch.Tensor) or part.shape[0] != rows.stop - rows.start:
                name = type(self.base_layer).__name__
                raise PackingError(f"{name} does not return one tensor with a row per example")
            parts.append(part)
        layout.current = None
        return torch.cat(parts)


class RoutedLinear(AnswersForBaseLayer):
    """Stands in for a linear layer, quantized or not: one product with frozen weights, then every slot's change."""

    def __init__(self, base: torch.nn.Module, own: Own, layout: Layout, stack: LoraStack | None) -> None:
        """Take the base layer, the slots' PEFT layers and, when some are low-rank, their stack."""
        super().__init__()
        self.base_layer = base
        self._layout = layout
        self._stack = stack
        scaled = {slot: layer for slot, layer in own.items() if isinstance(layer, ScaledLinear)}
        self._inputs = {slot: layer.ia3_l for slot, layer in scaled.items() if layer.is_feedforward}
        self._outputs = {slot: layer.ia3_l for slot, layer in scaled.items() if not layer.is_feedforward}
        self._offsets = {slot: layer.beft_bias for slot, layer in own.items() if isinstance(layer, BiasLinear)}
        self._offsets |= {slot: layer.bitfit_bias for slot, layer in own.items() if isinstance(layer, BitFitLayer)}
        bottlenecks = {slot: layer for slot, layer in own.items() if isinstance(layer, BottleneckLayer)}
        self._before = {slot: layer for slot, layer in bottlenecks.items() if isinstance(layer, NormLayer)}
        self._after = {slot: layer for slot, layer in bottlenecks.items() if slot not in self._before}
        self.randomness: SlotRandomness | None = None

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Compute the layer for rows of all slots, of shape (rows, ..., features)."""
        self._layout.check(x, "the input of a linear layer")
        x = self._with_bottlenecks(x, self._before)
        scaled = self._times(x, self._inputs).to(x.dtype)
        result: torch.Tensor = self.base_layer(scaled, *args, **kwargs)
        dtype = result.dtype
        result = self._plus(self._times(result, self._outputs), self._offsets)
        if self._stack is not None:
            result = self._stack.add_to(result, x, self._layout, self.randomness)
        return self._with_bottlenecks(result.to(dtype), self._after)

    def _with_bottlenecks(self, x: torch.Tensor, layers: Mapping[int, BottleneckLayer]) -> torch.Tensor:
        """Return an activation with what each slot's bottleneck adapters add to the slot's rows."""
        if not layers:
            return x
        parts = []
        for slot in self._layout.slots:
            part = x[self._layout.rows[slot]]
            if slot in layers:
                self._layout.current = slot
                part = self._changed(part, layers[slot])
                self._layout.current = None
            parts.append(part)
        return torch.cat(parts)

    def _changed(self, part: torch.Tensor, layer: BottleneckLayer) -> torch.Tensor:
        if isinstance(layer, NormLayer):
            return layer.summed(part, self.base_layer)
        return layer.added(part)

    def _times(self, x: torch.Tensor, vectors: Mapping[int, Any]) -> torch.Tensor:
        return x if not vectors else x * self._per_row(x, vectors, 1.0)

    def _plus(self, x: torch.Tensor, vectors: Mapping[int, Any]) -> torch.Tensor:
        return x if not vectors else x + self._per_row(x, vectors, 0.0)

    def _per_row(self, x: torch.Tensor, vectors: Mapping[int, Any], neutral: float) -> torch.Tensor:
        """Return each slot's vector for each of its rows, the neutral element for slots without one."""
        parts = []
        for slot in self._layout.slots:
            rows = self._layout.rows[slot]
            if slot in vectors:
                vector = vectors[slot]["default"].flatten()
            else:
                vector = torch.full((x.shape[-1],), neutral, device=x.device)
            shape = (rows.stop - rows.start, *(1,) * (x.ndim - 2), x.shape[-1])
            parts.append(vector.expand(shape))
        return torch.cat(parts)


def runs_base_once(own: Own) -> bool:
    """Can all these PEFT layers be computed as changes to one call of the base layer?"""
    known = (BottleneckLayer, BitFitLayer)
    return all(
        is_plain_lora(layer) or type(layer) in (ScaledLinear, BiasLinear) or isinstance(layer, known)
        for layer in own.values()
    )


def enter(
    layers: Mapping[int, BesideLayer], layout: Layout, module: torch.nn.Module, args: Any, kwargs: Mapping[str, Any]
) -> None:
    """Tell adapters beside a sublayer what their rows of its input are; a forward pre-hook of its first module."""
    entered = args[0] if args else kwargs["hidden_states"]
    layout.check(entered, "the input of a sublayer")
    for slot, layer in layers.items():
        if slot in layout.rows:
            layer.entered = entered[layout.rows[slot]]


def joined(own: Own, layout: Layout) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return keys and values of the prefixes of all rows, shape (rows, tokens, heads · head size)."""
    parts = []
    for slot in layout.slots:
        layer: Any = own[slot]
        ((keys, values),) = layer.prefix()
        n_rows = layout.rows[slot].stop - layout.rows[slot].start
        parts.append((keys.expand(n_rows, -1, -1), values.expand(n_rows, -1, -1)))
    return [(torch.cat([keys for keys, _ in parts]), torch.cat([values for _, values in parts]))]


def _rows(value: Any, rows: slice, n_rows: int) -> Any:
    is_per_row = isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape[0] == n_rows
    return value[rows] if is_per_row else value
