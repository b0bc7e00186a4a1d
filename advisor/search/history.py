"""A study as a table."""

from pathlib import Path

import pandas as pd

from advisor.trial import TrialRecord
from advisor.trials_file import FILE_NAME, read_records


def history(folder: Path) -> pd.DataFrame:
    """Return the finished trials of a run folder, one row each in the order in which they ended.

    Columns: `number`, `state`, `origin`, `base_model`, `quantization`, `method`, `value` (primary metric, validation
    split), `rung`, `step`, `train_loss`, `duration_s`, `peak_memory_bytes`, `trainable_params`, `failure`,
    `started_at`, then one `valid_<metric>` per metric at the last rung and one column per hyperparameter.

    Raises:
        DataError: trials.jsonl is damaged.
    """
    return pd.DataFrame([_row(record) for record in read_records(folder / FILE_NAME)])


def _row(record: TrialRecord) -> dict[str, object]:
    last = record.reports[-1] if record.reports else None
    row: dict[str, object] = {
        "number": record.number,
        "state": record.state,
        "origin": record.origin,
        "base_model": record.candidate.base_model,
        "quantization": record.candidate.quantization,
        "method": record.candidate.method,
        "value": record.value,
        "rung": last.rung if last else None,
        "step": last.step if last else 0,
        "train_loss": last.train_loss if last else None,
        "duration_s": last.duration_s if last else 0.0,
        "peak_memory_bytes": last.peak_memory_bytes if last else None,
        "trainable_params": last.trainable_params if last else None,
        "failure": f"{record.failure.kind}: {record.failure.message}" if record.failure else None,
        "started_at": record.started_at,
    }
    row |= {f"valid_{name}": value for name, value in (last.metrics.items() if last else ())}
    return row | dict(record.candidate.hyperparameters)
