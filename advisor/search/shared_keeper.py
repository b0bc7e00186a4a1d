"""Keeps a study that several processes work on, each with a search of its own, over Optuna's relational storage.

What stands where:

* A finished trial has its record as the user attribute `record` in the database; that decides. The adapter lies in the
  run folder, written before. `tune` copies the records into `trials.jsonl`, so its folder is like any other.
* A live trial has `live`: its reports and the name of its checkpoint in the folder `live`, written at each rung. The
  process that trains it gives signs of life (`advisor.search.heartbeat`).
* A trial without a sign of life for the grace period is stale. Whoever sees it first declares it failed and puts a copy
  into Optuna's queue (`fail_stale_trials`, `RetryHeartbeatStaleTrialCallback`), with its attributes: whoever takes the
  copy goes on from the checkpoint. The old trial can no longer be written to, so a process that was only cut off
  notices that it has lost it.
* A process that leaves puts its trials back into the queue itself, under the numbers that they have.

Reservations and stale trials are dealt with under a lock of the database, so that no two processes begin the same trial
and the study has never more trials than planned. Under the lock stands only what has to be decided there: it is what
bounds the number of workers (`studies/scale`). Times are compared by the clock of the database only.
"""

import logging
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from advisor.errors import DataError
from advisor.records import from_plain, to_plain
from advisor.search.asking import ORIGIN, draw_sampled, draw_warm_start, open_trial
from advisor.search.checkpoints import FOLDER_NAME
from advisor.search.heartbeat import Heartbeat
from advisor.search.journal import Journal
from advisor.search.keeper import begun
from advisor.search.live_trial import LiveRecord, LiveTrial
from advisor.search.patient_storage import without_experimental_warnings
from advisor.search.resume import tell
from advisor.search.settings import StudySettings
from advisor.search.sharing import SharedStudy
from advisor.search.study import note_spent, spent_s
from advisor.search.warm_starts import warm_start_of
from advisor.trial import RungReport, TrialFailure, TrialRecord, TrialRunner

# As many as `advisor.workers.pool` allows a trial to lose on one machine.
LOSSES = 3
_POLL_S = 2.0

# User attributes of a trial.
RECORD = "record"  # as in trials.jsonl: it is finished
LIVE = "live"  # a `LiveRecord`

_log = logging.getLogger(__name__)


