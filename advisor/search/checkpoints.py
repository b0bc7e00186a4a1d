"""Live trials on disk, so that a killed study goes on from its last round: the folder `live` of a run folder.

A round ends when trials have reported. Before anything is decided, the runner writes a checkpoint
`live/<trial>/<round>` of each live trial, also of those between two rungs; then `live/round.json` names them together
with all reports so far. That file is replaced at once, and older checkpoints are removed only afterwards. So there is
always one whole round to go on from, and going on from it gives what going on without a kill would have given.

Only live trials are kept: a finished trial's checkpoints go when its line stands in trials.jsonl.
"""

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from advisor.errors import DataError
from advisor.records import read, write
from advisor.search.live_trial import LiveRecord, LiveTrial
from advisor.trial import TrialRunner

FOLDER_NAME = "live"
ROUND_NAME = "round.json"
SCHEMA_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The live trials at the end of a round.

    Attributes:
        schema_version: Of this file.
        number: Counts the rounds of a study from 1; a round that was interrupted counts as not begun.
        live: In the order of their numbers.
        reported: Numbers of those that reported in this round, in the order in which they are decided about.
    """

    schema_version: int
    number: int
    live: tuple[LiveRecord, ...]
    reported: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is not {SCHEMA_VERSION}")

    def of(self, number: int) -> LiveRecord | None:
        """Return a live trial by number, None when it is not among them."""
        return next((record for record in self.live if record.spec.number == number), None)


class Checkpoints:
    """The folder `live` of one run folder."""

    def __init__(self, folder: Path) -> None:
        """Take the run folder; nothing is read or made yet."""
        self._folder = folder / FOLDER_NAME
        self._number = 0

    def read(self) -> Round | None:
        """Return the last whole round; None when there is none that can be used.

        Without it live trials begin again, which costs time but no finished trial.
        """
        path = self._folder / ROUND_NAME
        if not path.exists():
            return None
        try:
            last = read(Round, path)
        except DataError as error:
            _log.warning("live trials begin again: %s", error)
            return None
        self._number = last.number
        return last

    def write(self, runner: TrialRunner, live: Sequence[LiveTrial], parked: Sequence[LiveTrial] = ()) -> None:
        """Keep the live trials at the end of a round; whole or not at all.

        Args:
            runner: Writes the checkpoints.
            live: Those in the runner; the ones that reported in this round are undecided.
            parked: Live trials of an earlier run that have no slot yet; their checkpoints stay.

        Raises:
            OSError: The disk refused it; the round before is still there.
        """
        self._folder.mkdir(exist_ok=True)
        self._number += 1
        for trial in live:
            trial.checkpoint = self._checkpoint(runner, trial)
        kept = sorted((*live, *parked), key=lambda trial: trial.number)
        now = Round(
            schema_version=SCHEMA_VERSION,
            number=self._number,
            live=tuple(trial.on_disk() for trial in kept),
            reported=tuple(trial.number for trial in kept if trial.is_undecided),
        )
        write(now, self._folder / ROUND_NAME)
        self.keep_only(kept)

    def rewrite(self, runner: TrialRunner, trial: LiveTrial) -> None:
        """Write the checkpoint of a trial anew that was found damaged.

        Raises:
            OSError: The disk refused it.
        """
        if (path := self.path(trial)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            runner.checkpoint(trial.number, path)

    def path(self, trial: LiveTrial) -> Path | None:
        """Return the checkpoint of a trial, None while there is nothing to go on from."""
        return None if trial.checkpoint is None else self._folder / trial.checkpoint

    def keep_only(self, live: Collection[LiveTrial]) -> None:
        """Remove all checkpoints but those of these trials; without any trial the folder goes too."""
        if not live:
            if self._folder.exists():
                shutil.rmtree(self._folder, ignore_errors=True)
            return
        kept = {path for trial in live if (path := self.path(trial)) is not None}
        of_trials = {path.parent for path in kept}
        for path in (*self._folder.glob("*"), *self._folder.glob("*/*")):
            if path.is_dir() and path not in kept and path not in of_trials:
                shutil.rmtree(path, ignore_errors=True)

    def remove(self, number: int) -> None:
        """Remove the checkpoints of a trial that is finished."""
        shutil.rmtree(self._folder / str(number), ignore_errors=True)

    def _checkpoint(self, runner: TrialRunner, trial: LiveTrial) -> str | None:
        if trial.has_failed:
            return None
        name = f"{trial.number}/{self._number}"
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        try:
            runner.checkpoint(trial.number, path)
        except RuntimeError:
            if trial.is_undecided:
                raise
            return trial.checkpoint  # it waits for its turn: there is nothing new to go on from
        return name
