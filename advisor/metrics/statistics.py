"""Statistics of single examples whose sums give a metric, so that a thousand resamples of a split take a moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
# Sums of statistics, shape (resamples, statistics) -> metric, shape (resamples,)
Score = Callable[[Numbers], Numbers]
# Called after each part of a long evaluation: examples done, examples in all.
Progress = Callable[[int, int], None]


class Resampled(Protocol):
    """A metric of one system that can be taken on resamples of its examples."""

    @property
    def n_examples(self) -> int:
        """How many examples there are."""

    def on(self, counts: Numbers) -> Numbers:
        """Return the metric of each resample, shape (resamples,); NaN where it is not defined.

        Args:
            counts: How often each example stands in each resample, shape (resamples, examples).
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleStatistics:
    """A metric that is a function of sums over examples.

    Attributes:
        rows: What each example adds, shape (examples, statistics).
        score: From sums, shape (resamples, statistics), to the metric, shape (resamples,).
    """

    rows: Numbers
    score: Score

    @property
    def n_examples(self) -> int:
        """How many examples there are."""
        return len(self.rows)

    @property
    def value(self) -> float:
        """The metric of all examples."""
        return float(self.score(self.rows.sum(axis=0, keepdims=True))[0])

    def on(self, counts: Numbers) -> Numbers:
        """Return the metric of each resample, shape (resamples,), as `Resampled` says."""
        return self.score(counts @ self.rows)


def mean_statistics(values: Sequence[float]) -> ExampleStatistics:
    """Return the statistics of a metric that is a mean over examples."""
    numbers = np.array(values, dtype=np.float64)
    # The number of examples is a statistic too: a sum over a resample then has its own count.
    return ExampleStatistics(rows=np.stack([numbers, np.ones_like(numbers)], axis=1), score=mean_score)


def mean_score(sums: Numbers) -> Numbers:
    """Return the means of sums that stand beside their counts."""
    return sums[:, 0] / sums[:, 1]


def ratio(numerator: Numbers, denominator: Numbers) -> Numbers:
    """Divide, with 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
