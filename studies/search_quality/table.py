"""The recorded table: one JSON line per training, `table/<task>.jsonl`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from advisor.catalog.dimensions import Scalar

TABLE = Path(__file__).parent / "table"

Origin = Literal["warm-start", "space", "other-method"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One training.

    Attributes:
        configuration: Number of the configuration; rows with the same number differ in the seed alone.
        origin: A warm start of the product (number 0 is the recommendation), drawn from the product's space, or drawn
            from the catalogue's ranges of a method outside of it.
        method: Slug.
        values: What the space varies; everything else follows.
        seed: Of head and adapter initialisation and of dropout.
        steps: Optimizer steps of the rungs that were reached.
        metrics: Validation metrics at these rungs, by name.
        train_loss: Mean loss since the rung before, nats per example.
        duration_s: Seconds of training and evaluation up to each rung, on a busy machine.
        trainable_params: Parameters trained, head included.
        failure: Kind of failure, None for a training that reached its end.
    """

    configuration: int
    origin: Origin
    method: str
    values: Mapping[str, Scalar]
    seed: int
    steps: tuple[int, ...]
    metrics: Mapping[str, tuple[float, ...]]
    train_loss: tuple[float, ...]
    duration_s: tuple[float, ...]
    trainable_params: int | None
    failure: str | None = None

    def line(self) -> str:
        """Return the row as it stands in the file, with the newline."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def read_table(path: Path, n_lines: int | None = None) -> list[Row]:
    """Read a table, or its first so many lines, sorted by configuration and seed; a file that is not there is empty.

    A last line that a kill cut short is left out.
    """
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)[:n_lines]
    rows = [_row(json.loads(line)) for line in lines if line.endswith("\n")]
    return sorted(rows, key=lambda row: (row.configuration, row.seed))


def _row(found: dict[str, Any]) -> Row:
    sequences = {name: tuple(found[name]) for name in ("steps", "train_loss", "duration_s")}
    metrics = {name: tuple(values) for name, values in found["metrics"].items()}
    return Row(**{**found, **sequences, "metrics": metrics})
