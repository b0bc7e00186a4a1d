"""Metrics of a score per class: how well a model ranks, before a threshold makes labels of its scores.

- roc-auc: area under the ROC curve; more than two classes: the mean over classes of one against the rest. 0 to 1.
- pr-auc: average precision (no interpolation); more than two classes: the mean over classes. 0 to 1.
- top-5-accuracy: share of examples whose class is among the five of highest score. Of equal scores the true class
  counts as the last: a model that scores all classes alike has found nothing. 0 to 1.

Scores are probabilities. For two classes any increasing function of them gives the same values; for more, logits do
not, since they are not comparable between examples. Means over classes take those that occur, expected, and not always.
An example of a label without scores (training never saw it) is none of these classes: one of the rest for an area, and
never among the five.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.tasks import Metric
from advisor.errors import InputError
from advisor.metrics.areas import AREAS, Areas
from advisor.metrics.statistics import ExampleStatistics, Numbers, Resampled, mean_statistics

SCORE_METRICS: tuple[Metric, ...] = (*AREAS, "top-5-accuracy")
_TOP = 5


def measure_scores(
    metrics: Sequence[Metric], expected: Sequence[str], scores: NDArray[np.floating], label_names: Sequence[str]
) -> dict[str, float]:
    """Return the value of each metric.

    Args:
        metrics: Of `SCORE_METRICS`.
        expected: Labels, one per example.
        scores: Shape (examples, classes), classes in the order of `label_names`.
        label_names: All classes; expected labels may be others.

    Raises:
        InputError: An area is not defined, because all examples are of one class.
        ValueError: A metric of another kind, shapes that do not fit, scores that are not numbers.
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
    if metric == "top-5-accuracy":
        return top_k_statistics(classes, values, _TOP)
    if metric not in SCORE_METRICS:
        raise ValueError(f"{metric} is not computed from scores")
    # Of two classes the second is told from the first by how much more probable it is.
    return Areas(metric=metric, classes=classes, scores=values[:, 1:] - values[:, :1] if len(number) == 2 else values)


def top_k_statistics(classes: NDArray[np.integer], scores: Numbers, k: int) -> ExampleStatistics:
    """Return whether the class of each example is among the `k` of highest score.

    Args:
        classes: Class ids, shape (examples,); below 0 for an example of none of them.
        scores: Shape (examples, classes).
        k: How many classes may be named.
    """
    own = scores[np.arange(len(classes)), classes]
    at_least_as_high = (scores >= own[:, None]).sum(axis=1)
    return mean_statistics([float(rank <= k) for rank in np.where(classes < 0, np.inf, at_least_as_high)])
