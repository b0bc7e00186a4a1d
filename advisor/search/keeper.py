"""Who keeps a study: what is finished, what is live, and what comes next.

`FolderKeeper` keeps the study of one process in its run folder. `advisor.search.shared_keeper` keeps one that several
processes work on.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import optuna

from advisor.errors import AdvisorError
from advisor.search.asking import ORIGIN, ask, spec_of
from advisor.search.checkpoints import Checkpoints
from advisor.search.journal import Journal
from advisor.search.live_trial import LiveTrial
from advisor.search.resume import live_trials, reconcile, tell
from advisor.search.settings import StudySettings
from advisor.search.study import note_spent, spent_s
from advisor.search.warm_starts import is_recommendation
from advisor.trial import TrialRecord, TrialRunner


class Keeper(Protocol):
    """What the search asks of whoever keeps the study."""

    @property
    def study(self) -> optuna.Study:
        """Optuna's side of it."""

    @property
    def records(self) -> Sequence[TrialRecord]:
        """The finished trials, in the order in which this process learned of them."""

    @property
    def spent_s(self) -> float:
        """Seconds of search that earlier runs took."""

    def note_spent(self, duration_s: float) -> None:
        """Keep the seconds of search over all runs."""

    def pick_up(self) -> list[LiveTrial]:
        """Return the trials that were live when the run before ended and go on in this process.

        Raises:
            DataError: What is kept does not belong together.
        """

    def news(self) -> list[TrialRecord]:
        """Return the trials that other processes finished since the last call; they are in `records` now."""

    def wait(self) -> None:
        """Wait a moment for what others do: this process has nothing to train."""

    def ask(self, n_trials: int, n_warm_starts: int, n_live: int) -> LiveTrial | None:
        """Return the next trial, None where as many as the study may have are finished or live.

        Args:
            n_trials: Trials that the study may have.
            n_warm_starts: As in `asking.ask`.
            n_live: Trials that are live in this process.
        """

    def keep_live(self, runner: TrialRunner, live: Sequence[LiveTrial], parked: Sequence[LiveTrial]) -> None:
        """Keep all live trials at the end of a round; those that belong to this process no longer are marked as lost.

        Raises:
            OSError: The disk refused it.
        """

    def checkpoint_of(self, live: LiveTrial) -> Path | None:
        """Return where a trial goes on from, None for its beginning."""

    def rewrite_checkpoint(self, runner: TrialRunner, live: LiveTrial) -> None:
        """Write the checkpoint of a trial anew that was found damaged.

        Raises:
            OSError: The disk refused it.
        """

    def finish(self, live: LiveTrial, record: TrialRecord) -> None:
        """Keep how a trial ended.

        Raises:
            OSError: The disk refused it.
        """

    def forget(self, live: LiveTrial) -> None:
        """Remove what was kept of a trial while it was live."""

    def is_lost(self, error: Exception) -> bool:
        """Does an error say that another process has taken the trial over?"""

    def removable(self) -> Collection[int] | None:
        """Return the trials whose adapters this process may remove, None for all."""

    def let_go(self, left: Sequence[LiveTrial], *, has_result: bool, was_interrupted: bool) -> None:
        """Leave the trials that are not finished to a later run.

        Raises:
            AdvisorError: The search ended without a result, and nothing but the same command again gives one.
        """


class FolderKeeper:
    """Implements `Keeper` for the only process of a study: `study.db`, `trials.jsonl` and `live` in a run folder."""

    def __init__(
        self,
        *,
        study: optuna.Study,
        journal: Journal,
        folder: Path,
        settings: StudySettings,
        clock: Callable[[], float],
    ) -> None:
        """Take the study; nothing is done yet.

        Args:
            study: Opened with `settings`.
            journal: Of the same folder.
            folder: Existing run folder.
            settings: What the study is about.
            clock: Seconds since the epoch.
        """
        self._study = study
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._checkpoints = Checkpoints(folder)

    @property
    def study(self) -> optuna.Study:
        """See `Keeper`."""
        return self._study

    @property
    def records(self) -> Sequence[TrialRecord]:
        """See `Keeper`."""
        return self._journal.records

    @property
    def spent_s(self) -> float:
        """See `Keeper`."""
        return spent_s(self._study)

    def note_spent(self, duration_s: float) -> None:
        """See `Keeper`."""
        note_spent(self._study, duration_s)

    def pick_up(self) -> list[LiveTrial]:
        """See `Keeper`."""
        reconcile(self._study, self.records, self._settings.objectives)
        parked = live_trials(self._study, self._settings, self._checkpoints.read(), self.records)
        self._checkpoints.keep_only(parked)
        return parked

    def news(self) -> list[TrialRecord]:
        """See `Keeper`."""
        return []

    def wait(self) -> None:
        """See `Keeper`."""
        raise RuntimeError("the only process of a study has nobody to wait for")

    def ask(self, n_trials: int, n_warm_starts: int, n_live: int) -> LiveTrial | None:
        """See `Keeper`."""
        if len(self.records) + n_live >= n_trials:
            return None
        return begun(ask(self._study, self._settings, n_warm_starts), self._settings, self._clock())

    def keep_live(self, runner: TrialRunner, live: Sequence[LiveTrial], parked: Sequence[LiveTrial]) -> None:
        """See `Keeper`."""
        self._checkpoints.write(runner, live, parked)

    def checkpoint_of(self, live: LiveTrial) -> Path | None:
        """See `Keeper`."""
        return self._checkpoints.path(live)

    def rewrite_checkpoint(self, runner: TrialRunner, live: LiveTrial) -> None:
        """See `Keeper`."""
        self._checkpoints.rewrite(runner, live)

    def finish(self, live: LiveTrial, record: TrialRecord) -> None:
        """See `Keeper`."""
        self._journal.append(record)
        tell(self._study, record, self.records, self._settings.objectives)

    def forget(self, live: LiveTrial) -> None:
        """See `Keeper`."""
        self._checkpoints.remove(live.number)

    def is_lost(self, error: Exception) -> bool:
        """See `Keeper`."""
        return False

    def removable(self) -> Collection[int] | None:
        """See `Keeper`."""
        return None

    def let_go(self, left: Sequence[LiveTrial], *, has_result: bool, was_interrupted: bool) -> None:
        """See `Keeper`."""
        if not left:
            self._checkpoints.keep_only([])
        if was_interrupted and left and not has_result:
            raise AdvisorError("interrupted before any trial was complete; run the same command again to go on")


def begun(trial: optuna.Trial, settings: StudySettings, now_s: float) -> LiveTrial:
    """Return a trial that Optuna has just given, as the search knows it."""
    return LiveTrial(
        trial=trial,
        spec=spec_of(trial, settings),
        origin=trial.user_attrs[ORIGIN],
        is_recommendation=is_recommendation(trial.user_attrs),
        started_at=datetime.fromtimestamp(now_s, tz=UTC).isoformat(timespec="seconds"),
    )
