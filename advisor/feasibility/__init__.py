"""Memory a candidate will take, by arithmetic only, against the budget."""

from advisor.feasibility.memory import Estimate

__all__ = ["Estimate"]
