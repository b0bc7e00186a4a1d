"""Memory and time that a candidate will take, by arithmetic only, against the budget."""

from advisor.feasibility.estimate import Estimate

__all__ = ["Estimate"]
