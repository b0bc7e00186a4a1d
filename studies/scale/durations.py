"""How long trials take, and how far they get: the shape of recorded trainings, to be scaled to any mean.

Durations and learning curves are those of `studies/search_quality/table`: 236 real trainings for each of two tasks,
with the seconds at which each reached its four rungs. Which of them the product's pruner would have stopped, and where,
is replayed here: in a random order, a training ends at the first rung at which its best value so far lies under the
median of those that came before it and went to their end (the rule of `advisor.search.study.make_pruner`).
"""

import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.search.study import N_FREE_TRIALS

TABLE = Path(__file__).parents[1] / "search_quality" / "table"
METRICS = {"clone-detection": "f1", "code-classification": "f1"}
# A training that took so many times the median of its task met other work on the machine, not a harder candidate.
DISTURBED = 5.0
N_WARM_STARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Trials relative to their mean.

    Attributes:
        trials: Durations of the rungs that a trial trained, in means of a whole trial as it ran (pruned ones too).
        stopped: Share of all trials that are stopped at each rung; the last rung is the share that is complete.
        spread: Standard deviation of the duration of a trial, in means.
        left_out: Trainings that were disturbed.
    """

    trials: tuple[tuple[float, ...], ...]
    stopped: tuple[float, ...]
    spread: float
    left_out: int


def recorded_shape(*, seed: int = 0) -> Shape:
    """Return the shape of both tasks together, each relative to its own mean."""
    trials: list[tuple[float, ...]] = []
    left_out = 0
    for task, metric in METRICS.items():
        lines = (TABLE / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row["failure"] is None]
        usual_s = statistics.median(row["duration_s"][-1] for row in rows)
        kept = [row for row in rows if row["duration_s"][-1] <= DISTURBED * usual_s]
        left_out += len(rows) - len(kept)
        random.Random(f"{task}:{seed}").shuffle(kept)
        trials += relative(pruned([_curve(row, metric) for row in kept]))
    most = max(map(len, trials))
    totals = [sum(trial) for trial in trials]
    return Shape(
        trials=tuple(trials),
        stopped=tuple(sum(len(trial) == rungs for trial in trials) / len(trials) for rungs in range(1, most + 1)),
        spread=statistics.pstdev(totals),
        left_out=left_out,
    )


def _curve(row: dict[str, Any], metric: str) -> tuple[Sequence[float], Sequence[float]]:
    return row["duration_s"], row["metrics"][metric]


def pruned(curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[tuple[float, ...]]:
    """Return the seconds of each rung that each trial trained under the median rule.

    Args:
        curves: Of each trial the seconds since its start and the values, at all rungs.
    """
    complete: list[Sequence[float]] = []
    found = []
    for at_s, values in curves:
        rungs = len(values)
        if len(complete) >= N_WARM_STARTS + N_FREE_TRIALS:
            bad = (rung for rung in range(rungs - 1) if _is_bad(values[: rung + 1], [one[rung] for one in complete]))
            rungs = next(bad, rungs - 1) + 1
        if rungs == len(values):
            complete.append(values)
        found.append(tuple(at_s[rung] - (at_s[rung - 1] if rung else 0.0) for rung in range(rungs)))
    return found


def _is_bad(own: Sequence[float], others: Sequence[float]) -> bool:
    return max(own) < statistics.median(others)


def relative(trials: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the trials in means of their sums."""
    mean_s = statistics.fmean(sum(trial) for trial in trials)
    return [tuple(duration_s / mean_s for duration_s in trial) for trial in trials]
