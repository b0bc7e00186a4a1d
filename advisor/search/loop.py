"""The search: fill the slots of a runner, look at what its trials report, stop or continue each.

Order of writes at the end of a trial: adapter, line in trials.jsonl, Optuna; `advisor.search.resume` says what
that gives. The search is one thread; a runner that packs trials is still asked one thing at a time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import optuna

from advisor.candidates import WITHOUT_CHECKPOINTING, Candidate
from advisor.result import Plan
from advisor.search.adapters import adapter_folder, remove_others, save_adapter
from advisor.search.distributions import suggest
from advisor.search.events import Progress, RungReached, SearchEvent, TrialFinished, TrialStarted
from advisor.search.journal import Journal
from advisor.search.outcome import SearchOutcome, StopReason, best_of, nothing_worked, trial_of
from advisor.search.pace import Pace
from advisor.search.resume import FAILURE, ORIGIN, RUNS, WARM_START, enqueue_warm_starts, give_back, reconcile, tell
from advisor.search.settings import StudySettings
from advisor.search.study import make_pruner, make_sampler, note_spent, spent_s
from advisor.search_space import Scalar, candidate_from_choice
from advisor.trial import RungReport, TrialFailure, TrialRecord, TrialRunner, TrialSpec, TrialState

# Warm starts take at most this share of the trials: the rest of the space keeps its part of the budget, in case
# the recommendation is wrong.
WARM_START_SHARE = 1 / 3


@dataclass(slots=True, kw_only=True)
class LiveTrial:
    """A trial in a slot of the runner."""

    trial: optuna.Trial
    spec: TrialSpec
    origin: Literal["recommendation", "sampler", "retry"]
    is_recommendation: bool
    started_at: str
    reports: list[RungReport] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Optimizer steps done at the last rung."""
        return self.reports[-1].step if self.reports else 0

    @property
    def steps_to_next_rung(self) -> int:
        """Optimizer steps from the last rung to the next."""
        return next(step for step in self.spec.rung_steps if step > self.steps) - self.steps

    def record(self, state: TrialState, metric: str) -> TrialRecord:
        """Return the trial as it stands in trials.jsonl if it ends now."""
        failure = self.reports[-1].failure if self.reports else None
        return TrialRecord(
            number=self.spec.number,
            state=state,
            candidate=self.spec.candidate,
            seed=self.spec.seed,
            origin=self.origin,
            value=None if failure else self.reports[-1].metrics[metric],
            reports=tuple(self.reports),
            started_at=self.started_at,
            failure=failure,
        )


