"""Fit the constants of `feasibility.step_time` on the published runs, and judge them on runs they did not see.

    python -m studies.time_accuracy.fit [--splits 20] [--families] [--output FILE]

Eight constants are fitted by least squares on the logarithm of the step time, with a soft loss so that one odd method
does not pull the rest. LoRA-FA is left out: its own optimizer is not dry-run.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from advisor.catalog.gpus import find_gpu
from advisor.dryrun.roofline import PhasedCost, simulate
from advisor.dryrun.step import run_step
from advisor.feasibility.step_time import CONSTANTS, RooflineConstants
from studies.comparison import COMPARISON, workload_of_row
from studies.time_accuracy.run import HERE, LENGTH

FITTED = (
    "half_efficiency", "fp32_efficiency", "bandwidth_efficiency", "matmul_s", "forward_dispatch_s",
    "backward_dispatch_s", "list_tensor_s", "transfer_bytes_per_s",
)  # fmt: skip
GPU = find_gpu("L40S")
# Name of a published run, its published step time in seconds, its operators.
Run = tuple[str, float, Sequence[PhasedCost]]


def main() -> int:
    """Fit on all runs, then on halves, then without each family of methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=20, help="random halves to fit on and judge by the other half")
    parser.add_argument("--families", action="store_true", help="also leave out one method at a time")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "fit.json")
    arguments = parser.parse_args()
    runs = published_runs()
    constants = fit(runs)
    result: dict[str, Any] = {
        "fitted": {name: getattr(constants, name) for name in FITTED},
        "in_sample": mean_error(constants, runs),
        "shipped_constants": mean_error(CONSTANTS, runs),
        "halves": [half_error(runs, seed) for seed in range(arguments.splits)],
    }
    if arguments.families:
        families = sorted({name.split("/")[0] for name, *_ in runs})
        result["left_out"] = {family: left_out_error(runs, family) for family in families}
    print(json.dumps(result, indent=1))
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def published_runs() -> list[Run]:
    """Dry-run every published run but LoRA-FA."""
    runs = []
    for _, row in pd.read_csv(COMPARISON).iterrows():
        if "lora-fa" in str(row.optimizer):
            continue
        step_s = row.train_total_tokens / row.steps_done / row.tokens_per_sec_mean
        runs.append((str(row.experiment), float(step_s), run_step(workload_of_row(row, LENGTH)).costs))
    return runs


def fit(runs: Sequence[Run]) -> RooflineConstants:
    """Return the constants that fit the runs best."""

    def constants(logarithms: Sequence[float]) -> RooflineConstants:
        return replace(CONSTANTS, **dict(zip(FITTED, np.exp(logarithms).tolist(), strict=True)))

    def residuals(logarithms: Sequence[float]) -> list[float]:
        return [np.log1p(error) for error in errors(constants(logarithms), runs)]

    start = np.log([getattr(CONSTANTS, name) for name in FITTED])
    return constants(least_squares(residuals, start, loss="soft_l1", f_scale=0.04).x)


def errors(constants: RooflineConstants, runs: Sequence[Run]) -> list[float]:
    """Return the relative error of each run's step time."""
    return [simulate(costs, GPU, constants=constants).step_time_s / step_s - 1 for _, step_s, costs in runs]


def mean_error(constants: RooflineConstants, runs: Sequence[Run]) -> float:
    """Return the mean absolute error in percent."""
    return 100 * mean(abs(error) for error in errors(constants, runs))


def half_error(runs: Sequence[Run], seed: int) -> float:
    """Fit on a random half and return the error on the other."""
    order = np.random.default_rng(seed).permutation(len(runs)).tolist()
    seen, unseen = order[: len(runs) // 2], order[len(runs) // 2 :]
    return mean_error(fit([runs[number] for number in seen]), [runs[number] for number in unseen])


def left_out_error(runs: Sequence[Run], family: str) -> float:
    """Fit without a family of methods and return the error on it."""
    is_member = [name.split("/")[0] == family for name, *_ in runs]
    others = [run for run, member in zip(runs, is_member, strict=True) if not member]
    return mean_error(fit(others), [run for run, member in zip(runs, is_member, strict=True) if member])


if __name__ == "__main__":
    sys.exit(main())
