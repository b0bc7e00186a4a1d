"""Listens to the events of a study and tells the trackers that were asked for.

What is told comes from what stands on the disk, not from the events alone: an event says that there is something new,
trials.jsonl, finals.jsonl and the live trials say what. So a study that is continued, or tracked from its second run
on, ends with all of its trials logged; trackers.json says what was logged before.

Nothing is written before study.db is there, and then only while the run folder is locked. A tracker that fails is
named once in the log and not used again; the study does not notice.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from advisor.errors import DataError
from advisor.result import TuningResult
from advisor.trial import RungReport, TrialRecord
from advisor.tuning.events import FinalRunFinished, FinalRungReached, FinalRunStarted
from advisor.tuning.final_runs import FinalRun, FinalRuns
from advisor.tuning.trackers.contract import Ending, EndState, Point, TrackedRun, Tracker
from advisor.tuning.trackers.facts import (
    STUDY_KEY,
    final_ending,
    point_of,
    seconds_of,
    study_ending,
    tracked_final,
    tracked_trial,
    trial_ending,
)
from advisor.tuning.trackers.ledger import Ledger, LoggedRun, at_step
from advisor.tuning.trackers.redaction import without_secrets
from advisor.tuning.trackers.registry import TRACKERS, make_tracker

_log = logging.getLogger(__name__)


class _Log:
    """One tracker with what it was told."""

    def __init__(self, name: str, folder: Path, ledger: Ledger) -> None:
        self._name = name
        self._ledger = ledger
        self._tracker: Tracker = make_tracker(name, folder, ledger.study)
        self._open: dict[str, int] = {}  # key -> last step

    def open(self) -> None:
        """Forget what was noted of a place whose content is gone."""
        if self._tracker.is_empty:
            self._ledger.forget(self._name, self._tracker.place)

    def begin(self, run: TrackedRun) -> None:
        """Begin a run or go on with it; one that is open stays so."""
        if run.key in self._open:
            return
        known = self._known(run.key)
        step = known.step if known else 0
        self._tracker.begin(run, is_new=known is None, step=step)
        self._open[run.key] = step
        self._ledger.note(known or self._first(run.key))

    def log(self, run: TrackedRun, points: Sequence[Point]) -> None:
        """Log those points that come after what was logged before."""
        self.begin(run)
        for point in points:
            if point.step > self._open[run.key]:
                self._tracker.log(run.key, point)
                self._open[run.key] = point.step
                self._ledger.note(at_step(self._known(run.key) or self._first(run.key), point.step))

    def end(self, run: TrackedRun, points: Sequence[Point], ending: Ending, ended: str) -> None:
        """Log what is missing of a run and end it, unless it ended so before."""
        if self.has_ended(run.key, ended):
            return
        self.log(run, points)
        self._tracker.end(run.key, ending)
        self._ledger.note(replace(self._known(run.key) or self._first(run.key), ended=ended))
        del self._open[run.key]

    def has_ended(self, key: str, ended: str) -> bool:
        """Was this end logged?"""
        known = self._known(key)
        return known is not None and known.ended != "" and known.ended == ended

    def close(self, state: EndState, now_s: float) -> None:
        """End what is still open, and the tracker; the study itself last."""
        for key in sorted(self._open, key=lambda one: one == STUDY_KEY):
            ending = Ending(state=state, point=Point(step=self._open[key], at_s=now_s, values={}))
            self._tracker.end(key, ending)
        self._open.clear()
        self._tracker.close()

    def _known(self, key: str) -> LoggedRun | None:
        return self._ledger.of(self._name, self._tracker.place, key)

    def _first(self, key: str) -> LoggedRun:
        return LoggedRun(tracker=self._name, place=self._tracker.place, key=key)


class Tracking:
    """Tells trackers of one run of a study; a context manager around it."""

    def __init__(self, names: Sequence[str], folder: Path, study: TrackedRun, clock: Callable[[], float]) -> None:
        """Take what is needed; nothing is loaded or written.

        Args:
            names: Trackers that were asked for.
            folder: Run folder.
            study: What the study is.
            clock: Seconds since the epoch.
        """
        self._names = tuple(dict.fromkeys(names))
        self._folder = folder
        self._study = study
        self._clock = clock
        self._logs: dict[str, _Log] = {}
        self._caught_up: set[str] = set()

    def __enter__(self) -> "Tracking":
        """Load the packages; the run folder must be locked."""
        if self._names:
            self._load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_stopped = kind is not None and not issubclass(kind, Exception)
        state: EndState = "interrupted" if kind is None or is_stopped else "failed"
        for name, log in list(self._logs.items()):
            self._guarded(name, partial(log.close, state, self._clock()))
        self._logs.clear()

    def _load(self) -> None:
        try:
            ledger = Ledger(self._folder)
        except DataError as error:
            _log.warning("nothing is tracked: %s", error)
            return
        for name in self._names:
            self._guarded(name, partial(self._load_one, name, ledger))

    def _load_one(self, name: str, ledger: Ledger) -> None:
        self._logs[name] = _Log(name, self._folder, ledger)

    def __call__(self, event: object) -> None:
        """Tell the trackers of an event of the study; most say nothing that they should know."""
        from advisor.search import events  # its package needs Optuna, which `recommend` does without

        match event:
            case events.TrialStarted(spec=spec) | events.RungReached(spec=spec):
                run = tracked_trial(spec.number, spec.candidate, spec.seed)
                self._each(lambda log: log.log(run, self._live_points(spec.number)))
            case events.TrialFinished(record=record):
                self._each(lambda log: self._end_trial(log, record))
            case FinalRunStarted(spec=spec, trial=trial):
                self._each(lambda log: log.begin(tracked_final(trial, spec.candidate, spec.seed)))
            case FinalRungReached(spec=spec, trial=trial, report=report):
                final = tracked_final(trial, spec.candidate, spec.seed)
                self._each(lambda log: log.log(final, self._points([report], None)))
            case FinalRunFinished(run=ended):
                self._each(lambda log: self._end_final(log, ended))

    def finish(self, result: TuningResult) -> None:
        """Tell what the study found; report and result must be written."""
        self._each(
            lambda log: log.end(
                self._study, (), study_ending(result, self._folder, self._clock()), ended=result.finished_at
            ),
            ended=result.finished_at,
        )

    def _catch_up(self, log: _Log, ended: str) -> None:
        """Begin the study in a tracker, unless its end was logged, and log what finished before it was asked for."""
        from advisor.search import read_records

        log.open()
        if not log.has_ended(STUDY_KEY, ended):
            log.begin(self._study)
        for record in read_records(self._folder / "trials.jsonl"):
            self._end_trial(log, record)
        for run in FinalRuns(self._folder).runs.values():
            self._end_final(log, run)

    def _end_trial(self, log: _Log, record: TrialRecord) -> None:
        run = tracked_trial(record.number, record.candidate, record.seed)
        points = self._points(record.reports, seconds_of(record.started_at))
        log.end(run, points, trial_ending(record, self._clock()), ended=record.state)

    def _end_final(self, log: _Log, run: FinalRun) -> None:
        points = self._points(run.reports, seconds_of(run.started_at))
        tracked = tracked_final(run.trial, run.candidate, run.seed)
        log.end(tracked, points, final_ending(run, self._clock()), ended=run.state)

    def _live_points(self, number: int) -> list[Point]:
        """Return what a trial that is not finished showed so far: its reports stand on the disk with all metrics."""
        from advisor.search.checkpoints import Checkpoints

        last = Checkpoints(self._folder).read()
        found = None if last is None else last.of(number)
        return [] if found is None else self._points(found.reports, seconds_of(found.started_at))

    def _points(self, reports: Sequence[RungReport], began_s: float | None) -> list[Point]:
        found = (point_of(report, began_s, self._clock()) for report in reports)
        return [point for point in found if point is not None]

    def _each(self, tell: Callable[[_Log], None], ended: str = "") -> None:
        """Tell every tracker that still works; the first time, what went before."""
        for name, log in list(self._logs.items()):
            if name not in self._caught_up:
                self._caught_up.add(name)
                self._guarded(name, partial(self._catch_up, log, ended))
            if name in self._logs:
                self._guarded(name, partial(tell, log))

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """Do something with a tracker; one that fails in whatever way is given up."""
        try:
            act()
        except Exception as error:
            reason = without_secrets(" ".join(str(error).split())[:300]) or type(error).__name__
            _log.warning("%s is not told any more: %s", TRACKERS[name].title, reason)
            _log.debug("what it said", exc_info=True)
            failed = self._logs.pop(name, None)
            if failed is not None:
                with suppress(Exception):
                    failed.close("failed", self._clock())
