"""Interactive charts as Plotly figures: search history, learning curves, quality against what prediction takes.

Colours are CSS custom properties (`var(--accent)`), which the page's script resolves, so that a chart follows
the light or dark scheme. Plotly reads a little HTML in texts, so every text from outside is escaped here.
"""

import math
import textwrap
from html import escape
from typing import Any

import plotly.graph_objects as go

from advisor.report.formatting import gib, metric_title, number, settings, short_duration, visible
from advisor.report.run_folder import RunFolder
from advisor.report.verdict import best_so_far
from advisor.spec import GIB
from advisor.trial import Objective, TradeOff, TradeOffs, TrialRecord

Figure = dict[str, Any]  # plain JSON that plotly.js draws

HEIGHT = 340  # pixels
DASHES = {"complete": "solid", "pruned": "dash", "failed": "dot"}


def history_figure(run: RunFolder, metric: str) -> Figure | None:
    """Return the validation metric of every trial in order, with the best so far; None when nothing was measured."""
    trials = sorted(run.trials, key=lambda trial: trial.number)
    valued = [trial for trial in trials if _finite(trial.value)]
    if not valued:
        return None
    winner = _best(run)
    figure = go.Figure(layout=layout("trial", metric))
    if trials[-1].number < 10:
        figure.update_xaxes(dtick=1)  # or half trials are marked, rounded to whole numbers
    complete = [trial for trial in valued if trial.state == "complete"]
    if complete:
        best = [max(other.value or 0.0 for other in complete[: i + 1]) for i in range(len(complete))]
        figure.add_scatter(
            x=[t.number for t in complete] + [trials[-1].number], y=[*best, best[-1]], name="best so far",
            mode="lines", line={"shape": "hv", "color": "var(--accent)", "width": 1.5}, hoverinfo="skip",
        )  # fmt: skip
    markers = {
        "best trial": {"symbol": "star", "size": 15, "color": "var(--accent)"},
        "warm start": {"symbol": "diamond", "size": 11, "color": "var(--second)"},
        "complete": {"symbol": "circle", "size": 9, "color": "var(--accent)"},
        "pruned": {"symbol": "circle-open", "size": 8, "color": "var(--muted)", "line": {"width": 1.5}},
        "failed": {"symbol": "x-thin-open", "size": 8, "color": "var(--bad)", "line": {"width": 2}},
    }
    for name, marker in markers.items():
        drawn = [trial for trial in trials if _group(trial, winner) == name]
        if drawn:
            _add_trials(figure, drawn, name, marker)
    return plain_figure(figure)


