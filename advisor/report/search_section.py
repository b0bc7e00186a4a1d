"""Which choices decided quality, for people: a sentence, a chart, a table, and how far it can be trusted."""

from dataclasses import dataclass

import plotly.graph_objects as go

from advisor.importance import Importance, ParameterImportance
from advisor.recommendation.text import CHOICE_TITLES
from advisor.report.charts import Figure, layout, plain_figure, plotly_text
from advisor.report.formatting import NBSP, method_title, plural
from advisor.report.run_folder import RunFolder
from advisor.report.tables import Column, Row, Table

# A share that a shuffle of the values reaches this often is no finding.
_CHANCE = 0.05
_MOST_BARS, _LONGEST = 12, 20
_BAR_HEIGHT, _AXIS_HEIGHT = 40, 90  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportancePart:
    """The section.

    Attributes:
        summary: What decided, or why nothing can be said.
        figure: Shares as bars; None with too few trials.
        table: The same as numbers, likewise.
        notes: How it was found, and what it does not mean.
    """

    summary: str
    figure: Figure | None = None
    table: Table | None = None
    notes: tuple[str, ...] = ()


def importance_part(run: RunFolder) -> ImportancePart | None:
    """Return the section, None where importance is not on record or is older than the last trials."""
    found = run.importance
    if found is None or found.n_finished != len(run.trials):
        return None
    if not found.parameters:
        return ImportancePart(summary=_too_few(found))
    return ImportancePart(
        summary=_summary(found),
        figure=importance_figure(found),
        table=_table(found),
        notes=_notes(found),
    )


def choice_title(part: ParameterImportance) -> str:
    """Return what was chosen, for people: "learning rate of LoRA"."""
    title = CHOICE_TITLES.get(part.name, part.name)
    title += f" of {method_title(part.method)}" if part.method else ""
    return title + (f" on {part.base}" if part.base else "")


def importance_figure(found: Importance) -> Figure:
    """Return the shares as bars, the largest on top; those that chance reaches too are grey."""
    shown = found.parameters[:_MOST_BARS][::-1]
    figure = go.Figure(layout=layout("share (%)", "", height=_AXIS_HEIGHT + _BAR_HEIGHT * len(shown)))
    for name, colour, stands_out in (
        ("stands out", "var(--accent)", True),
        ("within chance", "var(--muted)", False),
    ):
        drawn = [part for part in shown if _stands_out(part) is stands_out]
        if drawn:
            figure.add_bar(
                x=[100 * part.share for part in drawn], y=[_axis_text(part) for part in drawn], orientation="h",
                name=name, marker={"color": colour}, hovertemplate="%{text}<extra></extra>", textposition="none",
                text=[plotly_text(f"{choice_title(part)}: {_percent(part.share)}") for part in drawn],
            )  # fmt: skip
    figure.update_layout(bargap=0.35, barmode="overlay")
    figure.update_xaxes(rangemode="tozero", tickformat=None, showgrid=True)
    figure.update_yaxes(
        title=None, type="category", categoryorder="array", categoryarray=[_axis_text(part) for part in shown],
        showgrid=False, ticks="",
    )  # fmt: skip
    return plain_figure(figure)


def _axis_text(part: ParameterImportance) -> str:
    """Return a title on two lines, so that the bars have room on a phone."""
    title = CHOICE_TITLES.get(part.name, part.name)
    where = " on ".join(filter(None, (method_title(part.method) if part.method else "", part.base or "")))
    short = where if len(where) <= _LONGEST else f"{where[: _LONGEST - 1]}…"
    return plotly_text(title) + (f"<br>{plotly_text(short)}" if short else "")


def _stands_out(part: ParameterImportance) -> bool:
    return part.by_chance <= _CHANCE


def _percent(part: float) -> str:
    return f"{100 * part:.0f}{NBSP}%" if part >= 0.01 or part == 0 else f"under 1{NBSP}%"


def _too_few(found: Importance) -> str:
    if found.n_counted < found.n_needed:
        return (
            f"Too few trials to say which choices decided: {plural(found.n_counted, 'trial')} can be compared "
            f"(complete ones, and those stopped for lying behind), {found.n_needed} are needed. With fewer, the best "
            "quarter holds less than five, and any choice may stand out by chance."
        )
    return (
        f"Too few trials were trained to their end to say which choices decided: {found.n_counted - found.n_pruned} of "
        f"{found.n_counted}, and the best {found.n_best} must be among them."
    )


def _summary(found: Importance) -> str:
    leading = [part for part in found.parameters if _stands_out(part) and part.share > 0]
    if not leading:
        return (
            f"No choice stands out: over {found.n_counted} trials, chance alone makes any of them look as important "
            f"in more than one of {round(1 / _CHANCE)} shuffles."
        )
    first, *others = leading
    said = f"The {choice_title(first)} decided most: {_percent(first.share)} of the importance"
    if others:
        said += f", then {', '.join(f'{choice_title(part)} ({_percent(part.share)})' for part in others[:3])}"
    return f"{said}. It rests on {found.n_counted} trials."


def _table(found: Importance) -> Table:
    rows = [
        Row(
            cells=(
                choice_title(part),
                _percent(part.share),
                f"{round(part.by_chance * found.n_shuffles)} of {found.n_shuffles}",
                str(part.n_trials),
            ),
            strong=_stands_out(part),
        )
        for part in found.parameters
    ]
    return Table(
        caption="Importance of the choices that were searched; in bold what stands out from chance",
        columns=(
            Column(title="Choice"),
            Column(title="Share", kind="number"),
            Column(title="As much by chance", kind="number"),
            Column(title="Trials", kind="number"),
        ),
        rows=tuple(rows),
    )


def _notes(found: Importance) -> tuple[str, ...]:
    n_complete = found.n_counted - found.n_pruned
    stopped = f" and {found.n_pruned} that were stopped for lying behind" if found.n_pruned else ""
    how = (
        f"PED-ANOVA (Optuna): where the best {found.n_best} lie in each choice is compared with where all "
        f"{found.n_counted} lie, {n_complete} complete ones{stopped}. Failed trials are not in it. A choice that only "
        "some methods have counts by how many trials had it."
    )
    chance = (
        "By chance: in how many shuffles of the values over the trials it was at least as important. Of "
        f"{plural(len(found.parameters), 'choice')} one in {round(1 / _CHANCE)} is in bold by chance alone."
    )
    meaning = (
        "It is about what was tried here, on this data and within these ranges. The sampler kept to what looked good, "
        "so a choice that was settled early looks unimportant; and it does not say which value is best."
    )
    return how, chance, meaning
