"""The charts of the report with what is said of them: which there are, in their order, and the numbers behind them."""

from dataclasses import dataclass

from advisor.report.charts import Figure, curves_figure, history_figure, trade_off_figure
from advisor.report.formatting import metric_title, number, plural
from advisor.report.parallel import parallel_figure
from advisor.report.run_folder import RunFolder
from advisor.report.search_section import ImportancePart
from advisor.report.tables import Table, curves_table
from advisor.report.training_costs import training_costs
from advisor.report.verdict import best_so_far
from advisor.trial import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure with its heading, a sentence for those who cannot see it, and the numbers behind it."""

    name: str
    title: str
    description: str
    figure: Figure
    table: Table | None = None


def trade_off_charts(run: RunFolder, metric: str, costs: tuple[Objective, ...]) -> tuple[Chart, ...]:
    """Return quality against each of what a study weighed with it."""
    names = {"memory": "memory", "latency": "time per example"}
    return tuple(
        Chart(
            name=f"trade-off-{cost}",
            title=f"{metric_title(metric)} against {names[cost]}",
            description=f"{metric_title(metric)} on the validation split of every trial that was measured, against the "
            f"{names[cost]} of prediction; those that no other beats are filled, and the table has their numbers.",
            figure=figure,
        )
        for cost in costs
        if (figure := trade_off_figure(run, metric, cost)) is not None
    )


def search_charts(run: RunFolder, metric: str) -> tuple[Chart, ...]:
    """Return what was tried as charts (history, curves, choices, what training took) as far as it is on record."""
    charts = []
    best = best_so_far(run.trials)
    history = history_figure(run, metric)
    title = metric_title(metric)
    if history is not None:
        ending = f"; the highest is {number(best.value)}, trial {best.number}" if best else ""
        charts.append(
            Chart(
                name="history",
                title="Search history",
                description=f"{title} on the validation split of each of {plural(len(run.trials), 'trial')}{ending}. "
                "Numbers are in the table of trials.",
                figure=history,
            )
        )
    curves = curves_figure(run, metric)
    if curves is not None:
        charts.append(
            Chart(
                name="curves",
                title="Learning curves",
                description=f"{title} on the validation split against optimizer steps, one line a trial; pruned "
                "trials dashed, failed ones dotted.",
                figure=curves,
                table=curves_table(run.trials, metric),
            )
        )
    parallel = parallel_figure(run, metric)
    if parallel is not None:
        charts.append(
            Chart(
                name="parallel",
                title="What was chosen",
                description="Every trial as a line over the choices in which trials differ, from top to bottom; "
                f"{title} on the last scale. Where a line goes to the left end, its method does not have that choice. "
                "Numbers are in the table of trials.",
                figure=parallel,
            )
        )
    return (*charts, *_training_charts(run, metric))


def _training_charts(run: RunFolder, metric: str) -> tuple[Chart, ...]:
    """Return quality against what training took; a study that weighed prediction has its own trade-offs."""
    if run.result is not None and len(run.result.plan.objectives) > 1:
        return ()
    found = training_costs(run, metric)
    titles = {"time": "time of training", "memory": "memory of training"}
    return tuple(
        Chart(
            name=f"training-{cost}",
            title=f"{metric_title(metric)} against {titles[cost]}",
            description=found.summary if i == 0 else f"The same trials against their {titles[cost]}.",
            figure=figure,
            table=found.table if i == 0 else None,
        )
        for i, (cost, figure) in enumerate(found.figures.items() if found else ())
        if found is not None
    )


def importance_chart(part: ImportancePart | None) -> Chart | None:
    """Return the importance of the choices, None where nothing can be said of it."""
    if part is None or part.figure is None:
        return None
    return Chart(
        name="importance",
        title="Importance of each choice",
        description="Share of the importance of every choice that was searched; grey ones are within chance.",
        figure=part.figure,
        table=part.table,
    )
