"""What `tune` shows: plan and progress on stderr while it runs, the result on stdout at its end.

The command imports this module only when its input was found good.
"""
# ruff: noqa: TID253

from collections import Counter
from functools import singledispatchmethod
from pathlib import Path
from types import TracebackType

import click
from rich.console import Console
from rich.text import Text

from advisor.candidates import Candidate
from advisor.report.formatting import (
    NBSP,
    duration,
    listed,
    method_title,
    metric_title,
    number,
    plural,
    settings,
    visible,
)
from advisor.report.loading import loading_code
from advisor.report.run_folder import read_run_folder
from advisor.report.tables import Table, comparison_table
from advisor.report.verdict import judge
from advisor.result import TuningResult
from advisor.search.events import InterruptRequested, Progress, RungReached, TrialFinished, TrialStarted
from advisor.trial import TrialRecord
from advisor.tuning.events import AlreadyFinished, ContenderEvaluated, Planned, StageStarted

# Enough to tell trials apart on one line; the report has all of them.
_SHOWN = ("learning_rate", "r", "num_virtual_tokens", "target_modules")


class TuneView:
    """Shows events on stderr: a status line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on `console`, by default stderr."""
        self._console = console or Console(stderr=True, highlight=False)
        self._status = self._console.status("")
        self._metric = ""

    def __enter__(self) -> "TuneView":
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()
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
        rungs = listed([f"{step:,}" for step in plan.rung_steps])
        limit = f", at most {duration(plan.time_limit_s)} with final evaluation" if plan.time_limit_s else ""
        self._fact("Task", f"{event.task}; {metric_title(plan.primary_metric)} on the validation split decides")
        self._fact("Data", ", ".join(f"{count:,} {split}" for split, count in event.n_examples.items()))
        self._fact("Base model", first.base_model)
        self._fact("Methods", ", ".join(event.methods))
        self._fact(
            "First trial", f"the recommendation: {method_title(first.method)}, {settings(first.hyperparameters)}"
        )
        self._fact("Search", f"{plural(plan.n_trials, 'trial')}, looked at after {rungs} steps{limit}")
        self._fact("Decided by", f"{plan.sampler} and {plan.pruner} of Optuna")
        self._fact("Device", plan.device)
        self._fact("Results", str(event.folder))
        if event.n_finished:
            self._line(f"Continuing: {plural(event.n_finished, 'trial')} finished before.")
        for warning in event.warnings:
            self._line(f"warning: {warning}")

    @__call__.register
    def _(self, event: StageStarted) -> None:
        self._status.update(_text(event.text))
        if not self._console.is_terminal:
            self._line(f"{event.text[0].upper()}{event.text[1:]} ...")

    @__call__.register
    def _(self, event: ContenderEvaluated) -> None:
        evaluation = event.contender.evaluation
        values = ", ".join(f"{metric_title(name)} {number(value)}" for name, value in evaluation.metrics.items())
        self._line(f"  {event.contender.name}: {values} on the test split")

    @__call__.register
    def _(self, event: TrialStarted) -> None:
        self._show_status(f"trial {event.spec.number}: {_candidate(event.spec.candidate)}", event.progress)

    @__call__.register
    def _(self, event: RungReached) -> None:
        last = event.spec.rung_steps[-1]
        said = f"trial {event.spec.number}: {_candidate(event.spec.candidate)}"
        said += f"; step {event.spec.rung_steps[event.rung]} of {last}, {self._value(event.value)}"
        self._show_status(said, event.progress)
        if not self._console.is_terminal:
            self._line(f"  {said}")

    @__call__.register
    def _(self, event: TrialFinished) -> None:
        record, progress = event.record, event.progress
        if record.failure is not None:
            ended = f"failed ({record.failure.kind}: {record.failure.message})"
        else:
            ended = f"{record.state} at step {record.reports[-1].step}, {self._value(record.value)}"
        best = " - best so far" if event.is_best else f" (best {number(progress.best_value)})"
        self._line(
            f"[{progress.n_finished}/{progress.n_trials}] trial {record.number}: {_candidate(record.candidate)}; "
            f"{ended}{best}; {_time(progress)}"
        )

    @__call__.register
    def _(self, event: InterruptRequested) -> None:
        self._line("Ending at the next rung with what is finished; press Ctrl-C again to stop at once.")

    @__call__.register
    def _(self, event: AlreadyFinished) -> None:
        self._line(
            f"{event.folder} is finished ({plural(event.n_finished, 'trial')}): only its report is made again. "
            "More --trials or --time continue it."
        )

    def _show_status(self, said: str, progress: Progress) -> None:
        done = f"[{progress.n_finished}/{progress.n_trials}]"
        self._status.update(
            _text(f"{done} {_time(progress)}; {said}; best {number(progress.best_value)}", one_line=True)
        )

    def _value(self, value: float | None) -> str:
        return f"{metric_title(self._metric)} {number(value)}"

    def _fact(self, name: str, value: str) -> None:
        self._line(f"{name:<12}{value}")

    def _line(self, text: str) -> None:
        self._console.print(_text(text), soft_wrap=True)


def show_result(folder: Path) -> None:
    """Print the verdict on a finished run, its comparison, and how to use the adapter."""
    run = read_run_folder(folder)
    verdict = judge(run)
    _echo(f"{verdict.headline}.\n{verdict.sentence}\n{verdict.advice}")
    if run.result is not None:
        _echo(_how_it_ended(run.result, run.trials))
        _echo(f"\n{_columns(comparison_table(run.result))}")
        check = run.result.reload_check
        _echo(f"\nReloaded by PEFT alone in a fresh process: {metric_title(check.metric)} {number(check.reloaded)}.")
    _echo(f"\nReport   {folder / 'report.html'}\nAdapter  {folder / 'best_adapter'}")
    code = loading_code(run, str(folder / "best_adapter"))
    if code:
        _echo(f"\n{code}")


def _how_it_ended(result: TuningResult, trials: tuple[TrialRecord, ...]) -> str:
    said = {
        "trials": "all trials were run",
        "time": "the time was over; more --time continues it",
        "interrupted": "it was interrupted; the same command continues it",
    }
    counts = Counter(trial.state for trial in trials)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    text = f"The search ended after {plural(len(trials), 'trial')} ({states}): {said[result.stopped]}."
    if not counts["complete"]:
        step = next(trial.reports[-1].step for trial in trials if trial.number == result.best_trial)
        text += f" No trial reached its end: the best was stopped at step {step} of {result.plan.rung_steps[-1]}."
    return text


def _candidate(candidate: Candidate) -> str:
    values = {name: candidate.hyperparameters[name] for name in _SHOWN if name in candidate.hyperparameters}
    return f"{method_title(candidate.method)}, {settings(values)}"


def _time(progress: Progress) -> str:
    left = f", about {duration(progress.eta_s)} left" if progress.eta_s is not None else ""
    return f"{duration(progress.elapsed_s)}{left}"


def _columns(table: Table) -> str:
    rows = [tuple(column.title for column in table.columns), *(row.cells for row in table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    is_number = [column.kind == "number" for column in table.columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in rows
    )


def _text(text: str, *, one_line: bool = False) -> Text:
    return Text(visible(text).replace(NBSP, " "), no_wrap=one_line, overflow="ellipsis" if one_line else None)


def _echo(text: str) -> None:
    click.echo(visible(text).replace(NBSP, " "))
