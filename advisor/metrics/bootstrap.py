"""How far a metric of one system may lie from what other examples would give: the percentile bootstrap.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; for BLEU Koehn 2004, "Statistical
Significance Tests for Machine Translation Evaluation". Examples are drawn with replacement and the metric is taken on
each draw, from sums of per-example statistics where it is made of them, else computed anew. What another seed of
training would give is not in it: `training.comparison`, which draws its examples here too, adds that for differences
of two systems.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from advisor.metrics.statistics import Numbers, Progress, Resampled

KeyT = TypeVar("KeyT", bound=Hashable)
N_RESAMPLES = 2000
# Numbers in memory at once: 2000 resamples of 100,000 examples would take 1.5 GiB.
_BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A metric with its percentile interval.

    Attributes:
        value: Of all examples.
        low: Lower end.
        high: Upper end.
        level: Share of resamples between the ends.
        n_resamples: How many were drawn.
        n_undefined: Of these without a value (such as one class only, for an area); left out of the ends.
    """

    value: float
    low: float
    high: float
    level: float
    n_resamples: int
    n_undefined: int = 0


def interval_of(
    sample: Resampled,
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    level: float = 0.95,
    progress: Progress | None = None,
) -> Interval:
    """Return a metric of one system with its percentile interval.

    Args:
        sample: The metric and its examples, as `measure.statistics_of` or its like for other inputs make them.
        seed: Of the draws: the same seed gives the same interval.
        n_resamples: How many.
        level: Between 0 and 1.
        progress: Called after each block of resamples with the number done and of all.

    Raises:
        ValueError: The metric is not defined on the examples or on any resample, or `level` is not a share.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    value = float(sample.on(np.ones((1, sample.n_examples)))[0])
    rng = np.random.default_rng(seed)
    found: list[Numbers] = []
    for counts in resamples(sample.n_examples, n_resamples, rng):
        found.append(sample.on(counts))
        if progress:
            progress(sum(map(len, found)), n_resamples)
    values = np.concatenate(found)
    defined = values[~np.isnan(values)]
    if np.isnan(value) or not len(defined):
        raise ValueError("the metric is not defined on these examples")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value=value, low=float(low), high=float(high), level=level, n_resamples=n_resamples,
        n_undefined=len(values) - len(defined),
    )  # fmt: skip


def intervals_together(
    samples: Mapping[KeyT, Resampled], *, seed: int, n_resamples: int, level: float = 0.95
) -> dict[KeyT, Interval]:
    """Return what `interval_of` returns for each of several metrics of the same examples, which are drawn once for all.

    Ends are not a number where the metric is not defined on one of the resamples: nothing is left out.

    Args:
        samples: All of the same number of examples.
        seed: Of the draws.
        n_resamples: How many.
        level: Between 0 and 1.
    """
    if not samples:
        return {}
    n_examples = next(iter(samples.values())).n_examples
    whole = np.ones((1, n_examples))
    blocks = [
        {key: sample.on(counts) for key, sample in samples.items()}
        for counts in resamples(n_examples, n_resamples, np.random.default_rng(seed))
    ]
    found = {}
    for key, sample in samples.items():
        values = np.concatenate([block[key] for block in blocks])
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        found[key] = Interval(
            value=float(sample.on(whole)[0]), low=float(low), high=float(high), level=level, n_resamples=n_resamples
        )
    return found


def resamples(n_examples: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Numbers]:
    """Draw examples with replacement; yield how often each was drawn, in blocks of shape (resamples, examples)."""
    chances = np.full(n_examples, 1 / n_examples)
    block = max(1, _BLOCK_NUMBERS // n_examples)
    for start in range(0, n_resamples, block):
        drawn = rng.multinomial(n_examples, chances, size=min(block, n_resamples - start))
        yield drawn.astype(np.float64)
