"""One run of `tune`, step by step: plan, search, finals, comparison, check of the saved adapter, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import records
from advisor.errors import AdvisorError
from advisor.result import Contender, Finals, Plan, TuningResult
from advisor.trial import TrialRecord, TrialRunner
from advisor.tuning.announcement import announcement_of, estimate_of, plan_of
from advisor.tuning.budget import Budget, SearchWatch
from advisor.tuning.contest import Contest
from advisor.tuning.coverage import covers
from advisor.tuning.data import TuningData
from advisor.tuning.data_report import keep_report
from advisor.tuning.events import AlreadyFinished, StageStarted, TuningEvent
from advisor.tuning.folder import locked
from advisor.tuning.guarded_runner import GuardedRunner
from advisor.tuning.packing import find_packing
from advisor.tuning.probe import CorrectedEstimates, estimator_for, find_probe
from advisor.tuning.ray_cluster import RayCluster, ray_cluster
from advisor.tuning.ready_runner import ready_runner
from advisor.tuning.request import TuningRequest
from advisor.tuning.shared_study import close_study, shared_study_of, use_of_all
from advisor.tuning.starting_point import StartingPoint
from advisor.tuning.study_result import BEST_ADAPTER, RESULT, refuse_unfaithful, result_of, write_all
from advisor.tuning.trackers.of_study import tracking_of
from advisor.tuning.workers import FOLDER_NAME as WORKERS
from advisor.tuning.workers import devices_of, request_here, workers_of
from advisor.workers.measured import MeasuredRunner
from advisor.workers.pool import WorkerPool

if TYPE_CHECKING:
    from advisor.search import SearchEvent, SearchOutcome, StudySettings
    from advisor.search.sharing import Address, SharedStudy
    from advisor.training.runner import DeviceRunner

    OnEvent = Callable[[TuningEvent | SearchEvent], None]


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
        devices: Of the workers, that of this process first; known when the study runs.
        cluster: Whose nodes train, while the study runs; None for this machine alone.
        address: Of the database that the study is in, None where it is in the run folder.
        shared: The study there, while it runs.
    """

    request: TuningRequest
    start: StartingPoint
    data: TuningData
    folder: Path
    settings: "StudySettings"
    clock: Callable[[], float]
    began_s: float
    devices: tuple[str, ...] = ()
    cluster: RayCluster | None = None
    address: "Address | None" = None
    shared: "SharedStudy | None" = None

    def finish(self, on_event: "OnEvent" = lambda event: None) -> TuningResult:
        """Run or continue the study to its end; a study that is at its end is only reported again.

        Args:
            on_event: Told of everything that happens.

        Raises:
            AdvisorError: No trial gave a result, or something could not be loaded or written.
            ReloadCheckError: The saved adapter does not give its metric when a fresh process loads it.
        """
        from advisor.report import write_report
        from advisor.search import read_records
        from advisor.search.importance import keep_importance

        finished = read_records(self.folder / "trials.jsonl")
        path = self.folder / RESULT
        earlier = records.read(TuningResult, path) if path.is_file() else None
        if earlier and covers(earlier, finished, self.request):
            on_event(AlreadyFinished(folder=self.folder, n_finished=len(finished)))
            keep_importance(self.folder)
            write_report(self.folder)
            self._track_finished(earlier)
            refuse_unfaithful(self.folder, earlier)
            return earlier
        with ray_cluster(self.request, self.folder / WORKERS, on_event) as cluster:
            return self._finish_with(cluster, earlier, finished, on_event)

    def _finish_with(
        self,
        cluster: RayCluster | None,
        earlier: TuningResult | None,
        finished: Sequence[TrialRecord],
        on_event: "OnEvent",
    ) -> TuningResult:
        on_event(StageStarted(text="loading PyTorch and the base model"))
        here = request_here(self.request, cluster)
        runner, unread = ready_runner(here, self.start, self.data, self.folder, on_event)
        estimate = estimate_of(self.start)
        need_bytes = estimate.peak_memory_bytes if estimate else None
        devices = devices_of(self.request, runner, need_bytes) if cluster is None else cluster.devices
        run = replace(
            self,
            request=replace(self.request, workers=len(devices)),
            data=self.data.with_warnings(unread),
            devices=devices,
            cluster=cluster,
        )
        return run._finish(runner, earlier, finished, on_event)

    def _finish(
        self,
        runner: "DeviceRunner",
        earlier: TuningResult | None,
        finished: Sequence[TrialRecord],
        on_event: "OnEvent",
    ) -> TuningResult:
        plan = plan_of(self.request, self.settings, runner.device)
        on_event(announcement_of(self, plan, finished, slots=runner.slots * len(self.devices)))
        known = earlier.contenders if earlier and earlier.device == runner.device else ()
        with (
            locked(self.folder),
            shared_study_of(self, self.address) as shared,
            tracking_of(self, plan.device) as tracking,
        ):

            def told(event: "TuningEvent | SearchEvent") -> None:
                on_event(event)
                tracking(event)

            try:
                records.write(self.start.recommendation, self.folder / "recommendation.json")
                keep_report(self.data, self.start.task, self.start.recommended, self.folder)
                result = replace(self, shared=shared)._run(runner, plan, known, told)
                write_all(self.folder, result)
                tracking.finish(result)
            except OSError as error:
                reason = error.strerror or str(error)
                raise AdvisorError(f"{self.folder}: the run broke off ({reason}); run it again to go on") from error
        refuse_unfaithful(self.folder, result)
        return result

    def _track_finished(self, result: TuningResult) -> None:
        """Tell trackers of a study that was at its end before, where they do not know of it yet."""
        if self.request.track:
            with locked(self.folder), tracking_of(self, result.device) as tracking:
                tracking.finish(result)

    def _run(
        self, runner: "DeviceRunner", plan: Plan, known: tuple[Contender, ...], on_event: "OnEvent"
    ) -> TuningResult:
        from advisor.training.baselines import affordable_baselines
        from advisor.tuning.contenders import evaluate_trials

        recommended = self.start.recommended
        contest = Contest(
            task=self.start.task,
            data=self.data,
            runner=runner,
            folder=self.folder,
            seed=self.request.seed,
            known=known,
            on_event=on_event,
            label_names=runner.data.label_names,
            judge=runner.data.judge,
            measured=affordable_baselines(
                runner,
                self.start.task,
                recommended,
                trial_examples=plan.rung_steps[-1] * recommended.batch_size,
                seed=self.request.seed,
            ),
        )
        # First, not last: it shows before the search that data, model and metric work together, and how long an
        # evaluation takes. Nothing in the search looks at it.
        baselines = contest.baselines(recommended)
        estimate = estimator_for(self.start.task, runner.device)
        probe = find_probe(self.folder, runner, self.start.recommended, estimate, on_event)
        estimates = None if probe is None else CorrectedEstimates(probe=probe, task=self.start.task, estimate=estimate)
        packing = find_packing(
            self.folder,
            runner,
            self.start.recommended,
            asked=self.request.pack,
            n_trials=plan.n_trials,
            estimates=estimates,
            on_event=on_event,
        )
        runner.slots = packing.size
        with workers_of(
            self.request, self.start, self.data, self.folder, runner, self.devices, self.cluster
        ) as workers:
            measured = MeasuredRunner(workers, name=self.devices[0]) if self.shared else workers
            trained = self._train_all(runner, measured, plan, estimates, contest, baselines, on_event)
        outcome, finals, further = trained
        trials = evaluate_trials(contest, outcome, finals, self.folder / BEST_ADAPTER)
        contenders = [*baselines, *further, *trials]
        use = use_of_all(measured.use() if isinstance(measured, (MeasuredRunner, WorkerPool)) else (), self.shared)
        return result_of(
            self, runner, plan, outcome, finals, contest, contenders, probe=probe, packing=packing, use=use
        )

    def _train_all(
        self,
        runner: "DeviceRunner",
        workers: TrialRunner,
        plan: Plan,
        estimates: CorrectedEstimates | None,
        contest: Contest,
        baselines: Sequence[Contender],
        on_event: "OnEvent",
    ) -> "tuple[SearchOutcome, Finals | None, list[Contender]]":
        """Train all that is trained: see `_train`."""
        from advisor.tuning.full_baseline import Room, compete

        recommended = self.start.recommended
        guarded = workers if estimates is None else GuardedRunner(workers, estimates)
        budget = Budget(
            limit_s=plan.time_limit_s,
            so_far_s=self.clock() - self.began_s,
            evaluation_s=self._evaluation_s(baselines[0], runner),
            n_seeds=plan.final_seeds,
            slots=guarded.slots,
        )

        def full(outcome: "SearchOutcome", finals: Finals, interrupted: Callable[[], bool]) -> Contender | None:
            n_params = runner.data.base_model(recommended).model.num_parameters()
            room = Room.after(self.folder, budget, outcome, estimates=estimates, n_params=n_params)
            return compete(
                contest, recommended, finals.counted, room, runner=guarded, plan=plan, interrupted=interrupted
            )

        return self._train(guarded, plan, budget, full, on_event)

    def _evaluation_s(self, untuned: Contender, runner: "DeviceRunner") -> float:
        """Return what the final evaluation of a trained model takes: the validation split chooses its threshold."""
        from advisor.training.thresholds import has_threshold

        n_read = self.data.n_examples["test"]
        if has_threshold(self.start.task, runner.data.label_names):
            n_read += len(runner.data.examples("valid"))
        return untuned.evaluation.duration_s * n_read / self.data.n_examples["test"]

    def _train(
        self,
        runner: TrialRunner,
        plan: Plan,
        budget: Budget,
        full: "Callable[[SearchOutcome, Finals, Callable[[], bool]], Contender | None]",
        on_event: "OnEvent",
    ) -> "tuple[SearchOutcome, Finals | None, list[Contender]]":
        """Search, decide between the best, and train what else is compared; the last is a row of the comparison."""
        from advisor.search import InterruptRequested, interruptible

        with interruptible(lambda number: on_event(InterruptRequested(signal=number))) as interruption:
            outcome = self._search(runner, plan, budget, on_event, lambda: interruption.requested)
            finals = self._finals(runner, plan, budget, outcome, on_event, lambda: interruption.requested)
            row = None
            if self.request.full_baseline and finals is not None and not interruption.requested:
                row = full(outcome, finals, lambda: interruption.requested)
        return outcome, finals, [] if row is None else [row]

    def _search(
        self,
        runner: TrialRunner,
        plan: Plan,
        budget: Budget,
        on_event: "OnEvent",
        interrupted: Callable[[], bool],
    ) -> "SearchOutcome":
        from advisor.search import read_records, run_search

        watch = SearchWatch(
            end_s=lambda trials: budget.search_end_s(self._finalists(trials)),
            records=list(read_records(self.folder / "trials.jsonl")),
        )

        def watched(event: "SearchEvent") -> None:
            watch.see(event)
            on_event(event)

        outcome = run_search(
            self.folder,
            self.settings,
            replace(plan, time_limit_s=budget.before_evaluation_s),
            runner,
            clock=self.clock,
            on_event=watched,
            interrupted=lambda: interrupted() or watch.wants_end(),
            shared=self.shared,
        )
        if self.shared is not None and not interrupted():
            close_study(self, self.shared)
        if outcome.stopped == "interrupted" and watch.is_over and not interrupted():
            return replace(outcome, stopped="time")
        return outcome

    def _finals(
        self,
        runner: TrialRunner,
        plan: Plan,
        budget: Budget,
        outcome: "SearchOutcome",
        on_event: "OnEvent",
        interrupted: Callable[[], bool],
    ) -> Finals | None:
        from advisor.tuning.contenders import check_adapter
        from advisor.tuning.decision import run_finals
        from advisor.tuning.finals import final_seeds

        if not outcome.finalists:
            return None
        check_adapter(self.folder, outcome.best)
        return run_finals(
            folder=self.folder,
            runner=runner,
            finalists=outcome.finalists,
            recommendation=outcome.recommended.number if outcome.recommended else None,
            seeds=final_seeds(self.request.seed, plan.final_seeds),
            rung_steps=plan.rung_steps,
            metric=plan.primary_metric,
            clock=self.clock,
            left_s=None if budget.before_evaluation_s is None else budget.before_evaluation_s - outcome.duration_s,
            on_event=on_event,
            interrupted=interrupted,
        )

    def _finalists(self, trials: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
        from advisor.search import adapter_folder
        from advisor.search.outcome import finalists_of, trial_of

        recommended = trial_of(self.start.recommended, trials)
        return finalists_of(
            trials,
            recommended,
            lambda number: adapter_folder(self.folder, number).is_dir(),
            objectives=self.settings.objectives,
        )
