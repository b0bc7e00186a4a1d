"""The search: fill the slots of a runner, look at what its trials report, stop or continue each.

It goes in rounds: slots are filled, the runner advances until trials report, all live trials are kept
(`advisor.search.keeper`), then each report is acted on. Order of writes at the end of a trial: adapter, its record,
Optuna; `advisor.search.resume` says what that gives. The search is one thread; a runner that packs trials is still
asked one thing at a time.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from optuna.exceptions import OptunaError

from advisor.errors import DataError
from advisor.result import Plan
from advisor.search.adapters import adapter_folder, remove_others, save_adapter
from advisor.search.events import Progress, RungReached, SearchEvent, TrialDropped, TrialFinished, TrialStarted
from advisor.search.keeper import Keeper
from advisor.search.live_trial import LiveTrial
from advisor.search.outcome import SearchOutcome, StopReason, best_of, finalists_of, nothing_worked, trial_of
from advisor.search.pace import Pace
from advisor.search.pareto import trade_offs
from advisor.search.reports import checked
from advisor.search.resume import RUNS
from advisor.search.sampling import make_sampler
from advisor.search.settings import StudySettings
from advisor.search.study import make_pruner
from advisor.search.warm_starts import FAILURE
from advisor.trial import TrialRecord, TrialRunner, TrialState

# Warm starts take at most this share of the trials: the rest of the space keeps its part of the budget, in case
# the recommendation is wrong.
WARM_START_SHARE = 1 / 3

_log = logging.getLogger(__name__)


class Search:
    """One run of a study: from what its keeper holds to the end of trials or time."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        folder: Path,
        settings: StudySettings,
        plan: Plan,
        runner: TrialRunner,
        clock: Callable[[], float],
        on_event: Callable[[SearchEvent], None],
        interrupted: Callable[[], bool],
    ) -> None:
        """Take everything that the run needs; nothing is done yet.

        Args:
            keeper: Of the study, which was opened with `settings`.
            folder: Existing run folder; adapters go there.
            settings: What the study is about.
            plan: Number of trials and seconds of search over all runs.
            runner: Trains the trials; all its slots must be free.
            clock: Seconds since the epoch.
            on_event: Called as things happen.
            interrupted: Asked between rungs; when true the search ends with what is finished.
        """
        self._keeper = keeper
        self._folder = folder
        self._settings = settings
        self._plan = plan
        self._runner = runner
        self._clock = clock
        self._on_event = on_event
        self._interrupted = interrupted
        self._live: dict[int, LiveTrial] = {}  # in the runner
        self._parked: list[LiveTrial] = []  # live when the run before ended, not in the runner yet
        self._done_before = 0.0
        self._pace = Pace(clock, limit_s=plan.time_limit_s, spent_before_s=keeper.spent_s)

    def run(self) -> SearchOutcome:
        """Search until trials or time are used up, the target is reached or the user interrupts.

        Raises:
            AdvisorError: No trial gave a result, or an adapter could not be saved.
            DataError: trials.jsonl and the study do not belong together.
        """
        return self._outcome(self.take_part())

    def take_part(self) -> StopReason:
        """Search as `run` does, but leave it to others to make something of it; return why it ended.

        Raises:
            AdvisorError: An adapter could not be saved, or the only process of a study was interrupted too early.
            DataError: trials.jsonl and the study do not belong together.
        """
        self._parked = self._keeper.pick_up()
        self._hear_news()
        self._done_before = float(len(self._keeper.records))  # live trials count by their share of steps
        for last in (record.reports[-1] for record in self._keeper.records):
            self._pace.observe(last.duration_s, last.step)
        self._remove_needless_adapters()
        study = self._keeper.study
        study.sampler = make_sampler(self._settings.seed, 0)  # points are drawn elsewhere, see `asking`
        n_warm_starts = min(self._n_warm_starts, len(self._settings.warm_starts))
        study.pruner = make_pruner(n_warm_starts, self._settings.objectives)
        self._go_on()
        while (stopped := self._reason_to_stop()) is None:
            self._fill_slots()
            self._advance()
        self._wind_down(stopped)
        return stopped

    @property
    def _n_warm_starts(self) -> int:
        """How many warm starts are tried at most: at least the recommendation of every base model."""
        return max(1, len(self._settings.space.bases), int(self._plan.n_trials * WARM_START_SHARE))

    @property
    def _n_finished(self) -> int:
        return len(self._keeper.records)

    @property
    def _has_costs(self) -> bool:
        """Is there more to look for than quality?"""
        return len(self._settings.objectives) > 1

    @property
    def _under_way(self) -> float:
        """Live trials, counted by their share of steps."""
        return sum(live.steps / live.spec.rung_steps[-1] for live in (*self._live.values(), *self._parked))

    def _reason_to_stop(self) -> StopReason | None:
        best = self._best()
        if not self._live and self._n_finished >= self._plan.n_trials:
            return "trials"
        if best is not None and self._reaches_target(best):
            return "target"
        if self._interrupted():
            return "interrupted"
        if best is None:
            n_steps = 0  # the first result is worth a little more than the time that was given
        elif self._live:
            n_steps = max(live.steps_to_next_rung for live in self._live.values())
        else:
            n_steps = self._settings.rung_steps[-1]
        return None if self._pace.has_time_for(n_steps) else "time"

    def _reaches_target(self, best: TrialRecord) -> bool:
        target = self._plan.target
        return target is not None and best.state == "complete" and best.value is not None and best.value >= target

    def _go_on(self) -> None:
        """Go on with the trials that were live when the run before ended, from where it was in its round."""
        self._done_before += self._under_way
        if not self._parked:
            return
        going_on = [live.number for live in self._parked if live.reports or live.checkpoint]
        _log.info(
            "the run before ended with trials %s under way: %s go on from their last round, the others begin again",
            ", ".join(str(live.number) for live in self._parked),
            ", ".join(map(str, going_on)) or "none",
        )
        while self._parked and self._has_free_slot():
            while self._parked and self._has_free_slot():
                self._place(self._parked.pop(0))
            for live in [live for live in self._live.values() if live.is_undecided]:
                self._decide(live)

    def _has_free_slot(self) -> bool:
        return len(self._live) < self._runner.slots and self._n_finished + len(self._live) < self._plan.n_trials

    def _fill_slots(self) -> None:
        while self._has_free_slot() and (not self._live or self._pace.has_time_for(self._settings.rung_steps[-1])):
            live = self._parked.pop(0) if self._parked else self._ask()
            if live is None:  # other processes train the rest
                return
            self._place(live)
            if live.is_undecided:  # it was parked, here or elsewhere, before its last report was acted on
                self._decide(live)

    def _ask(self) -> LiveTrial | None:
        return self._keeper.ask(self._plan.n_trials, self._n_warm_starts, len(self._live))

    def _place(self, live: LiveTrial) -> None:
        """Put a trial into a slot: at its checkpoint if it has one. What has failed needs none."""
        self._live[live.number] = live
        live.since_s = self._clock()
        if not live.has_failed:
            try:
                self._runner.start(live.spec, checkpoint=self._keeper.checkpoint_of(live))
                live.is_placed = True
            except DataError as error:
                _log.warning("trial %d is trained again up to its last rung: %s", live.number, error)
                self._train_again(live)
        self._on_event(TrialStarted(spec=live.spec, progress=self._progress()))

    def _train_again(self, live: LiveTrial) -> None:
        """Bring a trial whose checkpoint is damaged back to its last rung, without a trace in the others."""
        placed = [other for other in self._live.values() if other.is_placed]
        for other in placed:  # they stand at their checkpoints
            self._runner.stop(other.number)
        self._runner.start(live.spec)
        while live.reports and not live.has_failed:
            (report,) = (checked(report, self._settings.metric) for report in self._runner.advance())
            if report.failure is not None:
                live.reports[-1] = report
                live.is_undecided = True
            elif report.rung == live.reports[-1].rung:
                self._keeper.rewrite_checkpoint(self._runner, live)
                break
        self._runner.stop(live.number)
        if not live.reports:
            live.checkpoint = None
        for other in placed if live.has_failed else (*placed, live):
            self._runner.start(other.spec, checkpoint=self._keeper.checkpoint_of(other))
            other.is_placed = True

    def _advance(self) -> None:
        """Let the runner bring trials to a rung, keep all, and act on what was reported."""
        if not self._live:
            self._keeper.wait()
            self._hear_news()
            return
        reports = [checked(report, self._settings.metric) for report in self._runner.advance()]
        reports.sort(key=lambda report: report.number)
        now_s = self._clock()
        reported = [self._live[report.number] for report in reports]
        for live, report in zip(reported, reports, strict=True):
            self._pace.observe(now_s - live.since_s, report.step - live.steps)
            live.reports.append(report)
            live.since_s, live.is_undecided = now_s, True
        self._keeper.note_spent(self._pace.elapsed_s)
        self._keeper.keep_live(self._runner, list(self._live.values()), self._parked)
        for live in [live for live in self._live.values() if live.is_lost]:
            self._drop(live)
        self._hear_news()
        for live in reported:
            if not live.is_lost:
                self._decide(live)

    def _hear_news(self) -> None:
        """Take note of what other processes have finished."""
        for record in self._keeper.news():
            is_best = record.state == "complete" and self._best() is record
            self._on_event(TrialFinished(record=record, is_best=is_best, progress=self._progress(), elsewhere=True))

    def _drop(self, live: LiveTrial) -> None:
        """Let go of a trial that another process has taken over because it had not heard of this one for long."""
        _log.warning("trial %d was taken over by another worker", live.number)
        self._free(live)
        self._on_event(TrialDropped(spec=live.spec, progress=self._progress()))

    def _decide(self, live: LiveTrial) -> None:
        """Act on the last report of a trial: stop it, or let it go on."""
        live.is_undecided = False
        try:
            self._act_on_report(live)
        except OptunaError as error:
            if not self._keeper.is_lost(error):
                raise
            self._drop(live)

    def _act_on_report(self, live: LiveTrial) -> None:
        report = live.reports[-1]
        if report.failure is not None:
            self._finish(live, "failed")
            return
        value = report.metrics[self._settings.metric]
        if not self._has_costs and report.step not in live.told_steps:  # a run before may have told it
            live.trial.report(value, report.step)
            live.told_steps.add(report.step)
        if report.step >= live.spec.rung_steps[-1]:
            self._complete(live)
        elif not self._has_costs and live.trial.should_prune() and not live.is_recommendation:
            self._finish(live, "pruned")
        else:
            self._on_event(
                RungReached(
                    spec=live.spec,
                    rung=report.rung,
                    value=value,
                    progress=self._progress(),
                    peak_memory_bytes=report.peak_memory_bytes,
                )
            )

    def _complete(self, live: LiveTrial) -> None:
        """End a trial that was trained to its end; where memory or time is looked for, it has failed without them."""
        live.inference = self._runner.measure_inference(live.number)
        if self._has_costs and live.inference is None:
            live.fail("memory and time of prediction could not be measured")
        self._finish(live, "failed" if live.has_failed else "complete")

    def _finish(self, live: LiveTrial, state: TrialState, *, keep_adapter: bool = False) -> None:
        record = live.record(state, self._settings.metric)
        records = [*self._keeper.records, record]
        is_complete = state == "complete"
        is_best = is_complete and best_of(records, self._has_adapter, self._settings.objectives) is record
        if keep_adapter or (is_complete and record.number in self._needed(records, saved=record.number)):
            save_adapter(self._folder, self._runner, record.number)
        if record.failure is not None:
            if RUNS not in live.trial.constraints:  # a run before may have set it
                live.trial.set_constraint(RUNS, 1.0)
            live.trial.set_user_attr(FAILURE, f"{record.failure.kind}: {record.failure.message}")
        self._keeper.finish(live, record)
        self._free(live)
        self._keeper.forget(live)
        self._remove_needless_adapters()
        self._on_event(TrialFinished(record=record, is_best=is_best, progress=self._progress()))

    def _free(self, live: LiveTrial) -> None:
        if live.is_placed:
            self._runner.stop(live.number)
            live.is_placed = False
        del self._live[live.number]

    def _wind_down(self, stopped: StopReason) -> None:
        """Free the runner. What is live stays on disk, to go on later.

        When the time is over and nothing is complete, the best of it ends here, so that there is a result.
        """
        begun = [live for live in self._live.values() if live.reports]
        if stopped == "time" and begun and self._best() is None:
            best = max(begun, key=lambda live: live.reports[-1].metrics[self._settings.metric])
            self._finish(best, "pruned", keep_adapter=True)
        left = [*self._live.values(), *self._parked]
        for live in list(self._live.values()):
            self._free(live)
        self._keeper.note_spent(self._pace.elapsed_s)
        self._keeper.let_go(left, has_result=self._best() is not None, was_interrupted=stopped == "interrupted")

    def _outcome(self, stopped: StopReason) -> SearchOutcome:
        best = self._best()
        if best is None:
            raise nothing_worked(self._keeper.records, stopped, self._pace.elapsed_s)
        records = tuple(self._keeper.records)
        recommended = trial_of(self._settings.warm_starts[0], records)
        return SearchOutcome(
            records=records,
            best=best,
            recommended=recommended,
            stopped=stopped,
            duration_s=self._pace.elapsed_s,
            finalists=finalists_of(records, recommended, self._has_adapter, objectives=self._settings.objectives),
            trade_offs=trade_offs(records, self._settings.objectives),
        )

    def _best(self) -> TrialRecord | None:
        return best_of(self._keeper.records, self._has_adapter, self._settings.objectives)

    def _has_adapter(self, number: int) -> bool:
        return adapter_folder(self._folder, number).is_dir()

    def _needed(self, records: Sequence[TrialRecord], saved: int | None = None) -> set[int]:
        """Return the trials whose adapters are needed after the search, taking that of `saved` as saved."""
        objectives = self._settings.objectives
        recommended = trial_of(self._settings.warm_starts[0], records)
        finalists = finalists_of(
            records, recommended, lambda number: number == saved or self._has_adapter(number), objectives=objectives
        )
        best = best_of(records, self._has_adapter, objectives)
        found = trade_offs(records, objectives)
        front = found.front if found else ()
        return {record.number for record in (*finalists, best, recommended) if record is not None} | {*front}

    def _remove_needless_adapters(self) -> None:
        remove_others(self._folder, self._needed(self._keeper.records), among=self._keeper.removable())

    def _progress(self) -> Progress:
        best = self._best()
        done = self._n_finished + self._under_way
        return Progress(
            n_finished=self._n_finished,
            n_trials=self._plan.n_trials,
            best_number=best.number if best else None,
            best_value=best.value if best else None,
            elapsed_s=self._pace.elapsed_s,
            eta_s=self._pace.eta_s(
                trials_done=done - self._done_before, trials_left=max(0.0, self._plan.n_trials - done)
            ),
        )
