"""Replay studies on the recorded table and compare what they find.

    python -m studies.search_quality.run [--problem PROBLEM] [--seeds 24] [--minutes 30] [--variant N_RANDOM_TRIALS=10]

Writes results/<problem>.json (with `--variant`, results/<problem>-<variant>.json, product arms only). `--minutes` ends
the replays after a whole seed; the same command goes on from there, as long as the table is the same (`--lines` takes
the first so many lines of it). `--summary` prints the tables of the results that are there. `--variant RATE_STEP=1`
tries the recommendations in their order, as they are.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from studies.gpu.entry import machine
from studies.search_quality.problem import Problem, params, problem
from studies.search_quality.replay import Arm, Replay, Trace, at_steps, changed
from studies.search_quality.simulated_runner import point_of
from studies.search_quality.surrogate import compare_models, deviations, fit
from studies.search_quality.table import TABLE, Row, read_table

RESULTS = Path(__file__).parent / "results"
N_RESAMPLED = 4000
# In trainings to the end.
STEP_BUDGETS = (3, 5, 10, 15, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Studies of one kind: an arm under a number of trials."""

    arm: Arm
    n_trials: int

    @property
    def name(self) -> str:
        """Name in results and tables."""
        return f"{self.arm}-{self.n_trials}"


# How many trials are planned decides how many warm starts are used; the others do not depend on it.
PLANS = tuple(
    Plan(arm=arm, n_trials=n_trials)
    for arm, n_trials in (
        ("warm", 10), ("warm", 30), ("wrong", 10), ("wrong", 30), ("cold", 10), ("cold", 30), ("random", 30),
        ("hyperband", 30),
    )
)  # fmt: skip
# First minus second, both at the end of the plan: regret of what the finals choose.
FINAL_QUESTIONS = {
    "warm at 10 trials - cold at 30": ("warm-10", "cold-30"),
    "warm at 10 - cold at 10": ("warm-10", "cold-10"),
    "warm at 30 - cold at 30": ("warm-30", "cold-30"),
    "wrong at 10 - cold at 10": ("wrong-10", "cold-10"),
    "wrong at 30 - cold at 30": ("wrong-30", "cold-30"),
}
# First minus second, at a number of trials: below zero the first is the better one.
QUESTIONS = {
    "warm at 10 trials - cold at 30": (("warm-10", 10), ("cold-30", 30)),
    "warm at 10 - cold at 10": (("warm-10", 10), ("cold-30", 10)),
    "warm at 20 - cold at 20": (("warm-30", 20), ("cold-30", 20)),
    "warm at 30 - cold at 30": (("warm-30", 30), ("cold-30", 30)),
    "wrong at 10 - cold at 10": (("wrong-10", 10), ("cold-30", 10)),
    "wrong at 20 - cold at 20": (("wrong-30", 20), ("cold-30", 20)),
    "wrong at 30 - cold at 30": (("wrong-30", 30), ("cold-30", 30)),
    "cold at 30 - random at 30": (("cold-30", 30), ("random-30", 30)),
    "cold at 30 - hyperband at 30": (("cold-30", 30), ("hyperband-30", 30)),
}


