"""One run as a line of JSON, and the file of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from advisor import durable
from advisor.records import from_plain, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A metric on the test rows.

    Attributes:
        value: Of all rows.
        low: Lower end of the 95 % percentile interval over resampled rows.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came out of one job.

    Attributes:
        schema_version: Of this record.
        row: As in `Job`, as is `setting`.
        setting: Key of params.json.
        dataset: Folder below the data's.
        base_model: Name of the base model.
        command: How a user would run it, with DATA, BASE and DIR for folders.
        metrics: By name.
        n_test: Test rows.
        evaluation_s: Seconds of the evaluation.
        failure: Why there are no metrics; None where all went well.
        learning_rate: That was trained with; None where nothing was trained, as for all that follow.
        n_steps: Optimizer steps.
        first_loss: Mean loss of training over the first eighth of the steps, nats per row or target token.
        last_loss: The same over the last eighth.
        train_s: Seconds of training by the clock, without loading, tokenizing and evaluation.
        train_cpu_s: Seconds of the processor for the same.
        trainable_params: Parameters that are trained, head included.
        total_params: All parameters, those of the adapter included.
        tokens: Length of the rows of the step whose memory was measured.
        live_bytes: Most bytes of tensors alive at a time in that step; the rows are the longest and the shortest.
        estimated_bytes: The same by the dry run, from the saved adapter's configuration.
        commit: Of the code, where it is known.
        params: Digest of the parameters that it depends on.
    """

    schema_version: Literal[1] = 1
    row: str
    setting: str
    dataset: str
    base_model: str
    command: str
    metrics: Mapping[str, Measured]
    n_test: int = 0
    evaluation_s: float = 0.0
    failure: str | None = None
    learning_rate: float | None = None
    n_steps: int | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    train_s: float | None = None
    train_cpu_s: float | None = None
    trainable_params: int | None = None
    total_params: int | None = None
    tokens: int | None = None
    live_bytes: int | None = None
    estimated_bytes: int | None = None
    commit: str | None = None
    params: str = ""

    @property
    def name(self) -> str:
        """Name of its job."""
        return f"{self.row} / {self.setting}"


def append_run(path: Path, run: Run) -> None:
    """Write one run; when this returns it is on the disk."""
    durable.append(path, (line_of(run) + "\n").encode())


def line_of(run: Run) -> str:
    """Return a run as one line of JSON."""
    return json.dumps(to_plain(run), ensure_ascii=False, allow_nan=False)


def read_runs(path: Path, digests: Mapping[str, str]) -> dict[str, Run]:
    """Return the runs of a file by name, the last of each.

    Args:
        path: The file; a line that a killed process left unfinished is no run.
        digests: What runs must have been made with, by name; all others are left out.
    """
    found: dict[str, Run] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        run = from_plain(Run, plain)
        if digests.get(run.name) == run.params:
            found[run.name] = run
    return found
