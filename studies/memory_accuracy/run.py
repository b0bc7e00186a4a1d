"""How far the dry run is from published memory of PEFT's own method comparison.

    python -m studies.memory_accuracy.run [--comparison CSV] [--lengths 560 ...] [--output FILE]

Each published run is dry-run with its own adapter configuration; nothing is fitted to it. One number is not published
and is the same for all: the padded length of the longest batches. `--lengths` takes several and prints the error for
each, so that a reader sees how much depends on it.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from advisor.catalog.gpus import find_gpu
from advisor.dryrun.estimate import estimate_workload
from advisor.errors import AdvisorError
from studies.comparison import COMPARISON, signed_errors, summary, workload_of_row
from studies.gpu.entry import machine

HERE = Path(__file__).parent
LENGTH = 560


def main() -> int:
    """Dry-run every published run and print the table of errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparison", type=Path, default=COMPARISON, help="table in the columns of PEFT's comparison")
    parser.add_argument("--lengths", type=int, nargs="+", default=[LENGTH], help="padded length of the longest batches")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "memory.json")
    arguments = parser.parse_args()
    runs = pd.read_csv(arguments.comparison)
    results: dict[str, Any] = {"lengths": {}, "machine": machine("cpu")}
    for length in arguments.lengths:
        rows = [compare(row, length) for _, row in runs.iterrows()]
        print_table(rows, length)
        results["lengths"][str(length)] = {"rows": rows, "summary": summarize(rows)}
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def compare(row: "pd.Series[Any]", length: int) -> dict[str, Any]:
    """Dry-run one published run; return both numbers, or why it cannot be dry-run."""
    result: dict[str, Any] = {"experiment": row.experiment, "measured_bytes": int(row.mem_reserved_99th_bytes)}
    begun = time.perf_counter()
    try:
        estimate = estimate_workload(workload_of_row(row, length), gpu=find_gpu("L40S")).estimate
    except AdvisorError as error:
        return result | {"refused": str(error)}
    return result | {
        "reserved_bytes": estimate.peak_reserved_bytes,
        "allocated_bytes": estimate.peak_allocated_bytes,
        "same_trainable_params": estimate.trainable_params == int(row.trainable_params),
        "duration_s": round(time.perf_counter() - begun, 2),
    }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean, median, largest and signed error of reserved and allocated peaks in percent."""
    through = [row for row in rows if "refused" not in row]
    return {
        "runs": len(rows),
        "through": len(through),
        "same_trainable_params": sum(row["same_trainable_params"] for row in through),
        **{
            name: summary(signed_errors(through, f"{name}_bytes", "measured_bytes"))
            for name in ("reserved", "allocated")
        },
    }


def print_table(rows: list[dict[str, Any]], length: int) -> None:
    """Print one line per published run, then the errors."""
    print(f"\nlongest batch padded to {length} tokens; published: 99th percentile of reserved memory, GB")
    print(f"{'experiment':<58} {'published':>9} {'reserved':>9} {'error':>7} {'allocated':>9}  parameters")
    for row in rows:
        if "refused" in row:
            print(f"{row['experiment']:<58} {row['measured_bytes'] / 1e9:9.2f}  refused: {row['refused']}")
            continue
        error = 100 * (row["reserved_bytes"] / row["measured_bytes"] - 1)
        same = "equal" if row["same_trainable_params"] else "differ"
        print(
            f"{row['experiment']:<58} {row['measured_bytes'] / 1e9:9.2f} {row['reserved_bytes'] / 1e9:9.2f} "
            f"{error:+6.1f}% {row['allocated_bytes'] / 1e9:9.2f}  {same}"
        )
    found = summarize(rows)
    print(f"{found['through']} of {found['runs']} went through, {found['same_trainable_params']} with equal parameters")
    for name in ("reserved", "allocated"):
        print(f"{name:<10} " + ", ".join(f"{what} {value:.2f} %" for what, value in found[name].items()))


if __name__ == "__main__":
    sys.exit(main())
