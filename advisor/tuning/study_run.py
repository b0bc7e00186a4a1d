"""One run of `tune`, step by step: plan, search, compare, check the saved adapter, report."""

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import records
from advisor.errors import AdvisorError, ReloadCheckError
from advisor.result import Contender, Plan, Probe, TuningResult
from advisor.trial import TrialRunner
from advisor.tuning.contest import BEST, RECOMMENDATION, Contest
from advisor.tuning.data import TuningData
from advisor.tuning.events import AlreadyFinished, Planned, StageStarted, TuningEvent
from advisor.tuning.folder import locked
from advisor.tuning.guarded_runner import GuardedRunner
from advisor.tuning.probe import CorrectedEstimates, estimator_for, find_probe
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import StartingPoint

if TYPE_CHECKING:
    from advisor.search import SearchEvent, SearchOutcome, StudySettings
    from advisor.training.runner import DeviceRunner

    OnEvent = Callable[[TuningEvent | SearchEvent], None]

RESULT = "result.json"
# Generation takes a forward pass per token: more validation examples at every rung would cost more than training.
MAX_GENERATED = 128
BEST_ADAPTER = "best_adapter"
# Evaluations on the test split that follow the search: recommendation, best trial, best trial reloaded.
N_FINAL_EVALUATIONS = 3
_PACKAGES = ("peft-advisor", "torch", "transformers", "peft", "optuna", "datasets", "scikit-learn")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRun:
    """A request that was checked, ready to run.

    Attributes:
        request: What the user asked.
        start: Recommendation, space, warm starts.
        data: The splits.
        folder: Run folder; it may not exist yet.
        settings: What fixes the study.
        clock: Seconds since the epoch.
        began_s: When `tune` was called, by that clock.
    """

    request: TuningRequest
    start: StartingPoint
    data: TuningData
    folder: Path
    settings: "StudySettings"
    clock: Callable[[], float]
    began_s: float

    def finish(self, on_event: "OnEvent" = lambda event: None) -> TuningResult:
        """Run or continue the study to its end; a study that is at its end is only reported again.

        Args:
            on_event: Told of everything that happens.

        Raises:
            AdvisorError: No trial gave a result, or something could not be loaded or written.
            ReloadCheckError: The saved adapter does not give its metric when PEFT alone loads it.
        """
        from advisor.report import write_report
        from advisor.search import best_of, read_records

        finished = read_records(self.folder / "trials.jsonl")
        path = self.folder / RESULT
        earlier = records.read(TuningResult, path) if path.is_file() else None
        best = best_of(finished, lambda number: True)
        if earlier and best and earlier.best_trial == best.number and self._covers(earlier, len(finished)):
            on_event(AlreadyFinished(folder=self.folder, n_finished=len(finished)))
            write_report(self.folder)
            self._refuse_unfaithful(earlier)
            return earlier
        on_event(StageStarted(text="loading PyTorch and the base model"))
        runner = self._make_runner()
        plan = self._plan(runner.device)
        on_event(self._announcement(plan, len(finished)))
        known = earlier.contenders if earlier and earlier.device == runner.device else ()
        with locked(self.folder):
            try:
                records.write(self.start.recommendation, self.folder / "recommendation.json")
                result = self._run(runner, plan, known, on_event)
                self._write(result)
            except OSError as error:
                reason = error.strerror or str(error)
                raise AdvisorError(f"{self.folder}: the run broke off ({reason}); run it again to go on") from error
        self._refuse_unfaithful(result)
        return result

    def _covers(self, earlier: TuningResult, n_finished: int) -> bool:
        """Say whether an earlier result is all that this request can get."""
        if earlier.stopped == "interrupted":
            return False
        if n_finished >= self.request.n_trials:
            return True
        limits = earlier.plan.time_limit_s, self.request.time_limit_s
        return earlier.stopped == "time" and None not in limits and limits[1] <= limits[0]  # type: ignore[operator]

    def _make_runner(self) -> "DeviceRunner":
        from advisor.training.runner import DeviceRunner

        examples = {split: file.examples for split, file in self.data.files.items()}
        runner = DeviceRunner(
            self.start.task,
            examples,
            seed=self.request.seed,
            device=self.request.device,
            max_eval_examples=MAX_GENERATED if self.start.task.kind == "generative" else None,
        )
        runner.data.base_model(self.start.recommended)  # what cannot be loaded shows now, before any file is written
        return runner

    def _plan(self, device: str) -> Plan:
        from advisor.search import PRUNER_NAME, SAMPLER_NAME

        return Plan(
            n_trials=self.request.n_trials,
            time_limit_s=self.request.time_limit_s,
            rung_steps=self.settings.rung_steps,
            sampler=SAMPLER_NAME,
            pruner=PRUNER_NAME,
            device=device,
            primary_metric=self.settings.metric,
        )

    def _announcement(self, plan: Plan, n_finished: int) -> Planned:
        return Planned(
            folder=self.folder,
            task=self.start.task.title,
            methods=tuple(part.method for part in self.start.space.methods),
            recommended=self.start.recommended,
            n_examples=self.data.n_examples,
            plan=plan,
            warnings=self.data.warnings,
            n_finished=n_finished,
        )

    def _run(
        self, runner: "DeviceRunner", plan: Plan, known: tuple[Contender, ...], on_event: "OnEvent"
    ) -> TuningResult:
        contest = Contest(
            task=self.start.task,
            data=self.data,
            runner=runner,
            folder=self.folder,
            seed=self.request.seed,
            known=known,
            on_event=on_event,
            label_names=runner.data.label_names,
        )
        # First, not last: it shows before the search that data, model and metric work together, and how long an
        # evaluation takes. Nothing in the search looks at it.
        baselines = contest.baselines(self.start.recommended)
        estimate = estimator_for(self.start.task, runner.device)
        probe = find_probe(self.folder, runner, self.start.recommended, estimate, on_event)
        guarded = (
            runner
            if probe is None
            else GuardedRunner(runner, CorrectedEstimates(probe=probe, task=self.start.task, estimate=estimate))
        )
        outcome = self._search(guarded, plan, baselines[0].evaluation.duration_s, on_event)
        contenders = [*baselines, *self._evaluate_trials(contest, outcome)]
        on_event(StageStarted(text="loading the saved adapter in a fresh process, with PEFT alone"))
        return self._result(runner, plan, outcome, contest, contenders, probe)

    def _search(self, runner: TrialRunner, plan: Plan, evaluation_s: float, on_event: "OnEvent") -> "SearchOutcome":
        from advisor.search import InterruptRequested, interruptible, run_search

        limited = replace(plan, time_limit_s=self._search_limit_s(evaluation_s))
        with interruptible(lambda: on_event(InterruptRequested())) as interruption:
            return run_search(
                self.folder,
                self.settings,
                limited,
                runner,
                clock=self.clock,
                on_event=on_event,
                interrupted=lambda: interruption.requested,
            )

    def _search_limit_s(self, evaluation_s: float) -> float | None:
        """Leave time for what follows the search, but at least half of the limit for the search itself.

        What follows are `N_FINAL_EVALUATIONS` on the test split, each taken to last as long as that of the
        untuned model did, and a fresh process, taken to need as long to start as this one did.
        """
        limit_s = self.request.time_limit_s
        if limit_s is None:
            return None
        so_far_s = self.clock() - self.began_s
        start_up_s = max(0.0, so_far_s - evaluation_s)
        return max(limit_s / 2, limit_s - so_far_s - N_FINAL_EVALUATIONS * evaluation_s - start_up_s)

    def _evaluate_trials(self, contest: Contest, outcome: "SearchOutcome") -> list[Contender]:
        from advisor.search import adapter_folder

        best, recommended = outcome.best, outcome.recommended
        adapter = adapter_folder(self.folder, best.number)
        if not adapter.is_dir():
            raise AdvisorError(f"{adapter}: the adapter of the best trial is gone; begin anew with another `--output`")
        _copy_folder(adapter, self.folder / BEST_ADAPTER)
        row = contest.trial(BEST, best, self.folder / BEST_ADAPTER)
        if recommended is None or recommended.state == "failed":
            return [row]
        if recommended.number == best.number:
            return [contest.same(RECOMMENDATION, row), row]
        return [contest.trial(RECOMMENDATION, recommended, adapter_folder(self.folder, recommended.number)), row]

    def _result(
        self,
        runner: "DeviceRunner",
        plan: Plan,
        outcome: "SearchOutcome",
        contest: Contest,
        contenders: list[Contender],
        probe: Probe | None,
    ) -> TuningResult:
        from advisor.training.reload import reload_check

        *others, best = contenders
        check = reload_check(
            runner,
            self.start.task,
            outcome.best.candidate,
            self.folder / BEST_ADAPTER,
            expected=best.evaluation.metrics,
        )
        return TuningResult(
            task=self.start.task.slug,
            seed=self.request.seed,
            command=self.request.command,
            plan=plan,
            data={
                split: runner.data.facts(split, file, outcome.best.candidate) for split, file in self.data.files.items()
            },
            best_trial=outcome.best.number,
            contenders=tuple(contenders),
            warnings=self.data.warnings,
            probe=probe,
            differences=contest.differences(best, others),
            reload_check=check,
            stopped=outcome.stopped,
            search_duration_s=outcome.duration_s,
            versions=_versions(),
            device=runner.device,
            finished_at=datetime.fromtimestamp(self.clock(), tz=UTC).isoformat(timespec="seconds"),
        )

    def _write(self, result: TuningResult) -> None:
        from advisor.report import write_report
        from advisor.report.model_card import write_model_card

        records.write(result, self.folder / RESULT)
        write_model_card(self.folder)
        write_report(self.folder)

    def _refuse_unfaithful(self, result: TuningResult) -> None:
        check = result.reload_check
        if not check.passed:
            raise ReloadCheckError(
                f"{self.folder / BEST_ADAPTER}: loaded by PEFT alone it gives {check.metric} {check.reloaded:.4f}, "
                f"but {check.expected:.4f} was measured; do not use it (see {self.folder / 'report.html'})"
            )


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder; the target is the old one or the whole new one, but for the moment of the exchange."""
    unfinished = target.with_name(target.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    if target.exists():
        shutil.rmtree(target)
    unfinished.replace(target)


def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
