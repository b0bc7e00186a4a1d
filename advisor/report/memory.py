"""Estimated memory by part beside the measured peak. The two stand in separate bars and are never mixed."""

from dataclasses import dataclass
from typing import Literal

from advisor.feasibility.estimate import PARTS, Estimate
from advisor.report.formatting import gib, plural, share, short_duration
from advisor.report.run_folder import RunFolder
from advisor.report.tables import Column, Row, Table, measured_peak
from advisor.report.verdict import best_so_far
from advisor.result import Probe
from advisor.spec import GIB
from advisor.trial import TrialRecord

PROBED = "Step measured before the search"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One part of a bar; `percent` is of the widest bar (or of the budget, where that is wider)."""

    name: str
    shown: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of the chart, an estimate or a measurement."""

    label: str
    kind: Literal["estimate", "measurement"]
    total: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bars, where the budget stands on their scale, the same as a table, and what to know when reading."""

    bars: tuple[Bar, ...]
    budget: str | None
    budget_percent: float | None
    table: Table | None
    notes: tuple[str, ...]


def compare_memory(run: RunFolder) -> Memory:
    """Return estimates of the recommendation and the best trial, and what was measured for them."""
    named = _named_trials(run)
    estimates = _estimated(run, named)
    measured = [(label, peak) for label, trial in named if (peak := measured_peak(trial)) is not None]
    vram = run.recommendation.budget.vram_gib
    budget_bytes = None if vram is None else vram * GIB
    sizes = [estimate.peak_memory_bytes for _, estimate in estimates] + [peak for _, peak in measured]
    scale = max([*sizes, *([budget_bytes] if budget_bytes and sizes and budget_bytes < 4 * max(sizes) else [])] or [1])
    bars = [_estimate_bar(label, estimate, scale) for label, estimate in estimates]
    bars += [_measured_bar(label, peak, scale) for label, peak in measured]
    return Memory(
        bars=tuple(bars),
        budget=None if vram is None else f"{vram:g} GiB",
        budget_percent=100 * budget_bytes / scale if budget_bytes and budget_bytes <= scale else None,
        table=_table(estimates, measured, run.result.probe if run.result else None),
        notes=_notes(run, estimates, measured),
    )


def _named_trials(run: RunFolder) -> list[tuple[str, TrialRecord]]:
    row = run.contender("recommendation")
    recommended = run.trial(row.trial) if row else _first_warm_start(run)
    best = run.trial(run.result.best_trial) if run.result else best_so_far(run.trials)
    if recommended is not None and best is not None and recommended.number == best.number:
        return [(f"Recommendation, also best trial ({best.number})", best)]
    named = [("Recommendation", recommended), ("Best trial" if run.result else "Best so far", best)]
    return [(f"{label} (trial {trial.number})", trial) for label, trial in named if trial is not None]


def _first_warm_start(run: RunFolder) -> TrialRecord | None:
    first = run.recommendation.candidates[0].candidate if run.recommendation.candidates else None
    return next((trial for trial in run.trials if trial.candidate == first), None)


def _estimated(run: RunFolder, named: list[tuple[str, TrialRecord]]) -> list[tuple[str, Estimate]]:
    """Return the estimate of the recommendation, and of the best trial where it is one of the runners-up."""
    first, *others = run.recommendation.candidates or (None,)
    found = [("Recommendation", first.estimate)] if first else []
    found += [(label, r.estimate) for label, trial in named for r in others if r and r.candidate == trial.candidate]
    return [(label, estimate) for label, estimate in found if estimate is not None]


def _estimate_bar(label: str, estimate: Estimate, scale: float) -> Bar:
    segments = tuple(
        Segment(name=name, shown=gib(getattr(estimate, field)), percent=100 * getattr(estimate, field) / scale)
        for name, field in PARTS
        if getattr(estimate, field) > 0
    )
    return Bar(label=label, kind="estimate", total=gib(estimate.peak_memory_bytes), segments=segments)


def _measured_bar(label: str, peak: int, scale: float) -> Bar:
    segment = Segment(name="peak", shown=gib(peak), percent=100 * peak / scale)
    return Bar(label=label, kind="measurement", total=gib(peak), segments=(segment,))


def _table(estimates: list[tuple[str, Estimate]], measured: list[tuple[str, int]], probe: Probe | None) -> Table | None:
    rows = []
    for label, estimate in estimates:
        total = estimate.peak_memory_bytes
        for name, field in PARTS:
            part = getattr(estimate, field)
            rows.append(Row(cells=(label, "estimate", name, gib(part), share(part, total))))
        rows.append(Row(cells=(label, "estimate", "peak", gib(total), ""), strong=True))
    rows += [Row(cells=(label, "measurement", "peak", gib(peak), ""), strong=True) for label, peak in measured]
    if probe is not None:
        rows += [
            Row(cells=(PROBED, "estimate", "peak", gib(probe.estimated_memory_bytes), "")),
            Row(cells=(PROBED, "measurement", "peak", gib(probe.measured_memory_bytes), "")),
        ]
    columns = (
        Column(title="Configuration"),
        Column(title="How known"),
        Column(title="Part"),
        Column(title="Memory", kind="number"),
        Column(title="Share", kind="number"),
    )
    caption = "Memory of training: estimate by part, measurement as a whole"
    return Table(caption=caption, columns=columns, rows=tuple(rows)) if rows else None


def _notes(run: RunFolder, estimates: list[tuple[str, Estimate]], measured: list[tuple[str, int]]) -> tuple[str, ...]:
    notes = []
    if estimates:
        bases = sorted({estimate.basis for _, estimate in estimates})
        notes.append(f"Estimates are computed before training ({'; '.join(bases)}); they were not measured.")
    else:
        notes.append("No estimate was computed for these configurations.")
    if run.result is not None and run.result.probe is not None:
        notes.append(_probe_note(run.result.probe))
    if not measured:
        notes.append("Peak memory was not measured in this run.")
    elif run.result is not None and run.result.device.startswith("cpu"):
        notes.append(
            "Measured on a CPU: the peak resident memory of the whole process, with Python and its libraries. "
            "The estimate is of device memory on a GPU; the two bars are not a test of each other."
        )
    else:
        notes.append("Measurements are the peak of device memory while the trial trained.")
    return tuple(notes)


def _probe_note(probe: Probe) -> str:
    """Say what was measured before the search, what was estimated for it, and what became of the ratio."""
    longest = f"up to {plural(probe.source_tokens, 'token')} each"
    if probe.target_tokens:
        longest += f" and targets of up to {probe.target_tokens:,}"
    text = (
        "Before the search one real step of the recommendation was measured "
        f"({plural(probe.micro_batch_size, 'example')} at once, {longest}): "
        f"{gib(probe.measured_memory_bytes)} of device memory held by PyTorch, estimate "
        f"{gib(probe.estimated_memory_bytes)} ({probe.basis}), ratio {probe.memory_ratio:.2f}; "
        f"{short_duration(probe.measured_step_s)} per optimizer step"
    )
    if probe.estimated_step_s is not None and probe.time_ratio is not None:
        text += f", estimate {short_duration(probe.estimated_step_s)}, ratio {probe.time_ratio:.2f}"
    asked = probe.candidate.micro_batch_size or probe.candidate.batch_size
    if probe.micro_batch_size < asked:
        text += f"; the recommendation asks for {asked:,} examples at once"
    return (
        f"{text}. The ratio corrected the estimates of all trials: what would not have fitted into "
        f"{gib(probe.available_bytes)} was given a smaller micro-batch or not started."
    )
