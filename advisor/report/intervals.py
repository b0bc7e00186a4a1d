"""How far each metric on the test split may lie from what other test examples would give.

All contenders and metrics are taken on the same resamples, drawn once: the values are those of
`metrics.bootstrap.interval_of`, which draws anew for every metric. A report must be made in a moment, so a large split
is judged by a sample of it: the spread of a metric over n examples is that over m of them times `sqrt(m / n)`
(Politis, Romano, Wolf 1999, "Subsampling", chapter 2).

Does not cover: what another seed of training would give (several seeds are averaged on every resample, as if there
were no others), and differences of contenders, whose intervals are paired (`result.Difference`).
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.catalog.tasks import TASKS, Metric, Task
from advisor.metrics.areas import AREAS
from advisor.metrics.bootstrap import Interval, intervals_together
from advisor.metrics.registry import METRICS, find_metric
from advisor.metrics.statistics import Resampled
from advisor.report.formatting import listed, metric_title
from advisor.report.interval_samples import Made, label_names_of, sample_of
from advisor.report.run_folder import RunFolder, seed_name
from advisor.result import Contender, TuningResult

N_RESAMPLES = 1000
# Work that is spent on the primary metric, on those others that cost little, and on the rest: seconds of one core of a
# server CPU, by the rough costs below, so that the same records give the same report on every machine.
_PRIMARY_S = 1.0
_CHEAP_S = 0.3
_DEAR_S = 1.2
# Fewer examples say too little of the spread; the primary metric has at least its own number, whatever they cost.
_FEWEST = 50
_FEWEST_OF_PRIMARY = 100
# Seconds: for one example in all resamples; there for each class, and for each area; for a character of reference or
# prediction.
_DRAW_S = N_RESAMPLES * 8e-8
_CLASS_S = N_RESAMPLES * 6e-10
_AREA_S = N_RESAMPLES * 5e-8
_CHARACTER_S: Mapping[str, float] = {
    "bleu": 1.5e-6, "codexglue-bleu": 5e-7, "codexglue-corpus-bleu": 2e-7, "rouge-l": 9e-7, "meteor": 3.1e-6,
    "chrf": 1.2e-6, "codebleu": 1e-5,
}  # fmt: skip
# For all resamples of one run, where each is scored by a library.
_SCORE_S: Mapping[str, float] = {"bleu": N_RESAMPLES * 4e-5, "chrf": N_RESAMPLES * 4e-5}
_AGREES = 1e-6  # of the metric's range


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals of the metrics of contenders.

    Attributes:
        found: By contender and metric; those that could not be had are missing.
        note: What they cover and which are missing, for people.
    """

    found: Mapping[tuple[str, str], Interval]
    note: str


def metric_intervals(run: RunFolder) -> Intervals | None:
    """Return the 95 % intervals of all metrics of the final comparison, None where nothing was compared."""
    result = run.result
    if result is None or not result.contenders:
        return None
    made = {row.name: kept for row in result.contenders if (kept := _predictions(run, row))}
    task = TASKS.get(result.task)
    if task is None or not made:
        return Intervals(found={}, note="Metrics have no intervals: predictions for the whole test split are not kept.")
    n_examples = max(len(kept[0]) for kept in made.values())
    made = {name: kept for name, kept in made.items() if {*map(len, kept)} == {n_examples}}
    found: dict[tuple[str, str], Interval] = {}
    used: dict[str, int] = {}
    for metrics, most_s, fewest in _groups(result):
        n_used = max(_affordable(task, metrics, made, result, most_s), min(fewest, n_examples))
        if n_used >= min(_FEWEST, n_examples):
            used |= dict.fromkeys(metrics, n_used)
            found |= _intervals(task, result, metrics, _sampled(made, n_used, result.seed))
    return Intervals(found=found, note=_note(result, found, used, n_examples))


def _predictions(run: RunFolder, row: Contender) -> Made:
    """Return a contender's predictions for the whole split, one tuple for each of its seeds; empty if any lacks."""
    if len(row.seeds) > 1:
        made = [run.seed_predictions.get(seed_name(row.trial or 0, one.seed), ()) for one in row.seeds]
    else:
        made = [run.predictions_of(row.name)]
    whole = all(len(items) == row.evaluation.n_examples > 0 for items in made)
    return tuple(made) if whole else ()


def _groups(result: TuningResult) -> Iterator[tuple[list[Metric], float, int]]:
    """Yield metrics that are taken together, the seconds they may cost and the examples they have at least."""
    primary, *others = _metrics(result)
    dear = [name for name in others if name in _CHARACTER_S or name in AREAS]
    for names, most_s, fewest in (
        ([primary], _PRIMARY_S, _FEWEST_OF_PRIMARY),
        ([name for name in others if name not in dear], _CHEAP_S, 0),
        (dear, _DEAR_S, 0),
    ):
        known = [name for name in METRICS if name in names]
        if known:
            yield known, most_s, fewest