def curves_figure(run: RunFolder, metric: str) -> Figure | None:
    """Return the validation metric against optimizer steps, one line a trial; None when nothing was reported."""
    best = _best(run)
    recommended = run.contender("recommendation")
    figure = go.Figure(layout=layout("optimizer step", metric))
    seen: set[str] = set()
    # The two lines that matter are drawn last, on top of the others.
    for trial in sorted(run.trials, key=lambda t: (t.number == best, t.number)):
        points = [(r.step, r.metrics[metric]) for r in trial.reports if _finite(r.metrics.get(metric))]
        if not points:
            continue
        role = f"other, {trial.state}"
        colour, width = "var(--muted)", 1.2
        if trial.number == best:
            role, colour, width = f"best trial ({best})", "var(--accent)", 3.0
        elif recommended is not None and trial.number == recommended.trial:
            role, colour, width = f"recommendation ({trial.number})", "var(--second)", 2.2
        figure.add_scatter(
            x=[step for step, _ in points], y=[value for _, value in points], name=role, legendgroup=role,
            showlegend=role not in seen, legendrank=1 if width > 2 else 2, mode="lines+markers",
            line={"color": colour, "width": width, "dash": DASHES[trial.state]},
            marker={"size": 4 + width, "color": colour},
            text=[hover(trial, f"step {step}: {number(value)}") for step, value in points],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        seen.add(role)
    steps = sorted({report.step for trial in run.trials for report in trial.reports})
    if len(steps) <= 10:
        figure.update_xaxes(tickvals=steps)
    return plain_figure(figure) if seen else None


def trade_off_figure(run: RunFolder, metric: str, cost: Objective) -> Figure | None:
    """Return quality against memory or time of prediction, the front apart from the others; None without any."""
    found = run.result.trade_offs if run.result else None
    if run.result is None or found is None:
        return None
    unit, scale = _unit(cost, found)
    winner = run.result.best_trial
    figure = go.Figure(layout=layout(f"{'memory' if cost == 'memory' else 'time per example'} ({unit})", metric))
    figure.update_xaxes(tickformat=None)
    markers = {
        "delivered": {"symbol": "star", "size": 15, "color": "var(--accent)"},
        "middle way": {"symbol": "diamond", "size": 11, "color": "var(--second)"},
        "front": {"symbol": "circle", "size": 9, "color": "var(--accent)"},
        "beaten by another": {"symbol": "circle-open", "size": 8, "color": "var(--muted)", "line": {"width": 1.5}},
    }
    # The front of more than two objectives is no line in the plane.
    if set(found.objectives) == {"quality", cost}:
        front = [one for trial in reversed(found.front) if (one := found.of(trial)) is not None]
        figure.add_scatter(
            x=[_cost(one, cost) / scale for one in front], y=[one.quality for one in front], mode="lines",
            line={"shape": "hv", "color": "var(--accent)", "width": 1.5}, hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    for name, marker in markers.items():
        drawn = [one for one in found.trials if _part(one, found, winner) == name]
        if drawn:
            figure.add_scatter(
                x=[_cost(one, cost) / scale for one in drawn], y=[one.quality for one in drawn], name=name,
                mode="markers", marker=marker, text=[_trade_off_hover(run, one) for one in drawn],
                hovertemplate="%{text}<extra></extra>", cliponaxis=False,
            )  # fmt: skip
    return plain_figure(figure)


def _cost(of: TradeOff, cost: Objective) -> float:
    return float(of.memory_bytes) if cost == "memory" else of.latency_s


def _unit(cost: Objective, found: TradeOffs) -> tuple[str, float]:
    """Return the unit of an axis, and what it is in bytes or seconds."""
    largest = max(_cost(one, cost) for one in found.trials)
    if cost == "memory":
        return ("GiB", GIB) if largest >= GIB // 10 else ("MiB", 1024**2)
    return ("s", 1.0) if largest >= 1 else ("ms", 1e-3)


def _part(of: TradeOff, found: TradeOffs, winner: int) -> str:
    if of.trial == winner:
        return "delivered"
    if of.trial == found.knee:
        return "middle way"
    return "front" if of.trial in found.front else "beaten by another"


def _trade_off_hover(run: RunFolder, of: TradeOff) -> str:
    said = f"{number(of.quality)}, {gib(of.memory_bytes)}, {short_duration(of.latency_s)} per example"
    trial = run.trial(of.trial)
    return plotly_text(f"trial {of.trial}, {said}") if trial is None else hover(trial, said)


def _add_trials(figure: go.Figure, trials: list[TrialRecord], name: str, marker: dict[str, Any]) -> None:
    without_value = [trial for trial in trials if not _finite(trial.value)]
    with_value = [trial for trial in trials if _finite(trial.value)]
    # A trial without a value has no place on the metric's axis: it is marked along the lower edge.
    for drawn, axis in ((with_value, "y"), (without_value, "y2")):
        if drawn:
            figure.add_scatter(
                x=[t.number for t in drawn], y=[t.value if axis == "y" else 0.02 for t in drawn], yaxis=axis,
                name=name, legendgroup=name, showlegend=axis == "y" or not with_value, mode="markers", marker=marker,
                text=[hover(t, f"{t.state}: {number(t.value)}") for t in drawn],
                hovertemplate="%{text}<extra></extra>", cliponaxis=False,
            )  # fmt: skip


def _best(run: RunFolder) -> int | None:
    best = best_so_far(run.trials)
    return run.result.best_trial if run.result else best.number if best else None


def _group(trial: TrialRecord, winner: int | None) -> str:
    if trial.number == winner:
        return "best trial"
    if trial.state == "complete" and trial.origin == "recommendation":
        return "warm start"
    return trial.state


def hover(trial: TrialRecord, said: str) -> str:
    """Return what is shown of a trial under the pointer, with what is said of it on the first line."""
    lines = [f"trial {trial.number}, {said}", trial.candidate.method]
    lines += textwrap.wrap(settings(trial.candidate.hyperparameters), 60)[:6]
    if trial.failure is not None:
        lines += textwrap.wrap(f"{trial.failure.kind}: {trial.failure.message}", 60)[:4]
    return "<br>".join(plotly_text(line) for line in lines)


def plotly_text(text: str) -> str:
    """Escape text for Plotly, which draws `<b>` and makes links of `<a href>`."""
    return escape(visible(text).replace("\n", " "), quote=False)


def layout(x_title: str, metric: str, *, height: int = HEIGHT) -> dict[str, Any]:
    """Return the layout that all charts share.

    Args:
        x_title: What the horizontal axis is.
        metric: Name of the metric on the vertical one.
        height: In pixels.
    """
    axis = {
        "gridcolor": "var(--grid)", "linecolor": "var(--line)", "zeroline": False, "automargin": True,
        "tickcolor": "var(--line)", "ticks": "outside", "ticklen": 4,
    }  # fmt: skip
    return {
        "template": "none",
        "autosize": True,
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "var(--ink)"},
        "xaxis": {**axis, "title": {"text": plotly_text(x_title), "standoff": 8}, "tickformat": "d", "showgrid": False},
        "yaxis": {**axis, "title": {"text": f"{plotly_text(metric_title(metric))} (validation)", "standoff": 10}},
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "hoverlabel": {
            "align": "left", "bgcolor": "var(--card)", "bordercolor": "var(--line)",
            "font": {"family": "ui-monospace, monospace", "size": 12, "color": "var(--ink)"},
        },
    }  # fmt: skip


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def plain_figure(figure: go.Figure) -> Figure:
    """Return a figure as JSON without Plotly's own template."""
    plain: Figure = figure.to_plotly_json()
    return {"data": plain["data"], "layout": {k: v for k, v in plain["layout"].items() if k != "template"}}
