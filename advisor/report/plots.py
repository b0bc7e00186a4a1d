"""The small drawings of report.md: search history, learning curves, differences with intervals, memory by part.

They stand beside report.md as SVG files, since Markdown has no charts of its own. Numbers are those of the records;
what a drawing has no room for is left out and its description says so. matplotlib is loaded when the first one is made.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.report.formatting import listed, metric_title, number, plural
from advisor.report.memory import Memory
from advisor.report.page import Page, primary_metric
from advisor.report.run_folder import RunFolder
from advisor.report.svg import INK, SOFT, drawing, label, new_axes, svg_text
from advisor.report.verdict import best_so_far, outcome
from advisor.result import Difference
from advisor.trial import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCENT, SECOND, MUTED, GOOD, BAD = "#1d5fa8", "#b0580f", "#8a949d", "#1f7a44", "#b3261e"
_MOST_TRIALS = 250  # what is legible in so small a drawing, and keeps its file small
_MOST_WITH_DOTS = 60  # lines
_MOST_TICKS = 8
_PARTS = ("#1d5fa8", "#5d96cf", "#a9c9e8", "#b0580f", "#e0a96d", "#a3abb2", "#123f70", "#7d6b3f", "#6b747c")
_ROW_IN = 0.34


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One drawing.

    Attributes:
        name: Stem of its file; that of the page's chart of the same content, where there is one.
        alt: What it shows, for those who cannot see it.
        svg: The file.
    """

    name: str
    alt: str
    svg: str


def draw_plots(run: RunFolder, page: Page) -> tuple[Plot, ...]:
    """Return the drawings of a run for which there is something on record."""
    metric = primary_metric(run)
    makers: dict[str, Callable[[], Axes | None]] = {
        "history": lambda: history_axes(run, metric),
        "curves": lambda: curves_axes(run, metric),
        "differences": lambda: differences_axes(page.differences, metric),
        "memory": lambda: memory_axes(page.memory),
    }
    descriptions = {
        "history": _history_alt(run, metric),
        "curves": f"{metric_title(metric)} on the validation split against optimizer steps, one line a trial"
        + _left_out(len([t for t in run.trials if t.reports])),
        "differences": _differences_alt(page.differences, metric),
        "memory": _memory_alt(page.memory),
    }
    plots = []
    with drawing():
        for name, make in makers.items():
            axes = make()
            if axes is not None:
                alt = label(descriptions[name], 1000)
                plots.append(Plot(name=name, alt=alt, svg=svg_text(axes.figure, alt)))  # type: ignore[arg-type]
    return tuple(plots)


def history_axes(run: RunFolder, metric: str) -> "Axes | None":
    """Return the validation metric of each trial and the best so far; None when nothing was measured."""
    of_all = sorted(run.trials, key=lambda t: t.number)
    trials = [t for t in of_all if _is_number(t.value)]
    if not trials:
        return None
    winner = _winner(run)
    axes = new_axes(3.0)
    complete = [t for t in trials if t.state == "complete"]
    if complete:
        best = [max(float(o.value or 0.0) for o in complete[: i + 1]) for i in range(len(complete))]
        axes.step([t.number for t in complete], best, where="post", color=ACCENT, linewidth=1.2, label="best so far")
    shown = trials[-_MOST_TRIALS:] + [t for t in trials[:-_MOST_TRIALS] if t.number == winner]
    groups: tuple[tuple[str, Callable[[TrialRecord], bool], dict[str, object]], ...] = (
        ("pruned", lambda t: t.state == "pruned", {"marker": "o", "markerfacecolor": "white", "color": MUTED}),
        ("failed, with a value", lambda t: t.state == "failed", {"marker": "x", "color": BAD}),
        ("complete", lambda t: t.state == "complete" and not _is_warm(t), {"marker": "o", "color": ACCENT}),
        ("warm start", lambda t: t.state == "complete" and _is_warm(t), {"marker": "D", "color": SECOND}),
    )
    for name, belongs, style in groups:
        _points(axes, [t for t in shown if belongs(t) and t.number != winner], name, style)
    _points(axes, [t for t in shown if t.number == winner], "best trial",
            {"marker": "*", "markersize": 15, "color": ACCENT, "clip_on": False})  # fmt: skip
    valueless = [t.number for t in of_all if not _is_number(t.value)][-_MOST_TRIALS:]
    if valueless:  # without a place on the metric's axis: along the lower edge
        axes.plot(valueless, [0.03] * len(valueless), transform=axes.get_xaxis_transform(),
                  linestyle="none", marker="x", color=BAD, label="without a value")  # fmt: skip
    _label(axes, "trial", metric)
    return axes


def curves_axes(run: RunFolder, metric: str) -> "Axes | None":
    """Return the validation metric against optimizer steps; None when nothing was reported."""
    curves = {t.number: (t, points) for t in run.trials if (points := _points_of(t, metric))}
    if not curves:
        return None
    winner, row = _winner(run), run.contender("recommendation")
    recommended = row.trial if row else None
    others = [one for n, one in curves.items() if n not in (winner, recommended)]
    axes = new_axes(3.0)
    kept = sorted(others, key=lambda one: max(value for _, value in one[1]), reverse=True)[:_MOST_TRIALS]
    for state, dash in (("complete", "-"), ("pruned", "--"), ("failed", ":")):
        lines = [points for trial, points in kept if trial.state == state]
        if lines:  # one path for all of them: a gap stands between two
            steps, values = zip(*(point for points in lines for point in (*points, (math.nan, math.nan))), strict=True)
            dot = "." if len(kept) <= _MOST_WITH_DOTS else ""
            axes.plot(steps, values, color=MUTED, linewidth=1, linestyle=dash, marker=dot, label=f"other, {state}")
    if recommended in curves and recommended != winner:
        _line(axes, curves[recommended][1], f"recommendation ({recommended})", SECOND, 1.8)
    if winner in curves:
        _line(axes, curves[winner][1], f"best trial ({winner})", ACCENT, 2.4)
    _label(axes, "optimizer step", metric)
    steps_reported = sorted({step for _, points in curves.values() for step, _ in points})
    if len(steps_reported) <= _MOST_TICKS:
        axes.set_xticks(steps_reported)
    return axes


