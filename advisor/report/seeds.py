"""What several seeds say: the finalists on the validation split, winner and recommendation on the test split."""

from collections.abc import Sequence
from statistics import fmean, stdev

from advisor.report.formatting import NONE, listed, method_title, metric_title, number, plural, settings
from advisor.report.run_folder import RunFolder
from advisor.report.tables import Column, Row, Table
from advisor.result import Contender, Difference, Finalist, Finals, TuningResult


def finalists_table(run: RunFolder) -> Table | None:
    """Return the finalists with their validation metric for each seed, None when none was trained again."""
    finals = run.result.finals if run.result else None
    if finals is None or max(len(one.values) for one in finals.finalists) < 2:
        return None
    seeds = [seed for seed in finals.seeds if any(seed == one.seed for each in finals.finalists for one in each.values)]
    rows = [
        Row(cells=(*_named(run, finals, finalist), *_values(finalist, seeds), *_mean_and_spread(finals, finalist)))
        for finalist in finals.finalists
    ]
    metric = metric_title(run.result.plan.primary_metric) if run.result else ""
    return Table(
        caption=f"Finalists: {metric} on the validation split with each seed, the winner first",
        columns=(
            Column(title="Trial", kind="number"),
            Column(title="Method"),
            *(Column(title=f"Seed {seed}", kind="number") for seed in seeds),
            Column(title="Mean", kind="number"),
            Column(title="Spread", kind="number"),
        ),
        rows=tuple(Row(cells=row.cells, strong=i == 0) for i, row in enumerate(rows)),
    )


def split_table(result: TuningResult) -> Table | None:
    """Return the test metric of every adapter that was evaluated, None when no contender has several seeds."""
    rows = [row for row in _distinct(result.contenders) if row.seeds]
    seeds = sorted({one.seed for row in rows for one in row.seeds})
    if len(seeds) < 2:
        return None
    metric = result.plan.primary_metric
    return Table(
        caption=f"{metric_title(metric)} on the test split with each seed",
        columns=(
            Column(title="Contender"),
            *(Column(title=f"Seed {seed}", kind="number") for seed in seeds),
            Column(title="Mean", kind="number"),
            Column(title="Spread", kind="number"),
        ),
        rows=tuple(
            Row(cells=(row.name, *_test_values(row, seeds, metric)), strong=row.name == "best trial") for row in rows
        ),
    )


def spread(values: Sequence[float]) -> str:
    """Format the standard deviation of a few values, `± 0.012`; a dash for one."""
    return f"± {number(stdev(values))}" if len(values) > 1 else NONE


def interval_note(differences: Sequence[Difference]) -> str | None:
    """Say what the intervals cover, None where there are none."""
    if not differences:
        return None
    first = differences[0]
    covers = "over the test examples"
    if any(max(one.n_seeds, one.n_seeds_against) > 1 for one in differences):
        seeds = max(max(one.n_seeds, one.n_seeds_against) for one in differences)
        covers += f" and, by Student's t, over the choice of the {plural(seeds, 'seed')}"
    return (
        f"Intervals are paired bootstrap intervals {covers} ({first.n_resamples:,} resamples). “Better” and “worse” "
        "mean that the interval leaves out zero."
    )


def adapter_note(result: TuningResult) -> str | None:
    """Say which of several seeds the saved adapter is of and what it reaches, None when there was only one."""
    best = next((row for row in result.contenders if row.name == "best trial"), None)
    if best is None or len(best.seeds) < 2 or best.delivered is None:
        return None
    metric, one = result.plan.primary_metric, best.delivered
    return (
        f"The saved adapter is that of seed {one.seed}, of {plural(len(best.seeds), 'seed')} the best on the "
        f"validation split ({number(one.validation)}). By itself it reaches {metric_title(metric)} "
        f"{number(one.evaluation.metrics.get(metric))} on the test split."
    )


def finals_sentence(finals: Finals | None) -> str | None:
    """Say how the finalists were compared and what came of it, None when no other seed was planned."""
    if finals is None or len(finals.seeds) < 2:
        return None
    if max(len(one.values) for one in finals.finalists) < 2:
        why = "the time was up" if finals.stopped == "time" else "the study was interrupted"
        return f"No finalist was trained with another seed because {why}: one run of each decides."
    n_counted = len(finals.counted)
    said = (
        f"{plural(len(finals.finalists), 'finalist')} {'was' if len(finals.finalists) == 1 else 'were'} trained again "
        f"to the end with other seeds; the mean over {plural(n_counted, 'seed')} on the validation split decides"
    )
    if finals.winner == finals.recommendation:
        said += ", and no other was ahead of the recommendation"
    failed = [f"trial {one.trial}" for one in finals.finalists if one.n_failed(finals.counted)]
    if failed:
        said += f"; {listed(failed)} could not be trained with every seed and came last"
    if finals.stopped != "all":
        why = "the time was up" if finals.stopped == "time" else "they were interrupted"
        count = "counts" if n_counted == 1 else "count"
        said += f". Of {len(finals.seeds)} planned seeds {n_counted} {count} because {why}"
    return f"{said}."


def _named(run: RunFolder, finals: Finals, finalist: Finalist) -> tuple[str, str]:
    trial = run.trial(finalist.trial)
    what = NONE
    if trial is not None:
        rate = {k: v for k, v in trial.candidate.hyperparameters.items() if k == "learning_rate"}
        what = ", ".join(filter(None, (method_title(trial.candidate.method), settings(rate))))
    role = " (recommendation)" if finalist.trial == finals.recommendation else ""
    return str(finalist.trial), f"{what}{role}"


def _values(finalist: Finalist, seeds: Sequence[int]) -> list[str]:
    by_seed = {one.seed: one for one in finalist.values}
    found = [by_seed.get(seed) for seed in seeds]
    return [NONE if one is None else number(one.value) if one.failure is None else one.failure.kind for one in found]


def _mean_and_spread(finals: Finals, finalist: Finalist) -> tuple[str, str]:
    values = finalist.complete(finals.counted)
    return number(fmean(values)), spread(values)


def _test_values(row: Contender, seeds: Sequence[int], metric: str) -> list[str]:
    by_seed = {one.seed: one.evaluation.metrics[metric] for one in row.seeds}
    values = list(by_seed.values())
    return [*(number(by_seed.get(seed)) for seed in seeds), number(fmean(values)), spread(values)]


def _distinct(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders, best first, without a recommendation that is the best trial itself."""
    best = next((row.trial for row in contenders if row.name == "best trial"), None)
    kept = [row for row in contenders if row.name != "recommendation" or row.trial != best]
    return sorted(kept, key=lambda row: row.name != "best trial")
