"""Ratings from scores in many set-ups that share contenders: score = set-up + contender.

Boards and papers overlap in the models they measure but not in benchmarks, prompts or difficulty. The additive
model takes the difficulty of a set-up out: a model that is 18 points below a strong one on a board of two is placed
18 points below it, and not below everything that ever lost. Fitted by weighted least squares with a pull towards an
expected rating, which settles models with few scores; solved by alternating between set-ups and contenders.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# One unit is ten points of 100: a plain difference on every benchmark here.
POINTS_PER_UNIT = 10.0
PULL_WEIGHT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score of one contender.

    Attributes:
        setup: What scores may be compared in.
        contender: Name.
        value: Points of 100, higher is better.
        weight: How much it counts.
    """

    setup: tuple[str, ...]
    contender: str
    value: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """Where a contender stands.

    Attributes:
        units: Units of ten points above the average contender.
        weight: Total weight of its scores in set-ups with rivals.
    """

    units: float
    weight: float


Expectation = Callable[[dict[str, tuple[float, float]]], Callable[[str], float]]


def rate(scores: Sequence[Score], expect: Expectation, rounds: int = 200) -> dict[str, Rating]:
    """Return the rating of every contender that has a score beside a rival.

    Args:
        scores: All scores.
        expect: Given (rating, weight) by contender, returns what to expect of a contender; asked every round.
        rounds: Alternations; the fit has settled to three digits long before.
    """
    setups: dict[tuple[str, ...], list[Score]] = defaultdict(list)
    for score in scores:
        setups[score.setup].append(score)
    shared = [setup for setup in setups.values() if len({score.contender for score in setup}) > 1]
    weights: dict[str, float] = defaultdict(float)
    for setup in shared:
        for score in setup:
            weights[score.contender] += score.weight
    units = dict.fromkeys(sorted(weights), 0.0)
    for _ in range(rounds):
        pulled = expect({name: (units[name], weights[name]) for name in units})
        sums = {name: PULL_WEIGHT * pulled(name) for name in units}
        for setup in shared:
            level = _mean([(score.value / POINTS_PER_UNIT - units[score.contender], score.weight) for score in setup])
            for score in setup:
                sums[score.contender] += score.weight * (score.value / POINTS_PER_UNIT - level)
        units = {name: sums[name] / (weights[name] + PULL_WEIGHT) for name in units}
        middle = _mean([(value, weights[name]) for name, value in units.items()])
        units = {name: value - middle for name, value in units.items()}
    return {name: Rating(units=value, weight=weights[name]) for name, value in units.items()}


def _mean(pairs: list[tuple[float, float]]) -> float:
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else 0.0