class SharedKeeper:
    """Implements `advisor.search.keeper.Keeper` for one of several processes."""

    def __init__(
        self,
        *,
        shared: SharedStudy,
        folder: Path,
        settings: StudySettings,
        clock: Callable[[], float],
        journal: Journal | None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take the study; nothing is done yet.

        Args:
            shared: The open study.
            folder: Its run folder, as this machine sees it.
            settings: What the study is about.
            clock: Seconds since the epoch.
            journal: trials.jsonl, which one process writes; None for the others.
            wait: Called with seconds while there is nothing to do.
        """
        self._shared = shared
        self._storage = shared.storage
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._wait = wait
        self._records: list[TrialRecord] = list(journal.records) if journal else []
        self._known = {record.number for record in self._records}
        self._seen: set[int] = set()  # trials of Optuna whose records are known
        self._untold: list[TrialRecord] = []
        self._n_rounds = 0
        self._looked_s = -float("inf")  # for stale trials
        self._heartbeat = Heartbeat(self._storage.record_heartbeat, self._storage.heartbeat_interval or 1)

    @property
    def study(self) -> optuna.Study:
        """See `Keeper`."""
        return self._shared.study

    @property
    def records(self) -> Sequence[TrialRecord]:
        """See `Keeper`."""
        return self._records

    @property
    def spent_s(self) -> float:
        """See `Keeper`; a worker's time begins when it joins."""
        return 0.0 if self._journal is None else spent_s(self.study)

    def note_spent(self, duration_s: float) -> None:
        """See `Keeper`."""
        if self._journal is not None:
            note_spent(self.study, duration_s)

    def pick_up(self) -> list[LiveTrial]:
        """See `Keeper`: nothing, since what was live is in the queue or will be."""
        before = set(self._known)
        self._refresh()
        if lacking := before - {record.number for record in self._found}:
            raise DataError(
                f"study {self._shared.address.study} in {self._shared.address.shown} lacks trial {min(lacking)} of "
                "trials.jsonl; put the database back or begin anew with another `--output` and `--study`"
            )
        return []

    def news(self) -> list[TrialRecord]:
        """See `Keeper`."""
        self._refresh()
        told, self._untold = self._untold, []
        return told

    def wait(self) -> None:
        """See `Keeper`."""
        self._wait(_POLL_S)

    def ask(self, n_trials: int, n_warm_starts: int, n_live: int) -> LiveTrial | None:
        """See `Keeper`: first what others have left, then a warm start whose turn it is, then a sampled trial.

        A point is drawn before the lock: others need not wait for the sampler.
        """
        self._requeue_stale()
        study_id = self._shared.study_id
        while self._storage.waiting_trial(study_id) is not None or self._storage.count_taken(study_id) < n_trials:
            drawn = self._drawn(n_warm_starts)
            with self._storage.exclusive(study_id):
                if not self._shared.is_open:
                    return None
                if (queued := self._take_queued()) is not None:
                    return queued
                if self._storage.count_taken(study_id) >= n_trials:
                    return None
                if self._is_due(drawn, n_warm_starts):
                    return self._create(drawn)
            # Another process has taken the warm start meanwhile, or what it reported asks for another one.
        return None

    def keep_live(self, runner: TrialRunner, live: Sequence[LiveTrial], parked: Sequence[LiveTrial]) -> None:
        """See `Keeper`; nothing is ever parked here."""
        self._n_rounds += 1
        for trial in live:
            before = trial.checkpoint
            written = self._checkpoint(runner, trial)
            if written is None and not trial.is_undecided:
                continue
            trial.checkpoint = written or before
            try:
                trial.trial.set_user_attr(LIVE, to_plain(trial.on_disk()))
            except UpdateFinishedTrialError:
                trial.is_lost = True
                self._heartbeat.remove(trial.trial._trial_id)
                self._remove(written)
                continue
            if written is not None:
                self._remove(before)

    def checkpoint_of(self, live: LiveTrial) -> Path | None:
        """See `Keeper`."""
        return None if live.checkpoint is None else self._folder / FOLDER_NAME / live.checkpoint

    def rewrite_checkpoint(self, runner: TrialRunner, live: LiveTrial) -> None:
        """See `Keeper`: under a new name, since the damaged one may still be read somewhere."""
        self._n_rounds += 1
        live.checkpoint = self._checkpoint(runner, live) or live.checkpoint

    def finish(self, live: LiveTrial, record: TrialRecord) -> None:
        """See `Keeper`.

        Raises:
            UpdateFinishedTrialError: Another process has taken the trial over.
        """
        trial_id = live.trial._trial_id
        is_ours = self._storage.set_attribute_of_live(trial_id, RECORD, to_plain(record))
        self._heartbeat.remove(trial_id)
        if not is_ours:
            raise UpdateFinishedTrialError(f"trial {live.number} was taken over")
        self._add(record, trial_id)
        with suppress(UpdateFinishedTrialError, ValueError):  # declared failed this moment: its copy has the record
            tell(self.study, record, self._records, self._settings.objectives)

    def forget(self, live: LiveTrial) -> None:
        """See `Keeper`."""
        self._remove(live.checkpoint)

    def is_lost(self, error: Exception) -> bool:
        """See `Keeper`."""
        return isinstance(error, UpdateFinishedTrialError)

    def removable(self) -> Collection[int] | None:
        """See `Keeper`: those that are known to be finished; others may be about to be."""
        return self._known

    def let_go(self, left: Sequence[LiveTrial], *, has_result: bool, was_interrupted: bool) -> None:
        """See `Keeper`: trials go back into the queue as they stand."""
        self.close()

    def close(self) -> None:
        """Give no more signs of life, and put what is still live back into the queue."""
        self._heartbeat.close()
        held = self._heartbeat.trials
        if not held:
            return
        try:
            self._put_back(held)
        except (StorageInternalError, SQLAlchemyError) as error:
            _log.warning("trials %s could not be handed back, others take them over later: %s", held, error)

    def _put_back(self, held: Sequence[int]) -> None:
        with self._storage.exclusive(self._shared.study_id):
            for trial_id in held:
                self._heartbeat.remove(trial_id)
                if self._storage.get_trial(trial_id).state == TrialState.RUNNING:
                    self._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    @property
    def _salt(self) -> int:
        """Tell points apart that several processes draw from the same history; `tune` draws as if it were alone."""
        return 0 if self._journal is not None else int(self._shared.process_id, 16) % 2**32

    @property
    def _found(self) -> list[TrialRecord]:
        """All records in the database."""
        return [
            from_plain(TrialRecord, trial.user_attrs[RECORD], where=f"trial {trial.number}")
            for trial in self.study.get_trials(deepcopy=False)
            if RECORD in trial.user_attrs
        ]

    def _refresh(self) -> None:
        for trial in self.study.get_trials(deepcopy=False):
            if trial._trial_id in self._seen or RECORD not in trial.user_attrs:
                continue
            record = from_plain(TrialRecord, trial.user_attrs[RECORD], where=f"trial {trial.number}")
            if record.number not in self._known:
                self._untold.append(record)
            self._add(record, trial._trial_id)

    def _add(self, record: TrialRecord, trial_id: int) -> None:
        self._seen.add(trial_id)
        if record.number in self._known:
            return
        self._known.add(record.number)
        self._records.append(record)
        if self._journal is not None:
            self._journal.append(record)

    def _requeue_stale(self) -> None:
        """Put trials without signs of life back into the queue.

        After the database was away nobody could give signs of life: what looks stale gets as long as it always has.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < (self._storage.heartbeat_interval or 0):
            return
        self._looked_s = now_s
        self._storage.give_first_heartbeats(self._shared.study_id)
        if self._storage.quiet_s <= (self._storage.grace_period or 0):
            return
        if self._storage.has_stale(self._shared.study_id):
            with self._storage.exclusive(self._shared.study_id), without_experimental_warnings():
                fail_stale_trials(self.study)

    def _drawn(self, n_warm_starts: int) -> FrozenTrial:
        warm_start = draw_warm_start(self.study, self._settings, n_warm_starts)
        return warm_start or draw_sampled(self.study, self._settings, self._salt)

    def _is_due(self, drawn: FrozenTrial, n_warm_starts: int) -> bool:
        """Say whether a trial may be created: two processes may have drawn the same warm start."""
        if warm_start_of(drawn.user_attrs) is None:
            return True
        due = draw_warm_start(self.study, self._settings, n_warm_starts)
        return due is not None and warm_start_of(due.user_attrs) == warm_start_of(drawn.user_attrs)

    def _take_queued(self) -> LiveTrial | None:
        """Take a trial out of the queue; one that needs no more training ends here."""
        while (trial_id := self._storage.waiting_trial(self._shared.study_id)) is not None:
            self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            self._storage.record_heartbeat(trial_id)
            live = self._restored(self._storage.get_trial(trial_id))
            if live is not None:
                self._heartbeat.add(trial_id)
                return live
        return None

    def _restored(self, frozen: FrozenTrial) -> LiveTrial | None:
        """Return a trial that another process has begun; None where it is over.

        Its last report may have been acted on or not; doing it again gives the same or prunes it by what is known now.
        """
        trial = open_trial(self.study, frozen)
        if RECORD in frozen.user_attrs:  # its process ended between the record and Optuna's end of the trial
            record = from_plain(TrialRecord, frozen.user_attrs[RECORD], where=f"trial {frozen.number}")
            self._add(record, frozen._trial_id)
            tell(self.study, replace(record, number=frozen.number), self._records, self._settings.objectives)
            return None
        if ORIGIN not in frozen.user_attrs:  # its process ended before it had said what it is
            self._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
            return None
        live = begun(trial, self._settings, self._clock())
        known = from_plain(LiveRecord, frozen.user_attrs[LIVE]) if LIVE in frozen.user_attrs else None
        if known is not None:
            live.started_at, live.reports, live.checkpoint = known.started_at, list(known.reports), known.checkpoint
        live.told_steps = set(frozen.intermediate_values)
        live.is_undecided = bool(live.reports)
        with without_experimental_warnings():
            lost = RetryHeartbeatStaleTrialCallback.retry_history(frozen)
        if len(lost) >= LOSSES and not (live.reports and live.reports[-1].step >= live.spec.rung_steps[-1]):
            _give_up(live, len(lost))
        return live

    def _create(self, new: FrozenTrial) -> LiveTrial:
        trial_id = self._storage_with_cache.create_new_trial(self._shared.study_id, new)
        self._storage.record_heartbeat(trial_id)
        self._heartbeat.add(trial_id)
        return begun(open_trial(self.study, self._storage.get_trial(trial_id)), self._settings, self._clock())

    @property
    def _storage_with_cache(self) -> optuna.storages.BaseStorage:
        return self.study._storage

    def _checkpoint(self, runner: TrialRunner, trial: LiveTrial) -> str | None:
        """Write a checkpoint and return its name, None where there is nothing (new) to go on from."""
        if trial.has_failed:
            return None
        # The process stands in the name: the same number may be in several hands one after the other.
        name = f"{trial.number}/{self._shared.process_id}-{self._n_rounds}"
        path = self._folder / FOLDER_NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            runner.checkpoint(trial.number, path)
        except RuntimeError:
            if trial.is_undecided:
                raise
            return None
        return name

    def _remove(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        path = self._folder / FOLDER_NAME / checkpoint
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # the folder of the trial, when it is empty
            path.parent.rmdir()


def _give_up(live: LiveTrial, n_lost: int) -> None:
    """Let a trial end as failed that may be what ends its workers."""
    failure = TrialFailure(kind="error", message=f"{n_lost} workers ended while they trained it")
    live.reports.append(
        RungReport(
            number=live.number,
            rung=len(live.reports),
            step=live.steps,
            metrics={},
            train_loss=None,
            duration_s=0.0,
            failure=failure,
        )
    )
    live.is_undecided = True
