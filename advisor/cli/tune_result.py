"""What `tune` prints on stdout at its end: the verdict first, then the comparison, the finals, and how to go on."""
# ruff: noqa: TID253

from collections import Counter
from pathlib import Path

import click

from advisor.report.formatting import NBSP, metric_title, number, plural, visible
from advisor.report.loading import loading_code
from advisor.report.run_folder import RunFolder, read_run_folder
from advisor.report.seeds import adapter_note, finalists_table, finals_sentence
from advisor.report.tables import Table, comparison_table
from advisor.report.trade_offs import trade_offs_part
from advisor.report.verdict import judge
from advisor.result import TuningResult
from advisor.trial import TrialRecord


def show_result(folder: Path) -> None:
    """Print the verdict on a finished run, its comparison, and how to use the adapter."""
    run = read_run_folder(folder)
    verdict = judge(run)
    _echo(f"{verdict.headline}.\n{verdict.sentence}\n{verdict.advice}")
    if run.result is not None:
        _echo(_how_it_ended(run.result, run.trials))
        _echo(f"\n{_columns(comparison_table(run.result))}")
        _echo_finals(run)
        _echo_trade_offs(run)
        check = run.result.reload_check
        found = f"{metric_title(check.metric)} {number(check.reloaded)}"
        _echo(f"\nReloaded by {run.result.loaders} in a fresh process: {found}.")
    _echo(f"\nReport   {folder / 'report.html'}\nAdapter  {folder / 'best_adapter'}")
    code = loading_code(run, str(folder / "best_adapter"))
    if code:
        _echo(f"\n{code}")


def _echo_finals(run: RunFolder) -> None:
    if run.result is None:
        return
    sentence, table = finals_sentence(run.result.finals), finalists_table(run)
    if sentence:
        _echo(f"\n{sentence}")
    if table:
        _echo(f"\n{_columns(table)}")
    note = adapter_note(run.result)
    if note:
        _echo(f"\n{note}")


def _echo_trade_offs(run: RunFolder) -> None:
    part = trade_offs_part(run)
    if part is not None:
        _echo(f"\n{part.summary}\n\n{_columns(part.table)}")


def _how_it_ended(result: TuningResult, trials: tuple[TrialRecord, ...]) -> str:
    said = {
        "trials": "all trials were run",
        "time": "the time was over; more --time continues it",
        "interrupted": "it was interrupted; the same command continues it",
        "target": "the target was reached",
    }
    counts = Counter(trial.state for trial in trials)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    text = f"The search ended after {plural(len(trials), 'trial')} ({states}): {said[result.stopped]}."
    if not counts["complete"]:
        step = next(trial.reports[-1].step for trial in trials if trial.number == result.best_trial)
        text += f" No trial reached its end: the best was stopped at step {step} of {result.plan.rung_steps[-1]}."
    return text


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


def _echo(text: str) -> None:
    click.echo(visible(text).replace(NBSP, " "))
