"""What `tune` shows on stderr while it runs: plan and progress.

The command imports this module only when its input was found good.
"""
# ruff: noqa: TID253

from functools import singledispatchmethod
from statistics import fmean
from types import TracebackType

from rich.console import Console

from advisor.candidates import Candidate
from advisor.cli.tune_live import LiveRow, LiveTable, plain
from advisor.cli.tune_plan import plan_facts
from advisor.report.formatting import (
    base_title,
    duration,
    gib,
    listed,
    method_title,
    metric_title,
    number,
    plural,
    settings,
    short_duration,
)
from advisor.report.seeds import spread
from advisor.search.events import (
    InterruptRequested,
    Progress,
    RungReached,
    TrialDropped,
    TrialFinished,
    TrialStarted,
)
from advisor.trial import Inference, TrialFailure, TrialSpec
from advisor.tuning.events import (
    AlreadyFinished,
    ContenderEvaluated,
    FinalRunFinished,
    FinalRungReached,
    FinalRunStarted,
    FinalsDecided,
    FinalsStarted,
    Joining,
    PackingChosen,
    Planned,
    ProgramsRun,
    StageStarted,
)

# Enough to tell trials apart on one line; the report has all of them.
_SHOWN = ("learning_rate", "loraplus_lr_ratio", "r", "num_virtual_tokens", "target_modules")


