"""trackers.json: what of a study was logged where, so that a study that is continued logs nothing twice."""

import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from advisor import records

FILE_NAME = "trackers.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRun:
    """One run as far as it was logged.

    Attributes:
        tracker: Name of the tracker.
        place: As in `Tracker`.
        key: As in `TrackedRun`.
        step: Last step whose values were logged, 0 for none.
        ended: What it ended with, empty while it goes on: the state of a trial, the time at which a study finished.
    """

    tracker: str
    place: str
    key: str
    step: int = 0
    ended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    schema_version: int = SCHEMA_VERSION
    study: str
    runs: tuple[LoggedRun, ...] = ()

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is not {SCHEMA_VERSION}; remove the file")


class Ledger:
    """The file of one run folder, in memory and on disk.

    Attributes:
        study: Name of the study that no other study has, made when the first tracker was asked for.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there; nothing is written before something is noted.

        Raises:
            DataError: The file is not such a record.
        """
        self._path = folder / FILE_NAME
        kept = records.read(_File, self._path) if self._path.is_file() else _File(study=uuid.uuid4().hex)
        self.study = kept.study
        self._runs = {(run.tracker, run.place, run.key): run for run in kept.runs}

    def of(self, tracker: str, place: str, key: str) -> LoggedRun | None:
        """Return how far a run was logged, None when it was not begun."""
        return self._runs.get((tracker, place, key))

    def note(self, run: LoggedRun) -> None:
        """Write down how far a run is logged; when this returns it is on the disk.

        Raises:
            OSError: The disk refused it.
        """
        self._runs[run.tracker, run.place, run.key] = run
        self._write()

    def forget(self, tracker: str, place: str) -> None:
        """Count everything of a place as not logged.

        Raises:
            OSError: The disk refused it.
        """
        left = {key: run for key, run in self._runs.items() if key[:2] != (tracker, place)}
        if len(left) < len(self._runs):
            self._runs = left
            self._write()

    def _write(self) -> None:
        records.write(_File(study=self.study, runs=tuple(self._runs.values())), self._path)


def at_step(run: LoggedRun, step: int) -> LoggedRun:
    """Return the run as logged up to a step."""
    return replace(run, step=max(step, run.step))
