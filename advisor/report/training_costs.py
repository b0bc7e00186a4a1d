"""Quality against what training took, for every complete trial: seconds of the device, and memory where it is known.

What prediction takes is another matter, see `trade_offs`. Trials that were stopped are left out: their quality is that
of a shorter training.
"""

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from advisor.report.charts import Figure, hover, layout, plain_figure
from advisor.report.cost import device_s
from advisor.report.formatting import base_title, duration, gib, listed, method_title, metric_title, number, plural
from advisor.report.run_folder import RunFolder
from advisor.report.tables import Column, Row, Table, measured_peak
from advisor.report.verdict import best_so_far
from advisor.spec import GIB
from advisor.trial import TrialRecord

_MARKERS = {
    "best trial": {"symbol": "star", "size": 15, "color": "var(--accent)"},
    "not beaten": {"symbol": "circle", "size": 9, "color": "var(--accent)"},
    "beaten by another": {"symbol": "circle-open", "size": 8, "color": "var(--muted)", "line": {"width": 1.5}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A complete trial by its quality and what training it took.

    Attributes:
        trial: Its record.
        quality: Primary metric on the validation split.
        device_s: Seconds of the device.
        memory_bytes: Measured peak of the device's memory; None where it is not known of each trial.
    """

    trial: TrialRecord
    quality: float
    device_s: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCosts:
    """Charts by what stands against quality, with a sentence and the trials that no other beats."""

    summary: str
    figures: dict[str, Figure]
    table: Table


def training_costs(run: RunFolder, metric: str) -> TrainingCosts | None:
    """Return the trials by quality, time and memory of training; None with fewer than two."""
    trainings = _trainings(run)
    if len(trainings) < 2:
        return None
    has_memory = trainings[0].memory_bytes is not None
    front = [one for one in trainings if not any(_beats(other, one) for other in trainings)]
    weighed = [metric_title(metric), "time of training", *(["memory"] if has_memory else [])]
    figures = {"time": _figure(run, trainings, front, metric, "time")}
    if has_memory:
        figures["memory"] = _figure(run, trainings, front, metric, "memory")
    summary = (
        f"Of {plural(len(trainings), 'complete trial')} {len(front)} {'is' if len(front) == 1 else 'are'} not beaten "
        f"by another in {listed(weighed)} together; all are one run on the validation split."
    )
    if not has_memory:
        summary += " Memory is not among them: on this device it is not known of each trial."
    return TrainingCosts(summary=summary, figures=figures, table=_table(run, front, metric, has_memory=has_memory))


def _trainings(run: RunFolder) -> list[Training]:
    complete = [trial for trial in run.trials if trial.state == "complete" and trial.reports]
    # The resident memory of a process never falls: on a CPU the peak is that of the largest trial so far.
    on_device = run.result is not None and not run.result.device.startswith("cpu")
    peaks = [measured_peak(trial) for trial in complete]
    is_known = on_device and all(peak is not None for peak in peaks)
    return [
        Training(
            trial=trial, quality=trial.value, device_s=device_s(trial.reports), memory_bytes=peak if is_known else None
        )
        for trial, peak in zip(complete, peaks, strict=True)
        if trial.value is not None and math.isfinite(trial.value)
    ]  # fmt: skip


def _beats(one: Training, other: Training) -> bool:
    pairs = [(one.quality, other.quality), (-one.device_s, -other.device_s)]
    pairs.append((-(one.memory_bytes or 0), -(other.memory_bytes or 0)))
    return all(mine >= its for mine, its in pairs) and any(mine > its for mine, its in pairs)


def _best(run: RunFolder) -> int | None:
    best = best_so_far(run.trials)
    return run.result.best_trial if run.result else best.number if best else None


def _figure(run: RunFolder, trainings: list[Training], front: list[Training], metric: str, cost: str) -> Figure:
    unit, scale = _unit(trainings, cost)
    title = "time of training" if cost == "time" else "peak memory of training"
    figure = go.Figure(layout=layout(f"{title} ({unit})", metric))
    figure.update_xaxes(tickformat=None, rangemode="tozero" if cost == "time" else "normal")
    best = _best(run)
    for name, marker in _MARKERS.items():
        drawn = [one for one in trainings if _group(one, front, best) == name]
        if drawn:
            figure.add_scatter(
                x=[_cost(one, cost) / scale for one in drawn], y=[one.quality for one in drawn], name=name,
                mode="markers", marker=marker, text=[_hover(one) for one in drawn],
                hovertemplate="%{text}<extra></extra>", cliponaxis=False,
            )  # fmt: skip
    return plain_figure(figure)


def _group(one: Training, front: list[Training], best: int | None) -> str:
    if one.trial.number == best:
        return "best trial"
    return "not beaten" if one in front else "beaten by another"


def _cost(one: Training, cost: str) -> float:
    return one.device_s if cost == "time" else float(one.memory_bytes or 0)


def _unit(trainings: list[Training], cost: str) -> tuple[str, float]:
    """Return the unit of an axis, and what it is in seconds or bytes."""
    largest = max(_cost(one, cost) for one in trainings)
    if cost == "memory":
        return ("GiB", GIB) if largest >= GIB // 10 else ("MiB", 1024**2)
    return ("h", 3600.0) if largest >= 3 * 3600 else ("min", 60.0) if largest >= 180 else ("s", 1.0)


def _hover(one: Training) -> str:
    memory = f", {gib(one.memory_bytes)}" if one.memory_bytes is not None else ""
    return hover(one.trial, f"{number(one.quality)}, {duration(one.device_s)}{memory}")


def _named(one: Training, *, with_base: bool) -> str:
    candidate = one.trial.candidate
    return method_title(candidate.method) + (f" on {base_title(candidate)}" if with_base else "")


def _table(run: RunFolder, front: list[Training], metric: str, *, has_memory: bool) -> Table:
    several = len({base_title(trial.candidate) for trial in run.trials}) > 1
    best = _best(run)
    rows = [
        Row(
            cells=(
                str(one.trial.number),
                method_title(one.trial.candidate.method)
                + (f" on {base_title(one.trial.candidate)}" if several else ""),
                number(one.quality),
                duration(one.device_s),
                *((gib(one.memory_bytes),) if has_memory else ()),
            ),
            strong=one.trial.number == best,
        )
        for one in sorted(front, key=lambda one: (-one.quality, one.device_s, one.trial.number))
    ]
    return Table(
        caption="Complete trials that no other beats in quality and what training took; the best in bold",
        columns=(
            Column(title="Trial", kind="number"),
            Column(title="Method"),
            Column(title=f"{metric_title(metric)} (validation)", kind="number"),
            Column(title="Device time", kind="number"),
            *((Column(title="Peak memory", kind="number"),) if has_memory else ()),
        ),
        rows=tuple(rows),
    )
