"""All trials with what was chosen for each, as lines over parallel scales (Inselberg 1985, "The plane with parallel
coordinates").

The scales lie below one another, not side by side, so that the chart fits a phone however many there are. A choice that
a trial does not have (those of other methods) is a place of its own at the left end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from advisor.recommendation.text import CHOICE_TITLES
from advisor.report.charts import Figure, hover, layout, plain_figure, plotly_text
from advisor.report.formatting import base_title, metric_title, number, value_text
from advisor.report.run_folder import RunFolder
from advisor.report.verdict import best_so_far
from advisor.trial import TrialRecord

_MOST_SCALES = 14
_ROW_HEIGHT, _REST_HEIGHT = 52, 110  # pixels
_ABSENT = -0.12  # place of a choice that a trial does not have; the scale goes from 0 to 1
_LOG = ("learning_rate", "weight_decay")
_MOST_TICKS, _LONGEST_TICK = 6, 14
_MOST_ON_ONE_LINE = 3
_LEAST_GAP = 0.18  # between numbers at a scale, or they run into each other on a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One choice over all trials.

    Attributes:
        title: For people.
        values: Of each trial; None where it does not have the choice.
        is_log: Powers of ten are equally far apart.
    """

    title: str
    values: tuple[object, ...]
    is_log: bool = False

    @property
    def is_number(self) -> bool:
        """Are all values numbers, so that they have a distance?"""
        return all(_is_number(value) for value in self.values if value is not None)

    @property
    def known(self) -> tuple[object, ...]:
        """Different values, in the order of the scale."""
        found = dict.fromkeys(_key(value) for value in self.values if value is not None)
        return tuple(sorted(found, key=float) if self.is_number else sorted(found, key=str))  # type: ignore[arg-type]

    def place(self, value: object) -> float:
        """Return where a value lies, from 0 to 1; `_ABSENT` for none."""
        if value is None:
            return _ABSENT
        known = self.known
        if not self.is_number:
            return _share(known.index(_key(value)), len(known) - 1)
        low, high, at = (self._position(one) for one in (known[0], known[-1], value))
        return _share(at - low, high - low)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return places and texts of the values that are written at the scale."""
        known = self.known
        if len(known) > _MOST_TICKS:
            known = self._round_ticks() if self.is_number else known[:: math.ceil(len(known) / _MOST_TICKS)]
        ticks = [(self.place(value), _short(value_text(value))) for value in known]
        return self._with_room(ticks) if self.is_number else tuple(ticks)

    def _with_room(self, ticks: list[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
        """Leave out those between the ends that stand too near to one before them, or to the upper end."""
        *others, last = ticks
        kept: list[tuple[float, str]] = []
        for place, text in others:
            if not kept or (place - kept[-1][0] >= _LEAST_GAP and last[0] - place >= _LEAST_GAP):
                kept.append((place, text))
        return (*kept, last)

    def _round_ticks(self) -> tuple[object, ...]:
        """Return the ends of a scale of numbers, on a logarithmic one the powers of ten between them too."""
        low, high = self.known[0], self.known[-1]
        if not self.is_log:
            return low, high
        first, last = (math.floor(self._position(end)) for end in (low, high))
        return (low, *(10.0**power for power in range(first, last + 1) if 0 < self.place(10.0**power) < 1), high)

    def _position(self, value: object) -> float:
        plain = float(value)  # type: ignore[arg-type]
        return math.log10(plain) if self.is_log else plain


def parallel_figure(run: RunFolder, metric: str) -> Figure | None:
    """Return lines over the choices in which trials differ and the metric; None with fewer than two trials or choices.

    The best trial and the recommendation are drawn on top, pruned trials lighter.
    """
    trials = [trial for trial in sorted(run.trials, key=lambda one: one.number) if trial.reports or trial.failure]
    scales = scales_of(trials, metric)
    if len(trials) < 2 or len(scales) < 2:
        return None
    height = _REST_HEIGHT + _ROW_HEIGHT * len(scales)
    figure = go.Figure(layout=layout("", metric, height=height))
    rows = list(range(len(scales) - 1, -1, -1))
    for row, scale in zip(rows, scales, strict=True):
        _draw_scale(figure, row, scale)
    groups = _groups(run, trials)
    seen: set[str] = set()
    for i, trial in sorted(enumerate(trials), key=lambda item: _ORDER.index(_kind(groups[item[1].number]))):
        name = groups[trial.number]
        look = _LOOKS[_kind(name)]
        colour, width, dash, opacity = look
        said = f"{trial.state}: {number(trial.value)}"
        figure.add_scatter(
            x=[scale.place(scale.values[i]) for scale in scales], y=rows, name=name, legendgroup=name,
            showlegend=name not in seen, legendrank=1 + _ORDER[::-1].index(_kind(name)), mode="lines+markers",
            opacity=opacity, line={"color": colour, "width": width, "dash": dash},
            marker={"size": 3 + width, "color": colour}, text=[hover(trial, said)] * len(scales),
            hovertemplate="%{text}<extra></extra>", cliponaxis=False,
        )  # fmt: skip
        seen.add(name)
    figure.update_xaxes(visible=False, range=[_ABSENT - 0.06, 1.08], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.6, len(scales) - 0.35], fixedrange=True)
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8}, hovermode="closest")
    return plain_figure(figure)


def scales_of(trials: Sequence[TrialRecord], metric: str) -> tuple[Scale, ...]:
    """Return the choices in which trials differ, as they are read: base model, method, its settings, the metric last.

    Settings that only one method has in one value are left out, as those beyond the first dozen: the most common come
    first.
    """
    found = [
        Scale(title=CHOICE_TITLES["base_model"], values=tuple(base_title(one.candidate) for one in trials)),
        Scale(title="method", values=tuple(one.candidate.method for one in trials)),
    ]
    names = dict.fromkeys(name for one in trials for name in one.candidate.hyperparameters)
    settings = [
        Scale(title=CHOICE_TITLES.get(name, name), values=values, is_log=_is_log(name, values))
        for name in names
        for values in (tuple(one.candidate.hyperparameters.get(name) for one in trials),)
    ]
    settings.sort(key=lambda scale: sum(value is None for value in scale.values))
    differing = [scale for scale in (*found, *settings) if len(scale.known) > 1]
    value = Scale(title=f"{metric_title(metric)} (validation)", values=tuple(_finite(one.value) for one in trials))
    ends = (value,) if len(value.known) > 1 else ()
    return (*differing[: _MOST_SCALES - len(ends)], *ends)


_ORDER = ("failed", "pruned", "complete", "recommendation", "best trial")  # the last on top
# Colour, width, dash, opacity.
_LOOKS = {
    "failed": ("var(--bad)", 1.0, "dot", 0.5),
    "pruned": ("var(--muted)", 1.0, "dash", 0.4),
    "complete": ("var(--muted)", 1.4, "solid", 0.9),
    "recommendation": ("var(--second)", 2.4, "solid", 1.0),
    "best trial": ("var(--accent)", 3.0, "solid", 1.0),
}


def _groups(run: RunFolder, trials: Sequence[TrialRecord]) -> dict[int, str]:
    """Return what each trial is called in the legend."""
    ahead = best_so_far(run.trials)
    best = run.result.best_trial if run.result else ahead.number if ahead else None
    row = run.contender("recommendation")
    first = run.recommendation.candidates[0].candidate if run.recommendation.candidates else None
    recommended = row.trial if row else next((one.number for one in trials if one.candidate == first), None)
    named: dict[int, str] = {one.number: one.state for one in trials}
    if recommended in named:
        named[recommended] = f"recommendation ({recommended})"
    if best in named:
        both = ", the recommendation" if best == recommended else ""
        named[best] = f"best trial ({best}{both})"
    return named


def _kind(name: str) -> str:
    return name.split(" (")[0]


def _draw_scale(figure: go.Figure, row: int, scale: Scale) -> None:
    figure.add_shape(type="line", x0=0, x1=1, y0=row, y1=row, line={"color": "var(--line)", "width": 1}, layer="below")
    small = {"size": 11, "color": "var(--soft)"}
    figure.add_annotation(
        x=0, y=row, xanchor="left", yanchor="bottom", yshift=5, showarrow=False, bgcolor="var(--paper)",
        text=f"<b>{plotly_text(scale.title)}</b>{' (log)' if scale.is_log else ''}",
        font={"size": 12, "color": "var(--ink)"},
    )  # fmt: skip
    ticks = [*([(_ABSENT, "none")] if None in scale.values else []), *scale.ticks()]
    # Many words stand on two lines in turn, so that they do not run into each other on a phone.
    has_two_lines = not scale.is_number and len(ticks) > _MOST_ON_ONE_LINE
    for i, (place, text) in enumerate(ticks):
        figure.add_annotation(
            x=place, y=row, yanchor="top", yshift=-4 - 12 * (has_two_lines and i % 2), showarrow=False,
            text=plotly_text(text), font=small,
            xanchor="left" if place == 0 else "right" if place == 1 else "center", bgcolor="var(--paper)", borderpad=0,
        )  # fmt: skip


def _key(value: object) -> object:
    """Return a value that can be looked up: a list of modules is its text."""
    if _is_number(value):
        return value
    return value if isinstance(value, str) else value_text(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_log(name: str, values: Sequence[object]) -> bool:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return name in _LOG and len(numbers) > 0 and all(value > 0 for value in numbers)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.5


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TICK else f"{text[: _LONGEST_TICK - 1]}…"
