"""Which rows of a batch belong to which slot, and how long they would be without the others' padding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch


class PackingError(Exception):
    """A model does something that packed trials do not allow for; its trials can still be trained one by one."""


@dataclass(slots=True)
class Layout:
    """Rows of the batch that is under way; set anew for every pass.

    Attributes:
        slots: Slots in the batch, in the order of their rows.
        rows: Rows of each slot.
        lengths: For each slot what a padded length would be if the slot's rows were alone.
        current: The slot whose own module runs at the moment, None outside.
    """

    slots: tuple[int, ...] = ()
    rows: dict[int, slice] = field(default_factory=dict)
    lengths: dict[int, Mapping[int, int]] = field(default_factory=dict)
    current: int | None = None

    def set(self, counts: Mapping[int, int], lengths: Mapping[int, Mapping[int, int]] | None = None) -> None:
        """Describe the next batch.

        Args:
            counts: Rows of each slot, in the order of the batch.
            lengths: See the attribute; None when all rows are as long as if alone.
        """
        self.slots = tuple(counts)
        self.rows.clear()
        start = 0
        for slot, count in counts.items():
            self.rows[slot] = slice(start, start + count)
            start += count
        self.lengths = {slot: dict(lengths[slot]) for slot in counts} if lengths else {}
        self.current = None

    @property
    def n_rows(self) -> int:
        """Rows of the whole batch."""
        return self.rows[self.slots[-1]].stop

    @property
    def rows_per_slot(self) -> int | None:
        """Rows of each slot where all have as many, else None."""
        counts = {rows.stop - rows.start for rows in self.rows.values()}
        return counts.pop() if len(counts) == 1 else None

    def check(self, tensor: torch.Tensor, what: str) -> None:
        """Make sure that a tensor's first dimension are the rows of the batch.

        Raises:
            PackingError: It is not.
        """
        if not tensor.ndim or tensor.shape[0] != self.n_rows:
            raise PackingError(f"{what} has shape {tuple(tensor.shape)} where {self.n_rows} rows were expected")

    def own_shape(self, shape: Sequence[int], slot: int, n_rows: int) -> tuple[int, ...]:
        """Return the shape that a slot's part of an activation would have alone.

        Lengths stand in the second dimension of (rows, length, features) and in the last two of (rows, heads, length,
        length).
        """
        own = self.lengths.get(slot, {})
        places = {3: (1,), 4: (2, 3)}.get(len(shape), ())
        kept = (own.get(size, size) if place in places else size for place, size in enumerate(shape[1:], start=1))
        return (n_rows, *kept)
