"""Own random numbers and an own loss for every slot of a pass.

The model is called once for all slots. What it does with random numbers or over all rows at once is intercepted:

- dropout draws each slot's mask from the slot's own numbers, in the shape that the slot would have alone, so a trial's
  masks do not depend on who shares the pass;
- attention with dropout runs slot by slot for the same reason;
- cross entropy is taken per slot, so that the losses are transformers' own, shifted and averaged as for one trial.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from advisor.training.packing.layout import Layout, PackingError
from advisor.training.random_state import RandomState


class SlotRandomness(TorchFunctionMode):
    """Active during the forward pass of a training step."""

    def __init__(self, layout: Layout, randoms: Mapping[int, RandomState]) -> None:
        """Take the layout, which is set for the pass, and the random numbers by slot."""
        super().__init__()
        self._layout = layout
        self._randoms = randoms
        self._handlers: dict[Any, Callable[..., Any]] = {
            functional.dropout: self._dropout,
            functional.scaled_dot_product_attention: self._attention,
            functional.cross_entropy: self._cross_entropy,
            functional.binary_cross_entropy_with_logits: self._binary_cross_entropy,
            torch.rand: self._rand,
        }
        self._drawing = False
        self.losses: list[torch.Tensor] = []

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of PyTorch, or what stands in for it here."""
        handler = None if self._drawing else self._handlers.get(func)
        return func(*args, **(kwargs or {})) if handler is None else handler(*args, **(kwargs or {}))

    def noise(self, rows: torch.Tensor, p: float, slot: int) -> torch.Tensor:
        """Return what dropout multiplies the rows of one slot with: zeros and 1 / (1 - p).

        Args:
            rows: The slot's rows of an activation.
            p: Share of zeros.
            slot: Whose numbers are drawn.
        """
        shape = self._layout.own_shape(rows.shape, slot, rows.shape[0])
        with self._drawing_as(slot):
            # The very function that a trial alone calls, so that it gets the same numbers on every device.
            drawn = functional.dropout(torch.ones(shape, dtype=rows.dtype, device=rows.device), p, training=True)
        if shape == rows.shape:
            return drawn
        padded = torch.zeros_like(rows)
        padded[tuple(slice(size) for size in shape)] = drawn
        return padded

    def _dropout(self, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0.0:
            return input
        if self._layout.current is not None:
            return input * self.noise(input, p, self._layout.current)
        self._layout.check(input, "the input of a dropout")
        parts = [self.noise(input[self._layout.rows[slot]], p, slot) for slot in self._layout.slots]
        return input * torch.cat(parts)

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Any:
        run = functional.scaled_dot_product_attention
        if dropout_p == 0.0:
            return run(query, key, value, attn_mask, 0.0, is_causal, **options)
        self._layout.check(query, "the query of an attention")
        parts = []
        for slot in self._layout.slots:
            rows = self._layout.rows[slot]
            own = self._layout.lengths.get(slot, {})
            n_query, n_key = own.get(query.shape[2], query.shape[2]), own.get(key.shape[2], key.shape[2])
            mask = attn_mask
            if mask is not None:
                mask = mask[rows if mask.shape[0] > 1 else slice(None), :, :n_query, :n_key]
            with self._drawing_as(slot):
                part = run(
                    query[rows, :, :n_query], key[rows, :, :n_key], value[rows, :, :n_key], mask, dropout_p, is_causal,
                    **options,
                )  # fmt: skip
            parts.append(functional.pad(part, (0, 0, 0, query.shape[2] - n_query)))
        return torch.cat(parts)

    def _cross_entropy(self, input: torch.Tensor, target: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return self._own_losses(functional.cross_entropy, target.ndim == 1, input, target, *args, **options)

    def _binary_cross_entropy(
        self, input: torch.Tensor, target: torch.Tensor, *args: Any, **options: Any
    ) -> torch.Tensor:
        run = functional.binary_cross_entropy_with_logits
        return self._own_losses(run, target.shape[0] == self._layout.n_rows, input, target, *args, **options)

    def _own_losses(
        self,
        run: Callable[..., torch.Tensor],
        is_usual: bool,
        input: torch.Tensor,
        target: torch.Tensor,
        *args: Any,
        **options: Any,
    ) -> torch.Tensor:
        """Take a loss over each slot's part of the first dimension; `is_usual` says whether targets look as expected.

        Raises:
            PackingError: They do not, or a loss was taken before.
        """
        n_rows = self._layout.n_rows
        if self.losses or not is_usual or target.shape[0] % n_rows:
            raise PackingError(f"the loss is not one cross entropy over the rows (targets {tuple(target.shape)})")
        per_row = target.shape[0] // n_rows
        for slot in self._layout.slots:
            rows = self._layout.rows[slot]
            part = slice(rows.start * per_row, rows.stop * per_row)
            self.losses.append(run(input[part], target[part], *args, **options))
        return torch.stack(self.losses).sum()

    def _rand(self, *args: Any, **options: Any) -> Any:
        """Draw for every slot what each would draw alone (layer drop); with a rate of 0 nobody looks at it."""
        if self._layout.current is not None:
            with self._drawing_as(self._layout.current):
                return torch.rand(*args, **options)
        drawn = []
        for slot in self._layout.slots:
            with self._drawing_as(slot):
                drawn.append(torch.rand(*args, **options))
        return drawn[0]

    @contextmanager
    def _drawing_as(self, slot: int) -> Iterator[None]:
        """Draw from a slot's numbers within the block, where nothing is intercepted."""
        self._drawing = True
        try:
            with self._randoms[slot].lent():
                yield
        finally:
            self._drawing = False
