"""Ranked feasible candidates with the reasons for them: what `recommend` prints and `tune` reads."""

from advisor.recommendation.advice import recommend
from advisor.recommendation.records import (
    SCHEMA_VERSION,
    Confidence,
    RankedCandidate,
    Reason,
    Recommendation,
    RejectedCandidate,
)

__all__ = [
    "SCHEMA_VERSION",
    "Confidence",
    "RankedCandidate",
    "Reason",
    "Recommendation",
    "RejectedCandidate",
    "recommend",
]
