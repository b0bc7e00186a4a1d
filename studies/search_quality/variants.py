"""Would other settings of the product's search do better? The same replays in memory, which is much quicker.

    python -m studies.search_quality.variants [--problem PROBLEM] [--seeds 24]
    python -m studies.search_quality.variants --method lora [--problem PROBLEM] [--seeds 20]   # which sampler?

Sampler and pruner are built here with the product's settings, or with one changed. The warm starts come as recommended
and one after the other, unless the variant says otherwise; `run.py` replays the order that the product has now.

With `--method` the space is that of one method alone, so that it has no conditions and a Gaussian process can model it:
Optuna's samplers are then compared at the same number of startup trials, with the product's pruner, paired by seed.
"""

import argparse
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from advisor.candidates import Candidate
from advisor.search.loop import WARM_START_SHARE
from advisor.search.sampling import N_RANDOM_TRIALS
from advisor.search.study import N_FREE_TRIALS
from advisor.search_space import SearchSpace
from studies.gpu.entry import machine
from studies.search_quality.problem import params, problem
from studies.search_quality.replay import Arm, Replay, Trace
from studies.search_quality.run import RESULTS, interval
from studies.search_quality.surrogate import compare_models, fit
from studies.search_quality.table import TABLE, read_table

ARMS: tuple[Arm, ...] = ("warm", "wrong", "cold")
N_TRIALS = (10, 30)
# One method alone: what is asked, and after how many trials.
SAMPLER_ARMS: tuple[Arm, ...] = ("warm", "cold")
SAMPLED_AT = (10, 20, 30)