def differences_axes(differences: Sequence[Difference], metric: str) -> "Axes | None":
    """Return best minus each other contender with its interval, the first on top; None without any."""
    if not differences:
        return None
    axes = new_axes(0.9 + _ROW_IN * len(differences))
    colours = {"better": GOOD, "not shown": SOFT, "worse": BAD}
    for place, one in enumerate(differences):
        axes.plot([one.low, one.high], [place, place], color=colours[outcome(one)], linewidth=2, marker="|")
        axes.plot([one.value], [place], color=colours[outcome(one)], marker="o", linestyle="none")
    axes.axvline(0.0, color=INK, linewidth=1)
    axes.set_yticks(range(len(differences)), labels=[label(one.against) for one in differences])
    axes.set_ylim(len(differences) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label(f"best trial minus this, {metric_title(metric)} (test)", 80))
    return axes


def memory_axes(memory: Memory) -> "Axes | None":
    """Return the bars of the memory section, lengths in percent of the widest; None without any."""
    if not memory.bars:
        return None
    axes = new_axes(1.1 + 1.4 * _ROW_IN * len(memory.bars))
    names = list(dict.fromkeys(s.name for bar in memory.bars if bar.kind == "estimate" for s in bar.segments))
    colours = dict(zip(names, _PARTS * (1 + len(names) // len(_PARTS)), strict=False))
    seen: set[str] = set()
    for place, bar in enumerate(memory.bars):
        left = 0.0
        for part in bar.segments:
            name = part.name if bar.kind == "estimate" else "measured peak"
            colour = colours[part.name] if bar.kind == "estimate" else MUTED
            shown = label(name) if name not in seen else "_nolegend_"  # matplotlib's word for no entry
            axes.barh(place, part.percent, left=left, height=0.6, color=colour, edgecolor="white", label=shown)
            seen.add(name)
            left += part.percent
        axes.text(left + 1, place, label(bar.total), va="center", fontsize=9)
    if memory.budget_percent is not None:
        axes.axvline(memory.budget_percent, color=INK, linestyle="--", linewidth=1, label=f"budget {memory.budget}")
    axes.set_yticks(range(len(memory.bars)), labels=[f"{label(bar.label)}\n{bar.kind}" for bar in memory.bars])
    axes.set_ylim(len(memory.bars) - 0.5, -0.5)
    axes.set_xlim(0, 118)  # room for the total behind the widest bar
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.figure.legend(loc="outside upper center", ncols=4)
    return axes


def _points(axes: "Axes", trials: Sequence[TrialRecord], name: str, style: dict[str, object]) -> None:
    if trials:
        values = [float(t.value or 0.0) for t in trials]
        looks: dict[str, object] = {"markersize": 6, **style}
        axes.plot([t.number for t in trials], values, linestyle="none", label=name, **looks)  # type: ignore[arg-type]


def _line(axes: "Axes", points: Sequence[tuple[int, float]], name: str, colour: str, width: float) -> None:
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=colour, linewidth=width, marker="o", markersize=width + 2, label=name)


def _label(axes: "Axes", x_title: str, metric: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x_title)
    axes.set_ylabel(label(f"{metric_title(metric)} (validation)"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.margins(y=0.08)
    axes.figure.legend(loc="outside upper center", ncols=5)


def _points_of(trial: TrialRecord, metric: str) -> list[tuple[int, float]]:
    return [(r.step, r.metrics[metric]) for r in trial.reports if _is_number(r.metrics.get(metric))]


def _winner(run: RunFolder) -> int | None:
    best = best_so_far(run.trials)
    return run.result.best_trial if run.result else best.number if best else None


def _is_warm(trial: TrialRecord) -> bool:
    return trial.origin == "recommendation"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _left_out(n_trials: int) -> str:
    return f"; of {plural(n_trials, 'trial')} {_MOST_TRIALS} are drawn" if n_trials > _MOST_TRIALS else ""


def _history_alt(run: RunFolder, metric: str) -> str:
    best = best_so_far(run.trials)
    ending = f"; the highest is {number(best.value)}, trial {best.number}" if best else ""
    said = f"{metric_title(metric)} on the validation split of each of {plural(len(run.trials), 'trial')}{ending}"
    return said + _left_out(len([t for t in run.trials if _is_number(t.value)]))


def _differences_alt(differences: Sequence[Difference], metric: str) -> str:
    found = [f"{number(d.value)} ({number(d.low)} to {number(d.high)}) against {d.against}" for d in differences]
    return f"{metric_title(metric)} of the best trial minus that of others, with 95 % intervals: {listed(found)}"


def _memory_alt(memory: Memory) -> str:
    return f"Memory of training: {listed([f'{bar.label}, {bar.kind}: {bar.total}' for bar in memory.bars])}"
