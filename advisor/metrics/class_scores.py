"""Metrics of a score per class: how well a model ranks, before a threshold makes labels of its scores.

- roc-auc: area under the ROC curve; more than two classes: the mean over classes of one against the rest. 0 to 1.
- pr-auc: average precision (no interpolation); more than two classes: the mean over classes. 0 to 1.
- top-5-accuracy: share of examples whose class is among the five of highest score. Of equal scores the true class
  counts as the last: a model that scores all classes alike has found nothing. 0 to 1.

Scores are probabilities. For two classes any increasing function of them gives the same values; for more, logits do
not, since they are not comparable between examples. Means over classes take those that occur, expected, and not always.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from advisor.catalog.tasks import Metric
from advisor.errors import InputError
from advisor.metrics.statistics import ExampleStatistics, Numbers, Resampled, mean_statistics

SCORE_METRICS: tuple[Metric, ...] = ("roc-auc", "pr-auc", "top-5-accuracy")
_TOP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where to cut scores of the positive class.

    Attributes:
        value: An example is positive if its score is at least this.
        f1: F1 of the positive class that this gave on the examples it was chosen on.
    """

    value: float
    f1: float

    def labels(self, scores: NDArray[np.floating], label_names: Sequence[str]) -> list[str]:
        """Return the label of each example from its score of the positive class, shape (examples,)."""
        return [label_names[1] if score >= self.value else label_names[0] for score in scores]


def best_threshold(expected: Sequence[str], scores: NDArray[np.floating], label_names: Sequence[str]) -> Threshold:
    """Choose the threshold of highest F1, on a validation split: on the test split it is only applied.

    The cut lies half-way between the lowest score that is positive and the next below, so that a test example close
    to either falls on its side. Of several best thresholds the highest is taken.

    Args:
        expected: Labels, one per example.
        scores: Of the positive class, shape (examples,).
        label_names: The negative and the positive label.

    Raises:
        InputError: No example is positive: every threshold has an F1 of 0.
    """
    truth = np.array([label == label_names[1] for label in expected])
    if not truth.any():
        raise InputError(f"a threshold needs examples of label {label_names[1]!r}; there are none")
    values = np.asarray(scores, dtype=np.float64)
    precision, recall, cuts = precision_recall_curve(truth, values)
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-300)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))  # cuts ascend
    below = values[values < cuts[best]]
    half_way = (cuts[best] + below.max()) / 2 if len(below) else cuts[best]
    # Neighbouring floating-point numbers have none between them.
    value = half_way if len(below) and half_way > below.max() else cuts[best]
    return Threshold(value=float(value), f1=float(f1[best]))


def measure_scores(
    metrics: Sequence[Metric], expected: Sequence[str], scores: NDArray[np.floating], label_names: Sequence[str]
) -> dict[str, float]:
    """Return the value of each metric.

    Args:
        metrics: Of `SCORE_METRICS`.
        expected: Labels, one per example.
        scores: Shape (examples, classes), classes in the order of `label_names`.
        label_names: All classes.

    Raises:
        InputError: An area is not defined, because all examples are of one class.
        ValueError: A metric of another kind, an unknown label, shapes that do not fit, scores that are not numbers.
    """
    found: dict[str, float] = {}
    for metric in metrics:
        sample = score_statistics(metric, expected, scores, label_names)
        value = float(sample.on(np.ones((1, sample.n_examples)))[0])
        if np.isnan(value):
            raise InputError(f"metric {metric}: needs examples of two classes; all are {expected[0]!r}")
        found[metric] = value
    return found


def score_statistics(
    metric: Metric, expected: Sequence[str], scores: NDArray[np.floating], label_names: Sequence[str]
) -> Resampled:
    """Return what takes the metric on resamples; areas are computed anew on each.

    Raises:
        ValueError: As `measure_scores`.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(expected), len(label_names)) or not len(expected) or np.isnan(values).any():
        raise ValueError(f"scores of shape {values.shape} for {len(expected)} examples of {len(label_names)} classes")
    number = {label: position for position, label in enumerate(label_names)}
    classes = np.array([number.get(label, -1) for label in expected])
    if (classes < 0).any():
        raise ValueError(f"labels {sorted(set(expected) - number.keys())} are not among {list(label_names)}")
    if metric == "top-5-accuracy":
        return top_k_statistics(classes, values, _TOP)
    if metric not in SCORE_METRICS:
        raise ValueError(f"{metric} is not computed from scores")
    return _Area(metric=metric, classes=classes, scores=values)


def top_k_statistics(classes: NDArray[np.integer], scores: Numbers, k: int) -> ExampleStatistics:
    """Return whether the class of each example is among the `k` of highest score.

    Args:
        classes: Class ids, shape (examples,).
        scores: Shape (examples, classes).
        k: How many classes may be named.
    """
    own = scores[np.arange(len(classes)), classes]
    at_least_as_high = (scores >= own[:, None]).sum(axis=1)
    return mean_statistics([float(rank <= k) for rank in at_least_as_high])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Area:
    """Area under a curve; the examples of a resample are weights."""

    metric: Metric
    classes: NDArray[np.integer]
    scores: Numbers

    @property
    def n_examples(self) -> int:
        return len(self.classes)

    def on(self, counts: Numbers) -> Numbers:
        return np.array([self._of(weights) for weights in counts])

    def _of(self, weights: Numbers) -> float:
        drawn = weights > 0
        classes, scores, weights = self.classes[drawn], self.scores[drawn], weights[drawn]
        if scores.shape[1] == 2:
            of_class = {1: scores[:, 1] - scores[:, 0]}
        else:
            of_class = {number: scores[:, number] for number in np.unique(classes)}
        area = roc_auc_score if self.metric == "roc-auc" else average_precision_score
        areas = []
        for number, values in of_class.items():
            truth = classes == number
            if truth.all() or not truth.any():
                return float("nan")
            areas.append(float(area(truth, values, sample_weight=weights)))
        return float(np.mean(areas))
