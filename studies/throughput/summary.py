"""Ratios with their spread, and whether the arms reach the same metric, out of what was measured."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import t as student

Runs = Mapping[str, Sequence[Mapping[str, Any]]]

BASELINE = "trainer"
# Each pair differs in one thing: its name, the arm with the waste, the arm without.
STEPS: tuple[tuple[str, str, str], ...] = (
    ("padding to the longest of the batch, not to the limit", "trainer-padded-to-max", "trainer"),
    ("base model loaded once", "trainer", "trainer-resident"),
    ("data tokenized once", "trainer-resident", "trainer-tokenized-once"),
    ("length buckets", "trainer-tokenized-once", "trainer-buckets"),
    ("lean loop, search and durability included", "trainer-buckets", "engine-no-pruning"),
    ("pruning, less the time to measure packs", "engine-no-pruning", "engine"),
)  # fmt: skip
AGAINST: tuple[tuple[str, str], ...] = (
    ("engine", "trainer-padded-to-max"), ("engine", "trainer"), ("engine", "trainer-hyperband"),
    ("engine-no-pruning", "trainer-padded-to-max"), ("engine-no-pruning", "trainer"),
    ("engine-no-pruning", "trainer-hyperband"),
)  # fmt: skip


def summarize(
    runs: Runs, overhead: Mapping[str, Any], packs: Sequence[Mapping[int, float]], n_trials: int
) -> dict[str, Any]:
    """Return all that the tables show."""
    return {
        "arms": {name: _arm(name, runs, n_trials) for name in runs},
        "against": [
            {"arm": arm, "baseline": other, **_both_ratios(runs, other, arm)}
            for arm, other in AGAINST
            if arm in runs and other in runs
        ],
        "ablation": [
            {"what": what, "from": before, "to": after, **_both_ratios(runs, before, after)}
            for what, before, after in STEPS
            if before in runs and after in runs
        ],
        "per_trial": [
            {name: statistics.fmean(run["values"][number] for run in runs[name]) for name in runs}
            for number in range(n_trials)
        ],
        "overhead": spread(overhead["ratios"]),
        "packs": {size: spread([one[1] / one[size] for one in packs]) for size in packs[0] if size > 1},
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return geometric mean, lowest and highest of ratios."""
    return {"mean": statistics.geometric_mean(values), "low": min(values), "high": max(values)}


def mean_difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the mean of paired differences with its 95 % interval by Student's t."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    reach = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n) if n > 1 else math.inf
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def _arm(name: str, runs: Runs, n_trials: int) -> dict[str, Any]:
    mine, other = runs[name], runs[BASELINE]
    wholes = [
        (value, reference)
        for run, base in zip(mine, other, strict=True)
        for value, reference, steps, all_steps in zip(
            run["values"], base["values"], run["steps"], base["steps"], strict=True
        )
        if steps == all_steps
    ]
    return {
        "trials_per_hour": statistics.fmean(3600 * n_trials / run["wall_s"] for run in mine),
        "wall_s": statistics.fmean(run["wall_s"] for run in mine),
        "cpu_s": statistics.fmean(run["cpu_s"] for run in mine),
        "steps": statistics.fmean(sum(run["steps"]) for run in mine),
        "best": statistics.fmean(run["best"] for run in mine),
        # Of trials that were trained to their end by both: pruned ones stand at an earlier rung.
        "mean_value": statistics.fmean(value for value, _ in wholes),
        "n_compared": len(wholes),
        "difference": mean_difference([value for value, _ in wholes], [reference for _, reference in wholes]),
    }  # fmt: skip


def _both_ratios(runs: Runs, before: str, after: str) -> dict[str, dict[str, float]]:
    """Return how many times as quick `after` is, by the clock and by the processor's time."""
    pairs = list(zip(runs[before], runs[after], strict=True))
    return {clock: spread([a[f"{clock}_s"] / b[f"{clock}_s"] for a, b in pairs]) for clock in ("wall", "cpu")}


def print_summary(slug: str, measured: Mapping[str, Any]) -> None:
    """Print the tables of one question."""
    summary, metric = measured["summary"], measured["metric"]
    print(f"\n{slug}: {measured['n_trials']} trials of {measured['rung_steps'][-1]} steps")
    columns = f"{'trials/h':>9}{'wall s':>9}{'CPU s':>9}{'steps':>7}{'best ' + metric:>12}{'mean':>9}"
    print(f"{'arm':<26}{columns}   difference to trainer")
    for name, arm in summary["arms"].items():
        gap = arm["difference"]
        print(
            f"{name:<26}{arm['trials_per_hour']:9.0f}{arm['wall_s']:9.2f}{arm['cpu_s']:9.2f}{arm['steps']:7.0f}"
            f"{arm['best']:12.4f}{arm['mean_value']:9.4f}   {gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
            f" of {arm['n_compared']}"
        )
    for row in summary["against"]:
        print(f"{row['arm']} against {row['baseline']}: {_shown(row)}")
    for row in summary["ablation"]:
        print(f"{row['what']} ({row['from']} -> {row['to']}): {_shown(row)}")
    print(f"loop against a bare PEFT loop, seconds per step: {_one(summary['overhead'])}")
    for size, ratio in summary["packs"].items():
        print(f"pack of {size} against one by one, trial-steps a second: {_one(ratio)}")
    print(f"largest difference between the two adapters: {measured['overhead']['largest_difference']:.2e}")
    for number, values in enumerate(summary["per_trial"]):
        print(f"trial {number}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))


def _shown(row: Mapping[str, Mapping[str, float]]) -> str:
    return f"{_one(row['wall'])} by the clock, {_one(row['cpu'])} in CPU time"


def _one(ratio: Mapping[str, float]) -> str:
    return f"{ratio['mean']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
