"""Would other settings of the product's search do better? The same replays in memory, which is much quicker.

    python -m studies.search_quality.variants [--task TASK] [--seeds 24]

Sampler and pruner are built here with the product's settings, or with one changed; the variant "product" is there
to be compared with what `run.py` finds through the product's own loop.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler

from advisor.candidates import Candidate
from advisor.search.loop import WARM_START_SHARE
from advisor.search.study import N_FREE_TRIALS, N_RANDOM_TRIALS
from studies.gpu.entry import machine
from studies.search_quality.problem import params, problem
from studies.search_quality.replay import Arm, Replay, Trace
from studies.search_quality.run import RESULTS, interval
from studies.search_quality.surrogate import compare_models, fit
from studies.search_quality.table import TABLE, read_table

ARMS: tuple[Arm, ...] = ("warm", "wrong", "cold")
N_TRIALS = (10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Settings of a search.

    Attributes:
        share: Largest share of the trials that are warm starts.
        n_random: Trials after which the sampler models; warm starts count.
        n_random_beside: Trials that the sampler draws at random in any case: warm starts do not count.
        n_free: Complete trials beyond the warm starts that the pruner waits for; None for no pruner.
        spread: Warm starts after the first take turns with drawn trials.
    """

    share: float = WARM_START_SHARE
    n_random: int = N_RANDOM_TRIALS
    n_random_beside: int = 0
    n_free: int | None = N_FREE_TRIALS
    spread: bool = False


VARIANTS = {
    "product": Variant(),
    "6 random trials beside warm starts": Variant(n_random_beside=6),
    "the recommendation alone": Variant(share=0.0),
    "warm starts and drawn trials in turn": Variant(spread=True),
    "no pruner": Variant(n_free=None),
}


def main() -> None:
    """Replay every variant; write results/variants-<task>.json and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(params()["tasks"]), action="append")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--lines", type=int, help="of the table; all without it")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ExperimentalWarning)
    RESULTS.mkdir(exist_ok=True)
    for slug in arguments.task or params()["tasks"]:
        replays = prepare(slug, arguments.lines)
        columns = [f"{arm} {n}" for arm in ARMS for n in N_TRIALS]
        print(f"\n| {slug} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
        found = {}
        for name, variant in VARIANTS.items():
            row = {}
            for arm in ARMS:
                for n in N_TRIALS:
                    traces = [replay_variant(replays, variant, arm, n, seed) for seed in range(arguments.seeds)]
                    row[f"{arm}-{n}"] = interval([trace.regrets[-1] for trace in traces])
            found[name] = {"settings": asdict(variant), "regret": row}
            cells = (f"{one['mean']:.3f} ±{(one['high'] - one['low']) / 2:.3f}" for one in row.values())
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        result = {"task": slug, "n_seeds": arguments.seeds, "variants": found, "machine": machine("cpu")}
        (RESULTS / f"variants-{slug}.json").write_text(json.dumps(result, indent=1) + "\n")


def prepare(slug: str, n_lines: int | None = None) -> Replay:
    """Return the replay of a task, with the model that cross-validation prefers."""
    given, seed = problem(slug), params()["seed"]
    rows = read_table(TABLE / f"{slug}.jsonl", n_lines)
    metric = given.task.primary_metric
    errors = compare_models(rows, given.space, metric, seed=seed)
    kind = min(errors, key=lambda name: errors[name]["rmse"])
    return Replay.of(given, fit(rows, given.space, metric, kind, seed=seed), seed=seed)


def replay_variant(replays: Replay, variant: Variant, arm: Arm, n_trials: int, seed: int) -> Trace:
    """Replay one study of a variant."""
    warm: Sequence[Candidate] = () if arm == "cold" else replays.warm_starts(arm, seed)
    warm = warm[: max(1, int(n_trials * variant.share))]
    n_random = variant.n_random
    if variant.n_random_beside:
        n_random = len(warm) + variant.n_random_beside
    sampler = TPESampler(seed=seed, n_startup_trials=n_random, multivariate=True, group=True, constant_liar=True)
    pruner: BasePruner = NopPruner()
    if variant.n_free is not None:
        pruner = MedianPruner(n_startup_trials=max(1, len(warm)) + variant.n_free)
    queue: list[Candidate | None] = list(warm)
    if variant.spread:
        queue = [one for candidate in warm for one in (candidate, None)][:n_trials]
    return replays.plain(sampler, pruner, n_trials, seed, warm_starts=queue)


if __name__ == "__main__":
    main()