class TuneView:
    """Shows events on stderr: lines, and on a terminal below them a table of what is being trained."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on `console`, by default stderr."""
        self._console = console or Console(stderr=True, highlight=False)
        self._table = LiveTable(self._console)
        self._metric = ""
        self._has_costs = False
        self._has_bases = False
        self._is_worker = False
        self.left_by: int | None = None  # signal that asked the search to end

    def __enter__(self) -> "TuneView":
        self._table.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.stop()
        if isinstance(error, KeyboardInterrupt):
            self._line("Stopped. Finished trials are kept; the same command again goes on from there.")

    @singledispatchmethod
    def __call__(self, event: object) -> None:
        """Show one event."""
        raise TypeError(f"no way to show {type(event).__name__}")

    @__call__.register
    def _(self, event: Planned) -> None:
        plan, first = event.plan, event.recommended
        self._metric = plan.primary_metric
        self._has_costs = len(plan.objectives) > 1
        self._has_bases = bool(event.bases)
        self._table.name_metric(metric_title(plan.primary_metric))
        self._fact("Task", f"{event.task}; {metric_title(plan.primary_metric)} on the validation split decides")
        self._fact("Data", ", ".join(f"{count:,} {split}" for split, count in event.n_examples.items()))
        self._fact("Base models" if event.bases else "Base model", ", ".join(event.bases) or _base(first))
        self._fact("Methods", ", ".join(event.methods))
        if first.adapters:
            self._fact("Made of", ", ".join(f"{one.name} ({one.folder})" for one in first.adapters))
        self._fact(
            "First trial",
            f"the recommendation: {method_title(first.method)}"
            + (f" on {base_title(first)}" if event.bases else "")
            + f", {settings(first.hyperparameters)}",
        )
        for name, value in plan_facts(event):
            self._fact(name, value)
        self._fact("Results", str(event.folder))
        if event.n_finished:
            self._line(f"Continuing: {plural(event.n_finished, 'trial')} finished before.")
        for warning in event.warnings:
            self._line(f"warning: {warning}")

    @__call__.register
    def _(self, event: Joining) -> None:
        self._metric = event.metric
        self._has_costs, self._has_bases, self._is_worker = event.has_costs, event.has_bases, True
        self._table.name_metric(metric_title(event.metric))
        self._fact("Study", f"{event.study}, {plural(event.n_trials, 'trial')} at most; `tune` decides and reports")
        self._fact("Results", str(event.folder))

    @__call__.register
    def _(self, event: StageStarted) -> None:
        self._table.say(event.text)
        if not self._console.is_terminal:
            self._line(f"{event.text[0].upper()}{event.text[1:]} ...")

    @__call__.register
    def _(self, event: ProgramsRun) -> None:
        self._table.say(f"running generated programs: {event.n_run:,} of {event.n_programs:,}")

    @__call__.register
    def _(self, event: PackingChosen) -> None:
        self._line(f"{event.packing.reason[0].upper()}{event.packing.reason[1:]}.")

    @__call__.register
    def _(self, event: ContenderEvaluated) -> None:
        evaluation = event.contender.evaluation
        values = ", ".join(f"{metric_title(name)} {number(value)}" for name, value in evaluation.metrics.items())
        mean = f" (mean of {len(event.contender.seeds)} seeds)" if len(event.contender.seeds) > 1 else ""
        self._line(f"  {event.contender.name}: {values} on the test split{mean}")

    @__call__.register
    def _(self, event: TrialStarted) -> None:
        self._say_progress(event.progress)
        self._show(event.spec, f"trial {event.spec.number}", f"0 of {event.spec.rung_steps[-1]}")

    @__call__.register
    def _(self, event: RungReached) -> None:
        last, step = event.spec.rung_steps[-1], event.spec.rung_steps[event.rung]
        self._say_progress(event.progress)
        name = f"trial {event.spec.number}"
        self._show(event.spec, name, f"{step} of {last}", event.value, event.peak_memory_bytes)
        if not self._console.is_terminal:
            self._line(
                f"  {name}: {self._candidate(event.spec.candidate)}; step {step} of {last}, {self._value(event.value)}"
            )

    @__call__.register
    def _(self, event: TrialFinished) -> None:
        record, progress = event.record, event.progress
        self._table.remove(record.number)
        self._say_progress(progress)
        ended = f"{record.state} at step {record.reports[-1].step}, {self._value(record.value)}"
        if record.failure is not None:
            ended = _failed(record.failure)
        if self._has_costs and record.inference is not None:
            ended += f", {_taken(record.inference)}"
        best = " - best so far" if event.is_best else f" (best {number(progress.best_value)})"
        self._line(
            f"[{progress.n_finished}/{progress.n_trials}] trial {record.number}: {self._candidate(record.candidate)}; "
            f"{ended}{best}; {'elsewhere' if event.elsewhere else _time(progress)}"
        )

    @__call__.register
    def _(self, event: TrialDropped) -> None:
        self._table.remove(event.spec.number)
        self._say_progress(event.progress)
        self._line(f"trial {event.spec.number} was taken over by another worker, which had not heard of it for long")

    @__call__.register
    def _(self, event: FinalsStarted) -> None:
        trials = listed([str(trial) for trial in event.finalists])
        seeds = listed([str(seed) for seed in event.seeds[1:]])
        done = f", {event.n_finished} of them finished before" if event.n_finished else ""
        self._line(
            f"Finals: {'trial' if len(event.finalists) == 1 else 'trials'} {trials} again with "
            f"{'seed' if len(event.seeds) == 2 else 'seeds'} {seeds} ({plural(event.n_runs, 'run')}{done})"
        )
        self._table.say(f"finals: {event.n_finished} of {plural(event.n_runs, 'run')} finished")

    @__call__.register
    def _(self, event: FinalRunStarted) -> None:
        self._show(event.spec, f"trial {event.trial}, seed {event.spec.seed}", f"0 of {event.spec.rung_steps[-1]}")

    @__call__.register
    def _(self, event: FinalRungReached) -> None:
        name, last = f"trial {event.trial}, seed {event.spec.seed}", event.spec.rung_steps[-1]
        value = event.report.metrics[event.metric]
        self._show(event.spec, name, f"{event.report.step} of {last}", value, event.report.peak_memory_bytes)
        if not self._console.is_terminal:
            self._line(f"  {name}: step {event.report.step} of {last}, {self._value(value)}")

    @__call__.register
    def _(self, event: FinalRunFinished) -> None:
        run = event.run
        self._table.remove(run.reports[-1].number)
        left = f", about {duration(event.eta_s)} left" if event.eta_s else ""
        self._table.say(f"finals: {event.n_finished} of {plural(event.n_runs, 'run')} finished{left}")
        ended = self._value(run.value) if run.failure is None else _failed(run.failure)
        self._line(f"[final {event.n_finished}/{event.n_runs}] trial {run.trial}, seed {run.seed}; {ended}{left}")

    @__call__.register
    def _(self, event: FinalsDecided) -> None:
        finals = event.finals
        self._table.say("finals decided")
        seeds = plural(len(finals.counted), "seed")
        for finalist in finals.finalists:
            values = finalist.complete(finals.counted)
            role = " (recommendation)" if finalist.trial == finals.recommendation else ""
            self._line(
                f"  trial {finalist.trial}{role}: {self._value(fmean(values))} {spread(values)} "
                f"on the validation split over {seeds}"
            )
        kept = "; the recommendation is kept" if finals.winner == finals.recommendation else ""
        self._line(f"Winner: trial {finals.winner}{kept}")

    @__call__.register
    def _(self, event: InterruptRequested) -> None:
        self.left_by = event.signal
        then = "what is trained goes on elsewhere" if self._is_worker else "the report is written from what is finished"
        self._line(f"Ending at the next rung; then {then}. Ctrl-C again stops at once.")

    @__call__.register
    def _(self, event: AlreadyFinished) -> None:
        self._line(
            f"{event.folder} is finished ({plural(event.n_finished, 'trial')}): only its report is made again. "
            "More --trials, --time or --final-seeds continue it."
        )

    def _say_progress(self, progress: Progress) -> None:
        best = f"best {self._value(progress.best_value)}"
        if progress.best_number is not None:
            best += f" (trial {progress.best_number})"
        self._table.say(f"[{progress.n_finished}/{progress.n_trials}] {_time(progress)}; {best}")

    def _show(
        self, spec: TrialSpec, name: str, step: str, value: float | None = None, memory_bytes: int | None = None
    ) -> None:
        row = LiveRow(
            name=name,
            method=self._candidate(spec.candidate),
            rung=f"step {step}",
            value=number(value),
            memory=gib(memory_bytes),
        )
        self._table.show(spec.number, row)

    def _candidate(self, candidate: Candidate) -> str:
        return _described(candidate, with_base=self._has_bases)

    def _value(self, value: float | None) -> str:
        return f"{metric_title(self._metric)} {number(value)}"

    def _fact(self, name: str, value: str) -> None:
        self._line(f"{name:<12}{value}")

    def _line(self, text: str) -> None:
        self._console.print(plain(text), soft_wrap=True)


def _base(candidate: Candidate) -> str:
    """Return the base model with the storage of its weights where that is not the usual one."""
    return candidate.base_model + (f" ({candidate.quantization})" if candidate.quantization else "")


def _taken(inference: Inference) -> str:
    return f"{gib(inference.memory_bytes)}, {short_duration(inference.latency_s)} per example"


def _failed(failure: TrialFailure) -> str:
    return f"failed ({failure.kind}: {failure.message})"


def _described(candidate: Candidate, *, with_base: bool) -> str:
    values = {name: candidate.hyperparameters[name] for name in _SHOWN if name in candidate.hyperparameters}
    base = f" on {base_title(candidate)}" if with_base else ""
    return f"{method_title(candidate.method)}{base}, {settings(values)}"


def _time(progress: Progress) -> str:
    left = f", about {duration(progress.eta_s)} left" if progress.eta_s is not None else ""
    return f"{duration(progress.elapsed_s)}{left}"