class Search:
    """One run of a study: from what trials.jsonl and Optuna hold to the end of trials or time."""

    def __init__(
        self,
        *,
        study: optuna.Study,
        journal: Journal,
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
            study: Opened with `settings`.
            journal: Of the same folder.
            folder: Existing run folder; adapters go there.
            settings: What the study is about.
            plan: Number of trials and seconds of search over all runs.
            runner: Trains the trials; all its slots must be free.
            clock: Seconds since the epoch.
            on_event: Called as things happen.
            interrupted: Asked between rungs; when true the search ends with what is finished.
        """
        self._study = study
        self._journal = journal
        self._folder = folder
        self._settings = settings
        self._plan = plan
        self._runner = runner
        self._clock = clock
        self._on_event = on_event
        self._interrupted = interrupted
        self._live: dict[int, LiveTrial] = {}
        self._n_finished_before = len(journal.records)
        self._pace = Pace(clock, limit_s=plan.time_limit_s, spent_before_s=spent_s(study))
        for last in (record.reports[-1] for record in journal.records):
            self._pace.observe(last.duration_s, last.step)

    def run(self) -> SearchOutcome:
        """Search until trials or time are used up or the user interrupts.

        Raises:
            AdvisorError: No trial gave a result, or an adapter could not be saved.
            DataError: trials.jsonl and the study do not belong together.
        """
        reconcile(self._study, self._journal.records, self._settings)
        self._remove_needless_adapters()
        n_warm_starts = max(1, int(self._plan.n_trials * WARM_START_SHARE))
        enqueue_warm_starts(self._study, self._settings, n_warm_starts)
        self._study.pruner = make_pruner(min(n_warm_starts, len(self._settings.warm_starts)))
        while (stopped := self._reason_to_stop()) is None:
            self._fill_slots()
            self._advance()
        self._wind_down()
        return self._outcome(stopped)

    @property
    def _n_finished(self) -> int:
        return len(self._journal.records)

    def _reason_to_stop(self) -> StopReason | None:
        if not self._live and self._n_finished >= self._plan.n_trials:
            return "trials"
        if self._interrupted():
            return "interrupted"
        if self._best() is None:
            n_steps = 0  # the first result is worth a little more than the time that was given
        elif self._live:
            n_steps = max(live.steps_to_next_rung for live in self._live.values())
        else:
            n_steps = self._settings.rung_steps[-1]
        return None if self._pace.has_time_for(n_steps) else "time"

    def _fill_slots(self) -> None:
        while (
            len(self._live) < self._runner.slots
            and self._n_finished + len(self._live) < self._plan.n_trials
            and (not self._live or self._pace.has_time_for(self._settings.rung_steps[-1]))
        ):
            self._start_trial()

    def _start_trial(self) -> None:
        n_sampled = sum(trial.user_attrs.get(ORIGIN) == "sampler" for trial in self._study.get_trials(deepcopy=False))
        self._study.sampler = make_sampler(self._settings.seed, n_sampled)
        trial = self._study.ask()
        method, values = suggest(trial, self._settings.space)
        if ORIGIN not in trial.user_attrs:
            trial.set_user_attr(ORIGIN, "sampler")
        warm_start = trial.user_attrs.get(WARM_START)
        recommended = self._settings.warm_starts
        spec = TrialSpec(
            number=trial.number,
            candidate=_sampled(recommended[0], method, values) if warm_start is None else recommended[warm_start],
            seed=self._settings.seed,
            rung_steps=self._settings.rung_steps,
        )
        self._live[trial.number] = LiveTrial(
            trial=trial,
            spec=spec,
            origin=trial.user_attrs[ORIGIN],
            is_recommendation=warm_start == 0,
            started_at=datetime.fromtimestamp(self._clock(), tz=UTC).isoformat(timespec="seconds"),
        )
        self._runner.start(spec)
        self._on_event(TrialStarted(spec=spec, progress=self._progress()))

    def _advance(self) -> None:
        started_s = self._clock()
        reports = self._runner.advance()
        n_steps = max(report.step - self._live[report.number].steps for report in reports)
        self._pace.observe(self._clock() - started_s, n_steps)
        note_spent(self._study, self._pace.elapsed_s)
        for report in reports:
            self._take(self._live[report.number], _checked(report, self._settings.metric))

    def _take(self, live: LiveTrial, report: RungReport) -> None:
        live.reports.append(report)
        if report.failure is not None:
            self._finish(live, "failed")
            return
        value = report.metrics[self._settings.metric]
        live.trial.report(value, report.step)
        if report.step >= live.spec.rung_steps[-1]:
            self._finish(live, "complete")
        elif live.trial.should_prune() and not live.is_recommendation:
            self._finish(live, "pruned")
        else:
            self._on_event(RungReached(spec=live.spec, rung=report.rung, value=value, progress=self._progress()))

    def _finish(self, live: LiveTrial, state: TrialState, *, keep_adapter: bool = False) -> None:
        record = live.record(state, self._settings.metric)
        is_best = state == "complete" and best_of([*self._journal.records, record], self._has_adapter) is record
        if keep_adapter or is_best or (state == "complete" and live.is_recommendation):
            save_adapter(self._folder, self._runner, record.number)
        if record.failure is not None:
            live.trial.set_constraint(RUNS, 1.0)
            live.trial.set_user_attr(FAILURE, f"{record.failure.kind}: {record.failure.message}")
        self._journal.append(record)
        tell(self._study, record)
        self._free(live)
        self._remove_needless_adapters()
        self._on_event(TrialFinished(record=record, is_best=is_best, progress=self._progress()))

    def _free(self, live: LiveTrial) -> None:
        self._runner.stop(live.spec.number)
        del self._live[live.spec.number]

    def _wind_down(self) -> None:
        """End what is live: the best of it is kept when nothing is complete, the rest can be run again."""
        begun = [live for live in self._live.values() if live.reports]
        if begun and self._best() is None:
            best = max(begun, key=lambda live: live.reports[-1].metrics[self._settings.metric])
            self._finish(best, "pruned", keep_adapter=True)
        for live in list(self._live.values()):
            self._free(live)
            give_back(self._study, self._study.trials[live.spec.number])
        note_spent(self._study, self._pace.elapsed_s)

    def _outcome(self, stopped: StopReason) -> SearchOutcome:
        best = self._best()
        if best is None:
            raise nothing_worked(self._journal.records, stopped, self._pace.elapsed_s)
        return SearchOutcome(
            records=tuple(self._journal.records),
            best=best,
            recommended=trial_of(self._settings.warm_starts[0], self._journal.records),
            stopped=stopped,
            duration_s=self._pace.elapsed_s,
        )

    def _best(self) -> TrialRecord | None:
        return best_of(self._journal.records, self._has_adapter)

    def _has_adapter(self, number: int) -> bool:
        return adapter_folder(self._folder, number).is_dir()

    def _remove_needless_adapters(self) -> None:
        recommended = trial_of(self._settings.warm_starts[0], self._journal.records)
        remove_others(self._folder, {record.number for record in (self._best(), recommended) if record is not None})

    def _progress(self) -> Progress:
        best = self._best()
        under_way = sum(live.steps / live.spec.rung_steps[-1] for live in self._live.values())
        return Progress(
            n_finished=self._n_finished,
            n_trials=self._plan.n_trials,
            best_number=best.number if best else None,
            best_value=best.value if best else None,
            elapsed_s=self._pace.elapsed_s,
            eta_s=self._pace.eta_s(
                trials_done=self._n_finished - self._n_finished_before + under_way,
                trials_left=max(0.0, self._plan.n_trials - self._n_finished - under_way),
            ),
        )


def _sampled(recommended: Candidate, method: str, values: Mapping[str, Scalar]) -> Candidate:
    """Return the candidate of a sampled point: checkpointed like the recommendation where its method can be."""
    checkpointing = recommended.gradient_checkpointing and method not in WITHOUT_CHECKPOINTING
    return replace(candidate_from_choice(recommended, method, values), gradient_checkpointing=checkpointing)


def _checked(report: RungReport, metric: str) -> RungReport:
    """Keep only finite numbers (JSON and Optuna refuse others); a trial without its metric has failed."""
    metrics = {name: value for name, value in report.metrics.items() if math.isfinite(value)}
    loss = report.train_loss if report.train_loss is not None and math.isfinite(report.train_loss) else None
    failure = report.failure
    if failure is None and metric not in metrics:
        failure = TrialFailure(kind="error", message=f"the validation metric {metric} is not a number")
    return replace(report, metrics=metrics, train_loss=loss, failure=failure)
