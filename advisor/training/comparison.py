"""Is one model better than another on the same examples? Paired bootstrap over examples.

Each resample draws examples with replacement and takes both models' metrics on the same draw (Koehn 2004,
"Statistical Significance Tests for Machine Translation Evaluation"). Metrics are computed from sums of
per-example statistics, so that a thousand resamples take a moment.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.base import Metric as SacreMetric
from sacrebleu.metrics.chrf import CHRF

from advisor.catalog.tasks import Metric, Task
from advisor.errors import DataError
from advisor.result import Difference
from advisor.training.examples import label_order
from advisor.training.metrics import bleu, per_example
from advisor.training.predictions import read_predictions
from advisor.trial import Prediction

Statistics = NDArray[np.float64]
# Sums of statistics, shape (resamples, statistics) -> metric, shape (resamples,)
Score = Callable[[Statistics], NDArray[np.float64]]


def paired_difference(
    task: Task,
    best_predictions: Path,
    other_predictions: Path,
    *,
    against: str,
    seed: int,
    n_resamples: int = 1000,
    label_names: Sequence[str] = (),
) -> Difference:
    """Return the difference in the task's primary metric with its 95 % percentile interval.

    Args:
        task: Gives the metric.
        best_predictions: Prediction file of the best trial.
        other_predictions: Prediction file of the other contender, on the same examples.
        against: Name of the other contender.
        seed: Of the resamples.
        n_resamples: How many.
        label_names: All classes in the order of their ids; without them, those that occur in the files.

    Raises:
        DataError: The files are unreadable or not about the same examples in the same order.
    """
    best, other = read_predictions(best_predictions), read_predictions(other_predictions)
    if not best or [(a.example_id, a.expected) for a in best] != [(b.example_id, b.expected) for b in other]:
        raise DataError(f"{best_predictions} and {other_predictions}: are not predictions for the same examples")
    labels = label_names or _labels((*best, *other))
    best_statistics, score = _statistics(task.primary_metric, best, labels)
    other_statistics, _ = _statistics(task.primary_metric, other, labels)
    rng = np.random.default_rng(seed)
    # How often each example stands in each resample, shape (resamples, examples).
    counts = rng.multinomial(len(best), np.full(len(best), 1 / len(best)), size=n_resamples).astype(np.float64)
    differences = score(counts @ best_statistics) - score(counts @ other_statistics)
    low, high = np.quantile(differences, [0.025, 0.975])
    everything = np.ones((1, len(best)))
    value = score(everything @ best_statistics) - score(everything @ other_statistics)
    return Difference(
        against=against,
        metric=task.primary_metric,
        value=float(value[0]),
        low=float(low),
        high=float(high),
        n_resamples=n_resamples,
    )


def _statistics(metric: Metric, items: Sequence[Prediction], labels: Sequence[str]) -> tuple[Statistics, Score]:
    expected, predicted = [item.expected for item in items], [item.predicted for item in items]
    if metric in ("f1", "mcc"):
        return _class_counts(expected, predicted, labels), _f1_score if metric == "f1" else _mcc_score
    if metric in ("bleu", "chrf"):
        scorer: SacreMetric = bleu() if metric == "bleu" else CHRF()
        statistics = np.array(scorer._extract_corpus_statistics(predicted, [expected]), dtype=np.float64)
        return statistics, lambda sums: np.array([scorer._compute_score_from_stats(list(row)).score for row in sums])
    values = np.array(per_example(metric, expected, predicted))
    # The number of examples is a statistic too: a sum over a resample then has its own count.
    return np.stack([values, np.ones_like(values)], axis=1), lambda sums: sums[:, 0] / sums[:, 1]


def _class_counts(expected: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Statistics:
    """Return one row per example: for each class whether it was hit, then expected, then predicted."""
    number = {label: position for position, label in enumerate(labels)}
    counts = np.zeros((len(expected), 3, len(labels)))
    for row, (truth, guess) in enumerate(zip(expected, predicted, strict=True)):
        counts[row, 0, number[truth]] = truth == guess
        counts[row, 1, number[truth]] = 1
        counts[row, 2, number[guess]] = 1
    return counts.reshape(len(expected), -1)


def _split_counts(sums: Statistics) -> tuple[Statistics, Statistics, Statistics]:
    hits, truth, guess = np.split(sums, 3, axis=1)
    return hits, truth, guess


def _f1_score(sums: Statistics) -> NDArray[np.float64]:
    """F1 of the second of two classes, else the mean over classes that occur; as `training.metrics` has it."""
    hits, truth, guess = _split_counts(sums)
    occurs = truth + guess
    f1 = np.divide(2 * hits, occurs, out=np.zeros_like(hits), where=occurs > 0)
    if f1.shape[1] == 2:
        return f1[:, 1]
    return f1.sum(axis=1) / np.maximum(1, (occurs > 0).sum(axis=1))


def _mcc_score(sums: Statistics) -> NDArray[np.float64]:
    """Matthews correlation of several classes (Gorodkin 2004), 0 where it is not defined."""
    hits, truth, guess = _split_counts(sums)
    total = truth.sum(axis=1)
    covariance = hits.sum(axis=1) * total - (truth * guess).sum(axis=1)
    spread = np.sqrt((total**2 - (guess**2).sum(axis=1)) * (total**2 - (truth**2).sum(axis=1)))
    return np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)


def _labels(items: Sequence[Prediction]) -> Sequence[str]:
    texts = {text for item in items for text in (item.expected, item.predicted)}
    return label_order(texts)
