"""Is one model better than another on the same examples? Paired bootstrap over examples, with the noise of seeds.

Each resample draws examples with replacement and takes both models' metrics on the same draw (Koehn 2004,
"Statistical Significance Tests for Machine Translation Evaluation"). Metrics are computed from sums of
per-example statistics, so that a thousand resamples take a moment.

A contender that was trained with several seeds has the mean of their metrics. What another choice of seeds would
change is added to each resample. Drawing the seeds with replacement, as examples are, is too narrow: of three values a
bootstrap sees two thirds of the variance, and not that three values tell little of a variance (Owen 2007, "The
pigeonhole bootstrap", has the first for rows and columns that are drawn together). So the seeds' part is a draw from
Student's t distribution, which is how far a mean of a few values with an estimated variance may lie from its
expectation. The variance is pooled over both contenders, `(n_1 - 1) + (n_2 - 1)` degrees of freedom. It errs on the
wide side: what single examples add to the spread of seeds is counted with the examples and with the seeds. In the 300
simulated studies each of `tests/training/test_comparison.py` it covers the true gain in 96 % (seeds differ much) to
99 % (seeds differ little); the interval of one seed, which knows examples alone, does in 45 % and 96 %.

Does not cover: a p-value (an exchange of predictions between two contenders ignores the seeds), and the choice of the
training examples and their order, which all seeds share.
"""

from collections.abc import Callable, Mapping, Sequence
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

# Highest minus lowest value of a metric where that is not 1: no true difference lies beyond.
_WIDTH: Mapping[Metric, float] = {"mcc": 2.0, "bleu": 100.0, "chrf": 100.0}


def paired_difference(
    task: Task,
    best_predictions: Sequence[Path],
    other_predictions: Sequence[Path],
    *,
    against: str,
    seed: int,
    other_is_trained: bool = True,
    n_resamples: int = 1000,
    label_names: Sequence[str] = (),
) -> Difference:
    """Return the difference in the task's primary metric, means over seeds, with its 95 % percentile interval.

    Args:
        task: Gives the metric.
        best_predictions: Prediction files of the best trial, one per seed.
        other_predictions: Prediction files of the other contender, on the same examples.
        against: Name of the other contender.
        seed: Of the resamples.
        other_is_trained: Whether another seed would give another result; a baseline is what it is.
        n_resamples: How many.
        label_names: All classes in the order of their ids; without them, those that occur in the files.

    Raises:
        DataError: The files are unreadable or not about the same examples in the same order.
        ValueError: There is no file for one of the contenders.
    """
    paths = (*best_predictions, *other_predictions)
    made = [read_predictions(path) for path in paths]
    for path, items in zip(paths, made, strict=True):
        if not items or _examples(items) != _examples(made[0]):
            raise DataError(f"{paths[0]} and {path}: are not predictions for the same examples")
    n_best = len(best_predictions)
    return difference_of(
        task, made[:n_best], made[n_best:],
        against=against, seed=seed, other_is_trained=other_is_trained, n_resamples=n_resamples, label_names=label_names,
    )  # fmt: skip


def difference_of(
    task: Task,
    best_made: Sequence[Sequence[Prediction]],
    other_made: Sequence[Sequence[Prediction]],
    *,
    against: str,
    seed: int,
    other_is_trained: bool = True,
    n_resamples: int = 1000,
    label_names: Sequence[str] = (),
) -> Difference:
    """Do what `paired_difference` does with predictions that were read: per seed one for each example, in their order.

    Raises:
        ValueError: One of the contenders has no predictions.
    """
    if not best_made or not other_made:
        raise ValueError("a comparison needs the predictions of at least one seed of each contender")
    labels = label_names or _labels([item for items in (*best_made, *other_made) for item in items])
    rng = np.random.default_rng(seed)
    n_examples = len(best_made[0])
    # How often each example stands in each resample, shape (1 + resamples, examples); the first is the data itself.
    drawn = rng.multinomial(n_examples, np.full(n_examples, 1 / n_examples), size=n_resamples).astype(np.float64)
    counts = np.concatenate([np.ones((1, n_examples)), drawn])
    best, other = (_scores(task.primary_metric, made, labels, counts) for made in (best_made, other_made))
    differences = best.mean(axis=0) - other.mean(axis=0)
    noise = _seed_noise(best[:, 0], other[:, 0], other_is_trained, n_resamples, rng)
    width = _WIDTH.get(task.primary_metric, 1.0)
    low, high = np.quantile(differences[1:] + noise, [0.025, 0.975])
    return Difference(
        against=against,
        metric=task.primary_metric,
        value=float(differences[0]),
        low=max(float(low), -width),
        high=min(float(high), width),
        n_resamples=n_resamples,
        n_seeds=len(best_made),
        n_seeds_against=len(other_made),
    )


def _scores(
    metric: Metric, made: Sequence[Sequence[Prediction]], labels: Sequence[str], counts: Statistics
) -> NDArray[np.float64]:
    """Return the metric of each seed on each resample, shape (seeds, 1 + resamples)."""
    scores = []
    for items in made:
        statistics, score = _statistics(metric, items, labels)
        scores.append(score(counts @ statistics))
    return np.stack(scores)


def _seed_noise(
    best: NDArray[np.float64],
    other: NDArray[np.float64],
    other_is_trained: bool,
    n_draws: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw how far the difference of two means over seeds lies from what all seeds would give, shape (draws,).

    Args:
        best: Metric of each seed of the best trial.
        other: Metric of each seed of the other contender.
        other_is_trained: Whether seeds matter to it.
        n_draws: How many.
        rng: Source of randomness.

    Returns:
        Zeros where no contender was trained with a second seed: nothing is known of seeds then.
    """
    trained = [best, other] if other_is_trained else [best]
    freedom = sum(len(values) - 1 for values in trained)
    if freedom == 0:
        return np.zeros(n_draws)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in trained)
    spread = np.sqrt(squares / freedom * sum(1 / len(values) for values in trained))
    return spread * rng.standard_t(freedom, n_draws)


def _examples(items: Sequence[Prediction]) -> list[tuple[str, str]]:
    return [(item.example_id, item.expected) for item in items]


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