SamplerName = Literal["tpe", "gp", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Settings of a search.

    Attributes:
        share: Largest share of the trials that are warm starts.
        n_random: Trials after which the sampler models; warm starts count.
        n_random_beside: Trials that the sampler draws at random in any case: warm starts do not count.
        n_free: Complete trials beyond the warm starts that the pruner waits for; None for no pruner.
        spread: Warm starts after the first take turns with drawn trials.
        sampler: "tpe" as in the product, "gp" is Optuna's `GPSampler`; both model after `n_random` trials.
    """

    share: float = WARM_START_SHARE
    n_random: int = N_RANDOM_TRIALS
    n_random_beside: int = 0
    n_free: int | None = N_FREE_TRIALS
    spread: bool = False
    sampler: SamplerName = "tpe"


VARIANTS = {
    "warm starts one after the other": Variant(),
    "6 random trials beside warm starts": Variant(n_random_beside=6),
    "the recommendation alone": Variant(share=0.0),
    "warm starts and drawn trials in turn": Variant(spread=True),
    "no pruner": Variant(n_free=None),
}
SAMPLERS = {
    "tpe": Variant(),
    "gp": Variant(sampler="gp"),
    "random": Variant(sampler="random"),
    "tpe, no pruner": Variant(n_free=None),
    "gp, no pruner": Variant(sampler="gp", n_free=None),
}


def main() -> None:
    """Replay every variant; write results/variants-<problem>.json or samplers-<problem>-<method>.json, print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=list(params()["problems"]), action="append")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--lines", type=int, help="of the table; all without it")
    parser.add_argument("--method", help="compare samplers on the space of this method alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ExperimentalWarning)
    RESULTS.mkdir(exist_ok=True)
    for problem_name in arguments.problem or params()["problems"]:
        replays = prepare(problem_name, arguments.lines, arguments.method)
        if arguments.method:
            compared = compare_samplers(replays, arguments.seeds)
            result = {"problem": problem_name, "method": arguments.method, **compared}
            name = f"samplers-{problem_name}-{arguments.method}.json"
        else:
            variants = compare_variants(problem_name, replays, arguments.seeds)
            result = {"problem": problem_name, "variants": variants}
            name = f"variants-{problem_name}.json"
        result |= {"n_seeds": arguments.seeds, "machine": machine("cpu")}
        (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n")


def compare_variants(name: str, replays: Replay, n_seeds: int) -> dict[str, Any]:
    """Replay `VARIANTS` and print a table; return settings and mean regrets by name."""
    columns = [f"{arm} {n}" for arm in ARMS for n in N_TRIALS]
    print(f"\n| {name} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    found = {}
    for variant_name, variant in VARIANTS.items():
        row = {}
        for arm in ARMS:
            for n in N_TRIALS:
                traces = [replay_variant(replays, variant, arm, n, seed) for seed in range(n_seeds)]
                row[f"{arm}-{n}"] = interval([trace.regrets[-1] for trace in traces])
        found[variant_name] = {"settings": asdict(variant), "regret": row}
        cells = (f"{one['mean']:.3f} ±{(one['high'] - one['low']) / 2:.3f}" for one in row.values())
        print(f"| {variant_name} | {' | '.join(cells)} |", flush=True)
    return found


def compare_samplers(replays: Replay, n_seeds: int) -> dict[str, Any]:
    """Replay `SAMPLERS` on a space without conditions and print tables.

    Returns:
        Mean regrets by sampler, and differences under the same pruner, paired by seed: below zero the first is the
        better one. `study_s` is the processor time of a study of 30 trials, surrogate included.
    """
    found: dict[str, Any] = {}
    regrets: dict[str, dict[str, list[float]]] = {}
    for name, variant in SAMPLERS.items():
        arms = SAMPLER_ARMS if variant.n_free is not None else ("cold",)
        began_s, regrets[name] = time.process_time(), {}
        for arm in arms:
            traces = [replay_variant(replays, variant, arm, SAMPLED_AT[-1], seed) for seed in range(n_seeds)]
            regrets[name] |= {f"{arm}-{n}": [trace.regrets[n - 1] for trace in traces] for n in SAMPLED_AT}
        found[name] = {
            "settings": asdict(variant),
            "study_s": round((time.process_time() - began_s) / (n_seeds * len(arms)), 2),
            "regret": {key: interval(values) for key, values in regrets[name].items()},
        }
    differences = {
        f"{name} - {other}": {key: _paired(values, regrets[other][key]) for key, values in regrets[name].items()}
        for name, other in (("gp", "tpe"), ("random", "tpe"), ("gp", "random"), ("gp, no pruner", "tpe, no pruner"))
    }
    columns = [f"{arm} {n}" for arm in SAMPLER_ARMS for n in SAMPLED_AT]
    print(f"\n| {replays.problem.task.slug} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name, one in found.items():
        print(f"| {name} ({one['study_s']} s) | {_cells(one['regret'], len(columns))} |")
    for name, row in differences.items():
        print(f"| {name} | {_cells(row, len(columns))} |", flush=True)
    return {"samplers": found, "differences": differences}


def prepare(name: str, n_lines: int | None = None, method: str | None = None) -> Replay:
    """Return the replay of a task, with the model that cross-validation prefers.

    Args:
        name: Of the problem in params.json.
        n_lines: Lines of the table that are used; None for all.
        method: The space has this method alone, and its best is the best of that method; None for all methods.
    """
    given, seed = problem(name), params()["seed"]
    if method is not None:
        parts = tuple(part for part in given.space.methods if part.method == method)
        warm_starts = tuple(candidate for candidate in given.warm_starts if candidate.method == method)
        given = replace(given, space=SearchSpace(methods=parts), warm_starts=warm_starts)
    rows = read_table(TABLE / f"{name}.jsonl", n_lines)
    metric = given.task.primary_metric
    errors = compare_models(rows, given.space, metric, seed=seed)
    kind = min(errors, key=lambda model: errors[model]["rmse"])
    return Replay.of(given, fit(rows, given.space, metric, kind, seed=seed), seed=seed)


def replay_variant(replays: Replay, variant: Variant, arm: Arm, n_trials: int, seed: int) -> Trace:
    """Replay one study of a variant."""
    warm: Sequence[Candidate] = () if arm == "cold" else replays.warm_starts(arm, seed)
    warm = warm[: max(1, int(n_trials * variant.share))]
    n_random = variant.n_random
    if variant.n_random_beside:
        n_random = len(warm) + variant.n_random_beside
    sampler = _sampler(variant.sampler, seed, n_random)
    pruner: BasePruner = NopPruner()
    if variant.n_free is not None:
        pruner = MedianPruner(n_startup_trials=max(1, len(warm)) + variant.n_free)
    queue: list[Candidate | None] = list(warm)
    if variant.spread:
        queue = [one for candidate in warm for one in (candidate, None)][:n_trials]
    return replays.plain(sampler, pruner, n_trials, seed, warm_starts=queue)


def _sampler(name: SamplerName, seed: int, n_random: int) -> BaseSampler:
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=n_random, warn_independent_sampling=False)
    return TPESampler(seed=seed, n_startup_trials=n_random, multivariate=True, group=True, constant_liar=True)


def _paired(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    return interval([a - b for a, b in zip(first, second, strict=True)])


def _cells(row: Mapping[str, Mapping[str, float]], n_columns: int) -> str:
    """Return means with intervals; what was not replayed stays empty on the left."""
    cells = [f"{one['mean']:.4f} [{one['low']:.4f}, {one['high']:.4f}]" for one in row.values()]
    return " | ".join([""] * (n_columns - len(cells)) + cells)


if __name__ == "__main__":
    main()
