"""Areas under the ROC and the precision-recall curve, on many resamples at once.

The examples are sorted once, and the areas of all resamples are sums over them; asking scikit-learn for each takes
seconds for a thousand and gives the same. The area under the ROC curve is by the trapezoidal rule (Fawcett 2006, "An
introduction to ROC analysis", algorithm 3), and average precision interpolates nothing. More than two classes: the mean
over those that occur of one against the rest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.tasks import Metric
from advisor.metrics.statistics import Numbers, ratio

AREAS: tuple[Metric, ...] = ("roc-auc", "pr-auc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Areas:
    """An area that can be taken on resamples; implements `Resampled`.

    Attributes:
        metric: Of `AREAS`.
        classes: Class of each example, shape (examples,).
        scores: Shape (examples, 1) of the second of two classes, else (examples, classes).
    """

    metric: Metric
    classes: NDArray[np.intp]
    scores: Numbers

    @property
    def n_examples(self) -> int:
        """How many examples there are."""
        return len(self.classes)

    def on(self, counts: Numbers) -> Numbers:
        """Return the area of each resample, shape (resamples,); NaN where all its examples are of one class."""
        if self.scores.shape[1] == 1:
            return self._of_class(1, self.scores[:, 0], counts)
        areas = np.stack([self._of_class(number, column, counts) for number, column in enumerate(self.scores.T)])
        n_defined = (~np.isnan(areas)).sum(axis=0)
        found: Numbers = np.nansum(areas, axis=0) / np.where(n_defined, n_defined, np.nan)
        return found

    def _of_class(self, number: int, scores: Numbers, counts: Numbers) -> Numbers:
        order = np.argsort(-scores, kind="stable")
        drawn, truth = counts[:, order], self.classes[order] == number
        # Examples of equal scores are told from the others together: a cut stands only behind the last of them.
        cuts = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
        hits = np.cumsum(drawn * truth, axis=1)[:, cuts]
        misses = np.cumsum(drawn * ~truth, axis=1)[:, cuts]
        n_positive, n_negative = hits[:, -1], misses[:, -1]
        more = np.diff(hits, axis=1, prepend=0.0)
        if self.metric == "roc-auc":
            area = (np.diff(misses, axis=1, prepend=0.0) * (hits - more / 2)).sum(axis=1)
            whole = n_positive * n_negative
        else:
            area = (more * ratio(hits, hits + misses)).sum(axis=1)
            whole = n_positive
        is_defined = (n_positive > 0) & (n_negative > 0)
        found: Numbers = np.where(is_defined, area / np.where(is_defined, whole, 1.0), np.nan)
        return found
