"""What a study cost: seconds of the device by what they were spent on, steps that stopping saved, a bound of energy.

Everything is from the records. The seconds of a trial are divided by the trials that shared its passes, so that a sum
over trials is time of the device.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from advisor.catalog.gpus import Gpu, find_gpu
from advisor.errors import UnknownNameError
from advisor.report.formatting import NBSP, NONE, duration, share
from advisor.report.run_folder import RunFolder
from advisor.report.tables import Column, Row, Table
from advisor.report.worker_use import workers_note
from advisor.result import Contender, Packing, TuningResult
from advisor.trial import RungReport, TrialRecord, TrialState

_STATES: dict[TrialState, str] = {
    "complete": "Search: trials trained to their end",
    "pruned": "Search: pruned trials",
    "failed": "Search: failed trials",
}
_J_PER_WH = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds of the device for one purpose.

    Attributes:
        what: For people.
        n_runs: Trainings or evaluations.
        n_steps: Optimizer steps, None where nothing was trained.
        device_s: Seconds of the device.
    """

    what: str
    n_runs: int
    n_steps: int | None
    device_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The section: a table and what to know beside it, most important first."""

    table: Table
    notes: tuple[str, ...]


def cost_part(run: RunFolder) -> Cost | None:
    """Return what a run cost so far, None where no time is on record."""
    spent = spent_on(run)
    total_s = sum(one.device_s for one in spent)
    if total_s <= 0:
        return None
    workers = workers_note(run.result.workers) if run.result else ""
    notes = [_wall(run), workers, _saved(run), _one_by_one(run), _energy(run, total_s), _not_counted(run)]
    return Cost(table=_table(spent, total_s), notes=tuple(filter(None, notes)))


def spent_on(run: RunFolder) -> tuple[Spent, ...]:
    """Return the seconds of a run by what they were spent on; purposes without any are left out."""
    found = [
        _training(what, [trial.reports for trial in run.trials if trial.state == state])
        for state, what in _STATES.items()
    ]
    found.append(_training("Finals: finalists with other seeds", run.final_reports))
    rows = run.result.contenders if run.result else ()
    found.append(_evaluating("Test split: trained models", [row for row in rows if row.seeds or row.trial is not None]))
    baselines = [row for row in rows if not row.seeds and row.trial is None]
    found.append(_evaluating("Test split: baselines without training of the model", baselines))
    return tuple(one for one in found if one.n_runs)


def device_s(reports: Sequence[RungReport]) -> float:
    """Return the seconds of the device that a trial took: of a pack its part."""
    total, before = 0.0, 0.0
    for report in reports:
        total += (report.duration_s - before) / report.pack_size
        before = report.duration_s
    return total


def _training(what: str, runs: Iterable[Sequence[RungReport]]) -> Spent:
    kept = list(runs)
    return Spent(
        what=what, n_runs=len(kept), n_steps=sum(map(_steps, kept)), device_s=sum(device_s(reports) for reports in kept)
    )


def _evaluating(what: str, rows: Sequence[Contender]) -> Spent:
    n_runs = sum(max(1, len(row.seeds)) for row in rows)
    return Spent(what=what, n_runs=n_runs, n_steps=None, device_s=sum(row.evaluation.duration_s for row in rows))


def _steps(reports: Sequence[RungReport]) -> int:
    return max((report.step for report in reports), default=0)


def _table(spent: Sequence[Spent], total_s: float) -> Table:
    rows = [
        Row(
            cells=(
                one.what,
                f"{one.n_runs:,}",
                NONE if one.n_steps is None else f"{one.n_steps:,}",
                duration(one.device_s),
                _share(one.device_s, total_s),
            )
        )
        for one in spent
    ]
    n_steps = sum(one.n_steps or 0 for one in spent)
    last = ("All of it", f"{sum(one.n_runs for one in spent):,}", f"{n_steps:,}", duration(total_s), _share(1, 1))
    return Table(
        caption="Time of the device by what it was spent on",
        columns=(
            Column(title="Spent on"),
            Column(title="Runs", kind="number"),
            Column(title="Optimizer steps", kind="number"),
            Column(title="Device time", kind="number"),
            Column(title="Share", kind="number"),
        ),
        rows=(*rows, Row(cells=last, strong=True)),
    )


def _share(part_s: float, whole_s: float) -> str:
    percent = 100 * part_s / whole_s
    return f"under 1{NBSP}%" if 0 < percent < 1 else f"{percent:.0f}{NBSP}%"


def _wall(run: RunFolder) -> str:
    if run.result is None:
        return ""
    said = f"By the clock the search took {duration(run.result.search_duration_s)}"
    passed_s = _passed_s(run.trials, run.result)
    if passed_s is not None:
        said += f"; from the first trial to the end {duration(passed_s)} passed, interruptions with them"
    return f"{said}. Everything ran on {run.result.device}."


def _passed_s(trials: Iterable[TrialRecord], result: TuningResult) -> float | None:
    try:
        begun = min(datetime.fromisoformat(trial.started_at) for trial in trials)
        passed_s = (datetime.fromisoformat(result.finished_at) - begun).total_seconds()
    except (TypeError, ValueError):  # no times, or some with a zone and some without
        return None
    return passed_s if passed_s > 0 else None


def _last_step(run: RunFolder) -> int | None:
    """Return the step at which every trial's training would have ended, None where it is not known."""
    if run.result is not None:
        return run.result.plan.rung_steps[-1]
    return max((_steps(trial.reports) for trial in run.trials if trial.state == "complete"), default=None)


