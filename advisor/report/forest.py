"""Intervals of the final differences on one scale, as numbers for a small inline drawing."""

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.report.verdict import Outcome, outcome
from advisor.result import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """One interval in percent of the drawing's width; `zero` is the line of no difference."""

    low: float
    value: float
    high: float
    zero: float
    outcome: Outcome


def forest(differences: tuple[Difference, ...]) -> Mapping[str, Whisker]:
    """Return a whisker for each contender that the best trial was compared with."""
    ends = [0.0] + [end for d in differences for end in (d.low, d.value, d.high)]
    low, high = min(ends), max(ends)
    pad = 0.05 * ((high - low) or 1.0)

    def place(value: float) -> float:
        return 100 * (value - low + pad) / (high - low + 2 * pad)

    return {
        d.against: Whisker(
            low=place(d.low), value=place(d.value), high=place(d.high), zero=place(0.0), outcome=outcome(d)
        )
        for d in differences
    }