def main() -> None:
    """Replay, write results, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=list(params()["problems"]), action="append")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="per problem")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=NUMBER", help="a setting of the search")
    parser.add_argument("--lines", type=int, help="of the table; all without it")
    parser.add_argument("--summary", action="store_true", help="replay nothing")
    arguments = parser.parse_args()
    suffix = "".join(f"-{change}" for change in arguments.variant)
    for name in arguments.problem or params()["problems"]:
        path = RESULTS / f"{name}{suffix}.json"
        if not arguments.summary:
            deadline = time.monotonic() + 60 * arguments.minutes
            before = json.loads(path.read_text()) if path.exists() else None
            result = replay_problem(
                name, arguments.seeds, deadline, arguments.variant, n_lines=arguments.lines, before=before
            )
            RESULTS.mkdir(exist_ok=True)
            path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
        print_tables(json.loads(path.read_text()))


def replay_problem(
    name: str,
    n_seeds: int,
    deadline: float,
    variant: Sequence[str] = (),
    *,
    n_lines: int | None = None,
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Replay all plans with every seed until a time of the monotonic clock; return everything as plain data.

    Args:
        name: Of the problem in params.json.
        n_seeds: Seeds from 0 on.
        deadline: Of the monotonic clock; no seed is begun after it.
        variant: Settings of the search that are changed.
        n_lines: Lines of the table that are used; None for all.
        before: An earlier result; its seeds are kept if it was made from the same lines.
    """
    given = problem(name)
    rows = read_table(TABLE / f"{name}.jsonl", n_lines)
    metric, seed = given.task.primary_metric, params()["seed"]
    errors = compare_models(rows, given.space, metric, seed=seed)
    kind = min(errors, key=lambda name: errors[name]["rmse"])
    surrogate = fit(rows, given.space, metric, kind, seed=seed)
    replay = Replay.of(given, surrogate, seed=seed)
    changes = {name: float(number) for name, number in (change.split("=") for change in variant)}
    plans = [plan for plan in PLANS if not changes or plan.arm in ("warm", "wrong", "cold")]
    facts = table_facts(rows, given)
    traces: dict[str, list[Trace]] = {plan.name: [] for plan in plans}
    if before is not None and before["table"] == facts:
        traces = {plan.name: [_trace(trace) for trace in before["traces"][plan.name]] for plan in plans}
    with TemporaryDirectory(dir=_memory_folder()) as folder, changed(changes):
        for number in range(len(traces[plans[0].name]), n_seeds):
            if time.monotonic() > deadline:
                break
            for plan in plans:
                traces[plan.name].append(replay.study(plan.arm, plan.n_trials, number, Path(folder) / "study"))
    return {
        "problem": name, "variant": changes, "table": facts, "models": errors, "model": kind,
        "best": surrogate.best, "best_method": _best_method(rows, metric),
        "warm_start_regrets": [replay.regret(point_of(candidate, given.space)) for candidate in given.warm_starts],
        "noise": noise_of(rows, metric),
        "n_seeds": min(len(found) for found in traces.values()),
        "questions": answers(traces), "final_questions": final_answers(traces),
        "final_regret": {name: interval([trace.final_regret for trace in found]) for name, found in traces.items()},
        "by_trials": by_trials(traces), "by_steps": by_steps(traces),
        "pruned": {name: statistics.fmean(trace.n_pruned for trace in found) for name, found in traces.items()},
        "traces": {
            name: [{**asdict(trace), "regrets": [round(value, 4) for value in trace.regrets],
             "final_regret": round(trace.final_regret, 4)} for trace in found]
            for name, found in traces.items()
        },
        "machine": machine("cpu") | {"optuna": version("optuna")}, "seed": seed,
    }  # fmt: skip


def interval(values: Sequence[float], *, seed: int = 0) -> dict[str, float]:
    """Return mean and 95 % bootstrap interval of the mean."""
    sample = np.array(values)
    resampled = np.random.default_rng(seed).choice(sample, (N_RESAMPLED, len(sample))).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {"mean": round(float(sample.mean()), 5), "low": round(float(low), 5), "high": round(float(high), 5)}


def answers(traces: Mapping[str, Sequence[Trace]]) -> dict[str, dict[str, float]]:
    """Return the paired differences of `QUESTIONS`, seed by seed, with intervals."""
    found = {}
    for question, ((first, at), (second, other_at)) in QUESTIONS.items():
        if first in traces and second in traces:
            pairs = zip(traces[first], traces[second], strict=True)
            found[question] = interval([a.regrets[at - 1] - b.regrets[other_at - 1] for a, b in pairs])
    return found


