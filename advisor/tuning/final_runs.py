"""finals.jsonl: one line per finished training of a finalist with another seed; a killed process loses none.

A process killed while it writes leaves at most one cut line at the end, which is not read and which the next writer
removes. A later line of the same run replaces the earlier: a run is repeated only where its adapter is needed again
and gone.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from advisor.candidates import Candidate
from advisor.durable import append
from advisor.errors import DataError
from advisor.records import from_plain, to_plain
from advisor.trial import RungReport, TrialFailure

FILE_NAME = "finals.jsonl"
FOLDER_NAME = "finals"
SCHEMA_VERSION = 1

RunKey = tuple[int, int]  # trial number, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRun:
    """A finished training of a finalist with another seed than its trial's.

    Attributes:
        schema_version: Of this record.
        trial: Number of the trial that was trained again.
        seed: Of head, adapter and dropout.
        state: How it ended.
        candidate: What was trained.
        value: Primary metric on the validation split at the end of training, None after a failure.
        reports: One per rung reached since it was begun or last resumed.
        started_at: ISO 8601 time (UTC).
        failure: Reason, when failed.
    """

    schema_version: int = SCHEMA_VERSION
    trial: int
    seed: int
    state: Literal["complete", "failed"]
    candidate: Candidate
    value: float | None
    reports: tuple[RungReport, ...]
    started_at: str
    failure: TrialFailure | None = None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is not {SCHEMA_VERSION}")
        if (self.state == "complete") != (self.value is not None):
            raise ValueError(f"a run that is {self.state} cannot have the value {self.value}")

    @property
    def key(self) -> RunKey:
        """Trial and seed."""
        return self.trial, self.seed

    @property
    def duration_s(self) -> float:
        """Seconds of training and validation."""
        return self.reports[-1].duration_s if self.reports else 0.0


class FinalRuns:
    """The finished runs of one study, on disk and in memory.

    Attributes:
        path: The file; it exists from the first run on.
        runs: By trial and seed.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there and cut off a line that a killed process left unfinished.

        Raises:
            DataError: A whole line is not a record of a run, or the file cannot be read.
        """
        self.path = folder / FILE_NAME
        content = self._content()
        *lines, last = content.split(b"\n")
        read = [_record(line, f"{self.path}:{row}") for row, line in enumerate(lines, start=1)]
        if last:
            with self.path.open("r+b") as file:
                try:
                    read.append(_record(last, str(self.path)))  # whole but for its line end
                    file.seek(0, os.SEEK_END)
                    file.write(b"\n")
                except DataError:
                    file.truncate(len(content) - len(last))
                file.flush()
                os.fsync(file.fileno())
        self.runs = {run.key: run for run in read}

    def append(self, run: FinalRun) -> None:
        """Write one run; when this returns it is on the disk.

        Raises:
            OSError: The disk refused it.
        """
        line = json.dumps(to_plain(run), ensure_ascii=False, allow_nan=False) + "\n"
        append(self.path, line.encode())
        self.runs[run.key] = run

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from error


def run_folder_of(folder: Path, key: RunKey) -> Path:
    """Return where adapter and checkpoint of a run lie in a run folder: `finals/<trial>-seed<seed>`."""
    trial, seed = key
    return folder / FOLDER_NAME / f"{trial}-seed{seed}"


def final_adapter(folder: Path, key: RunKey) -> Path:
    """Return where the adapter of a run lies (it may not be there)."""
    return run_folder_of(folder, key) / "adapter"


def final_checkpoint(folder: Path, key: RunKey) -> Path | None:
    """Return where an unfinished run is kept at its last rung, None where there is nothing of it."""
    found = [path for path in run_folder_of(folder, key).glob("step*") if path.name[4:].isdecimal()]
    return max(found, key=lambda path: int(path.name[4:]), default=None)


def checkpoint_at(folder: Path, key: RunKey, step: int) -> Path:
    """Return where a run is to be kept at an optimizer step."""
    return run_folder_of(folder, key) / f"step{step}"


def remove_checkpoints(folder: Path, key: RunKey, *, but: Path | None = None) -> None:
    """Remove what is kept of an unfinished run, but for one checkpoint."""
    for path in run_folder_of(folder, key).glob("step*"):
        if path != but:
            shutil.rmtree(path, ignore_errors=True)


def remove_runs_of_others(folder: Path, keep: Collection[int]) -> None:
    """Remove adapters and checkpoints of all trials but those in `keep`."""
    for path, trial in _folders(folder):
        if trial not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _folders(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in sorted((folder / FOLDER_NAME).glob("*-seed*")):
        trial = path.name.partition("-")[0]
        if trial.isdecimal():
            yield path, int(trial)


def _record(line: bytes, where: str) -> FinalRun:
    try:
        return from_plain(FinalRun, json.loads(line))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not a record of a final run ({error})") from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