def _saved(run: RunFolder) -> str:
    last = _last_step(run)
    kept = [trial for trial in run.trials if trial.state != "failed"]
    n_whole = len(kept) * (last or 0)
    n_trained = sum(_steps(trial.reports) for trial in kept)
    if last is None or not 0 < n_trained < n_whole:
        return ""
    return (
        f"Stopping trials early saved {n_whole - n_trained:,} of the {n_whole:,} optimizer steps that all "
        f"{len(kept):,} would have had at their ends ({share(n_whole - n_trained, n_whole)}); failed trials aside."
    )


def _one_by_one(run: RunFolder) -> str:
    """Say what the trials would have taken whole and alone, each at its own pace."""
    last = _last_step(run)
    kept = [trial for trial in run.trials if trial.state != "failed" and _steps(trial.reports)]
    packing = run.result.packing if run.result else None
    whole_s = [_alone_s(trial.reports, last, packing) for trial in kept] if last else []
    known_s = [one for one in whole_s if one is not None]
    spent_s = sum(device_s(trial.reports) for trial in kept)
    if not known_s or len(known_s) < len(kept) or sum(known_s) < 1.02 * spent_s:
        return ""
    return (
        f"One after the other and to their ends, the same trials would have taken about {duration(sum(known_s))} "
        f"instead of {duration(spent_s)}: computed from the time that a step of each took, not measured."
    )


def _alone_s(reports: Sequence[RungReport], last: int, packing: Packing | None) -> float | None:
    """Return the seconds of a whole training alone; None where passes were shared and a step alone was not timed."""
    gains = {one.size: one.trial_step_s for one in packing.measured} if packing else {}
    total, before = 0.0, 0.0
    for report in reports:
        part_s = (report.duration_s - before) / report.pack_size
        before = report.duration_s
        if report.pack_size > 1:
            if not {1, report.pack_size} <= gains.keys():
                return None
            part_s *= gains[1] / gains[report.pack_size]
        total += part_s
    return total * last / _steps(reports)


def _energy(run: RunFolder, total_s: float) -> str:
    said = "Energy was not measured."
    gpu = _gpu_of(run.result.device) if run.result else None
    if gpu is None or gpu.tdp_w is None:
        return said
    return (
        f"{said} At its board's limit of {gpu.tdp_w:g}{NBSP}W ({gpu.name}, data sheet) the device could not have taken "
        f"more than {_energy_text(gpu.tdp_w * total_s / _J_PER_WH)} in these seconds: an upper bound, for the board "
        "alone."
    )


def _energy_text(watt_hours: float) -> str:
    if watt_hours < 1000:
        return f"{watt_hours:.3g}{NBSP}Wh"
    return f"{watt_hours / 1000:.3g}{NBSP}kWh"


def _gpu_of(device: str) -> Gpu | None:
    """Return the GPU of a device as it was described, such as "cuda (NVIDIA L4)"; None for others."""
    named = re.fullmatch(r"cuda(?::\d+)? \((.+)\)", device)
    try:
        return find_gpu(named[1]) if named else None
    except UnknownNameError:
        return None


def _not_counted(run: RunFolder) -> str:
    lacking = [
        "loading of models and data",
        "what was measured before the search",
        "what was lost when a run was interrupted between two reports",
    ]
    lacking += ["the reload check"] if run.result else []
    full = run.contender("full fine-tuning")
    lacking += ["the training of full fine-tuning"] if full is not None and full.seeds else []
    return f"Not in the table: {', '.join(lacking[:-1])} and {lacking[-1]}."