def final_answers(traces: Mapping[str, Sequence[Trace]]) -> dict[str, dict[str, float]]:
    """Return the paired differences of `FINAL_QUESTIONS`, seed by seed, with intervals."""
    found = {}
    for question, (first, second) in FINAL_QUESTIONS.items():
        if first in traces and second in traces:
            pairs = zip(traces[first], traces[second], strict=True)
            found[question] = interval([a.final_regret - b.final_regret for a, b in pairs])
    return found


def by_trials(traces: Mapping[str, Sequence[Trace]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return mean regret with interval after so many trials."""
    return {
        name: {
            str(n): interval([trace.regrets[n - 1] for trace in found])
            for n in (1, 3, 5, 10, 15, 20, 25, 30)
            if n <= len(found[0].regrets)
        }
        for name, found in traces.items()
        if found
    }


def by_steps(traces: Mapping[str, Sequence[Trace]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return mean regret with interval when so many optimizer steps are spent, for studies of 30 trials."""
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for name, found in traces.items():
        if name.endswith("-30") and found:
            whole = found[0].steps[0]  # the first trial is never stopped
            at = {budget: [at_steps(trace, budget * whole) for trace in found] for budget in STEP_BUDGETS}
            tables[name] = {
                str(budget): interval([value for value in values if value is not None])
                for budget, values in at.items()
                if None not in values
            }
    return tables


def table_facts(rows: Sequence[Row], given: Problem) -> dict[str, Any]:
    """Count what the table holds."""
    inside = {row.configuration for row in rows if row.origin != "other-method"}
    return {
        "trainings": len(rows), "configurations_in_space": len(inside),
        "configurations_of_other_methods": len({row.configuration for row in rows} - inside),
        "repeated": sum(row.seed != params()["seed"] for row in rows),
        "failed": sum(row.failure is not None for row in rows), "rung_steps": list(given.rung_steps),
    }  # fmt: skip


def noise_of(rows: Sequence[Row], metric: str) -> float:
    """Return the standard deviation between seeds at the last rung."""
    return float(np.sqrt(np.mean([curve[-1] ** 2 for curve in deviations(rows, metric)])))


def print_tables(result: Mapping[str, Any]) -> None:
    """Print regret by trials and steps and the answers, in Markdown."""
    print(f"\n## {result['problem']} {result['variant'] or ''}: {result['n_seeds']} seeds, model {result['model']}")
    print(json.dumps({name: result[name] for name in ("table", "models", "best", "noise", "warm_start_regrets")}))
    for title in ("by_trials", "by_steps"):
        budgets = sorted({budget for row in result[title].values() for budget in row}, key=int)
        print(f"\n| {title} | {' | '.join(budgets)} |\n|---|{'---:|' * len(budgets)}")
        for name, row in result[title].items():
            print(f"| {name} | {' | '.join(_cell(row.get(budget)) for budget in budgets)} |")
    for title, asked in (("regret", "questions"), ("regret after the finals", "final_questions")):
        print(f"\n| paired difference of {title} | mean and 95 % interval |\n|---|---:|")
        for question, found in result[asked].items():
            print(f"| {question} | {_cell(found)} |")
    print("\n| regret after the finals | mean and 95 % interval |\n|---|---:|")
    for name, found in result["final_regret"].items():
        print(f"| {name} | {_cell(found)} |")


def _cell(found: Mapping[str, float] | None) -> str:
    return "" if found is None else f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _trace(found: Mapping[str, Any]) -> Trace:
    return Trace(**{**found, "regrets": tuple(found["regrets"]), "steps": tuple(found["steps"])})


def _best_method(rows: Sequence[Row], metric: str) -> dict[str, float]:
    best: dict[str, float] = {}
    for row in rows:
        if row.failure is None:
            best[row.method] = max(best.get(row.method, 0.0), row.metrics[metric][-1])
    return best


def _memory_folder() -> str | None:
    """A study syncs its files; in memory that costs nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    main()