def _metrics(result: TuningResult) -> tuple[str, ...]:
    """Return the names of the metrics that were measured, the primary one first."""
    measured = (name for row in result.contenders for name in row.evaluation.metrics)
    return tuple(dict.fromkeys((result.plan.primary_metric, *measured)))


def _affordable(
    task: Task, metrics: Sequence[Metric], made: Mapping[str, Made], result: TuningResult, most_s: float
) -> int:
    """Return how many examples can be resampled in some seconds: drawn, then taken in each metric of each run."""
    runs = [items for kept in made.values() for items in kept]
    n_examples = len(runs[0])
    if task.form == "generation":
        characters = sum(len(item.expected) + len(item.predicted) for items in runs for item in items) / n_examples
        example_s = _DRAW_S + characters * sum(_CHARACTER_S.get(metric, 0.0) for metric in metrics)
        most_s -= len(runs) * sum(_SCORE_S.get(metric, 0.0) for metric in metrics)
    else:
        n_classes = max((len(facts.label_counts) for facts in result.data.values()), default=2)
        n_curves = n_classes if n_classes > 2 else 1
        class_s = sum(n_curves * _AREA_S if metric in AREAS else n_classes * _CLASS_S for metric in metrics)
        example_s = _DRAW_S + len(runs) * class_s
    return max(0, min(n_examples, int(most_s / example_s)))


def _sampled(made: Mapping[str, Made], n_used: int, seed: int) -> dict[str, Made]:
    """Keep the same examples of all."""
    n_examples = len(next(iter(made.values()))[0])
    chosen = sorted(random.Random(seed).sample(range(n_examples), n_used))
    return {name: tuple(tuple(items[i] for i in chosen) for items in kept) for name, kept in made.items()}


def _intervals(
    task: Task, result: TuningResult, metrics: Sequence[Metric], made: Mapping[str, Made]
) -> dict[tuple[str, str], Interval]:
    """Return the intervals of some metrics that fit to what is on record."""
    labels = label_names_of(task, result, made)
    rows = {row.name: row for row in result.contenders}
    samples: dict[tuple[str, str], Resampled] = {}
    for name, kept in made.items():
        for metric in metrics:
            if metric in rows[name].evaluation.metrics:
                sample = sample_of(task, metric, kept, labels)
                if sample is not None:
                    samples[name, metric] = sample
    found = {}
    for key, interval in intervals_together(samples, seed=result.seed, n_resamples=N_RESAMPLES).items():
        evaluation = rows[key[0]].evaluation
        fitted = _fitted(interval, key[1], evaluation.metrics[key[1]], samples[key].n_examples / evaluation.n_examples)
        if fitted is not None:
            found[key] = fitted
    return found


def _fitted(interval: Interval, metric: str, recorded: float, used: float) -> Interval | None:
    """Put an interval around the value on record; None where the predictions give another value.

    Args:
        interval: Of the examples that were used.
        metric: Its name, for its range.
        recorded: Value of all examples.
        used: Share of the examples that were used.
    """
    of = find_metric(metric)
    values = (interval.value, interval.low, interval.high, recorded)
    if not all(map(math.isfinite, values)):
        return None
    if used == 1:
        return interval if abs(interval.value - recorded) <= _AGREES * of.width else None
    low, high = (recorded + (end - interval.value) * math.sqrt(used) for end in (interval.low, interval.high))
    return replace(interval, value=recorded, low=max(low, of.low), high=min(high, of.high))


def _note(
    result: TuningResult, found: Mapping[tuple[str, str], Interval], used: Mapping[str, int], n_examples: int
) -> str:
    if not found:
        why = (
            "predictions are not kept whole, or do not give the values on record" if used else "texts are too long here"
        )
        return f"Metrics have no intervals: their {why}."
    said = (
        f"The interval of a metric is its 95 % bootstrap percentile interval over the test examples "
        f"({N_RESAMPLES:,} resamples)"
    )
    if any(len(row.seeds) > 1 for row in result.contenders):
        said += "; where there are several seeds, that of their mean, as if no other seed were possible"
    said += ". Two of them may overlap although the contenders differ: the paired interval of the difference decides."
    sampled = {metric: n for metric, n in used.items() if n < n_examples}
    for n in dict.fromkeys(sampled.values()):
        names = listed([metric_title(metric) for metric in sampled if sampled[metric] == n])
        said += f" For {names} a sample of {n:,} of the {n_examples:,} examples was resampled and scaled to all."
    long = [metric_title(name) for name in _metrics(result) if name in METRICS and name not in used]
    if long:
        said += f" {listed(long)} would take too long here and {'has' if len(long) == 1 else 'have'} none."
    lacking = [
        row.name
        for row in result.contenders
        if any((row.name, metric) not in found for metric in row.evaluation.metrics if metric in used)
    ]
    if lacking:
        said += f" Predictions of {listed(lacking)} are not kept whole, or do not give the values on record."
    return said
