"""Strengths from pairwise contests: the Bradley-Terry model.

Published numbers cannot be averaged: papers differ in metric, data, model and training. What can be compared is
two contenders inside one set-up. Bradley-Terry turns such contests into one scale on which the odds that a beats b
are strength(a) / strength(b); contenders that never met are linked through shared rivals. Fitted by the
minorisation-maximisation steps of Hunter 2004 (MM algorithms for generalized Bradley-Terry models), with a prior
of one drawn contest against an average contender, so that few contests move nobody far.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

PRIOR_DRAWS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Two contenders in one set-up.

    Attributes:
        first: Name of the first contender.
        second: Name of the second.
        outcome: 1 when the first won clearly, 0 when it lost clearly, 0.5 for a draw.
        weight: How much the contest counts.
    """

    first: str
    second: str
    outcome: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """Where a contender stands.

    Attributes:
        log_odds: Natural logarithm of its odds against an average contender.
        weight: Total weight of its contests.
    """

    log_odds: float
    weight: float

    @property
    def cautious(self) -> float:
        """Log-odds less a margin that shrinks with the weight of the contests: unknown is not good."""
        return self.log_odds - 1.0 / math.sqrt(1.0 + self.weight)


def fit(contests: Iterable[Contest], rounds: int = 60) -> dict[str, Strength]:
    """Return the strength of every contender that took part."""
    wins: dict[str, float] = defaultdict(float)
    met: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for contest in contests:
        wins[contest.first] += contest.weight * contest.outcome
        wins[contest.second] += contest.weight * (1.0 - contest.outcome)
        met[contest.first][contest.second] += contest.weight
        met[contest.second][contest.first] += contest.weight
    odds = dict.fromkeys(sorted(met), 1.0)
    for _ in range(rounds):
        change = 0.0
        for name, rivals in ((name, met[name]) for name in odds):
            own = odds[name]
            share = PRIOR_DRAWS / (own + 1.0) + sum(weight / (own + odds[rival]) for rival, weight in rivals.items())
            odds[name] = (wins[name] + PRIOR_DRAWS / 2) / share
            change = max(change, abs(odds[name] - own) / own)
        if change < 1e-4:
            break
    return {
        name: Strength(log_odds=math.log(value), weight=sum(met[name].values())) for name, value in odds.items()
    }  # fmt: skip


def outcome_of_gap(gap_points: float) -> float:
    """Return the outcome of a contest that was won by so many points of 100.

    Gaps under one to two points are noise (repeated runs of PEFT's own comparison differ by a median standard
    deviation of 0.55 points); four points are a clear win.
    """
    return min(1.0, max(0.0, 0.5 + gap_points / 8.0))
