"""Which of the feasible candidates stand out: the Pareto set, the cheapest reasonable one, the safest one."""

from collections.abc import Iterable, Sequence

from advisor.recommendation.ranking import FEW_PAPERS, REASONABLE_LOSS_POINTS, Scored, leader
from advisor.recommendation.records import Role
from advisor.spec import Preference

# The cheapest is worth a line of its own when it takes at most this share of the best one's memory.
_LESS_MEMORY = 0.8


def roles_of(scored: Sequence[Scored], prefer: Preference = "quality") -> dict[int, tuple[Role, ...]]:
    """Return the roles of those candidates (by their place in the sequence) that have one.

    - "best": what is ranked first (`ranking.leader`).
    - "cheapest": least memory of those that lose at most `REASONABLE_LOSS_POINTS` of expected quality; the best one
      itself when nothing saves a fifth.
    - "safest": highest lower end of the interval of the expected quality, of what papers tried on the task itself;
      of what most papers tried elsewhere where nothing was.
    - "pareto": no other is at least as good in quality, memory and time, and better in one.
    """
    if not scored:
        return {}
    found: dict[int, list[Role]] = {}
    first = leader(scored, prefer)
    best = next(at for at, one in enumerate(scored) if one is first)
    found.setdefault(best, []).append("best")
    reasonable = [
        at
        for at, one in enumerate(scored)
        if one.quality.points >= scored[best].quality.points - REASONABLE_LOSS_POINTS
    ]
    bytes_of = [one.fit.estimate.peak_memory_bytes for one in scored]
    cheapest = min(reasonable or [best], key=lambda at: (bytes_of[at], at))
    if bytes_of[cheapest] > _LESS_MEMORY * bytes_of[best]:
        cheapest = best
    found.setdefault(cheapest, []).append("cheapest")
    safest = max(range(len(scored)), key=lambda at: (*_known(scored[at]), scored[at].quality.low))
    found.setdefault(safest, []).append("safest")
    for at in pareto(scored):
        found.setdefault(at, []).append("pareto")
    return {at: tuple(roles) for at, roles in found.items()}


def _known(one: Scored) -> tuple[bool, bool]:
    return one.forecast.task_papers > 0, one.forecast.papers >= FEW_PAPERS


def pareto(scored: Sequence[Scored]) -> list[int]:
    """Return the places of those that no other dominates in expected quality, memory and (where known) time."""
    values = [_values(one) for one in scored]
    return [at for at, own in enumerate(values) if not any(_dominates(other, own) for other in values)]


def _values(one: Scored) -> tuple[float, ...]:
    estimate = one.fit.estimate
    seconds = estimate.step_time_s / one.fit.batch_size if estimate.step_time_s is not None else 0.0
    return (-one.quality.points, float(estimate.peak_memory_bytes), seconds)


def _dominates(one: Iterable[float], other: Iterable[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(left <= right for left, right in pairs) and any(left < right for left, right in pairs)
