"""How far estimated step times are from those that PEFT's own method comparison published.

    python -m studies.time_accuracy.run [--comparison CSV] [--length 215] [--output FILE]

Published: tokens per second of each run, and the tokens of all its steps; so the mean step time follows. Batches are
sorted by length, so they are padded little; what is not published is the padded length of the mean batch (`--length`).
The constants in `feasibility.step_time` were fitted on these runs, so the error here is in-sample; what remains for a
method that the fit did not see stands in that module.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from advisor.catalog.gpus import find_gpu
from advisor.dryrun.roofline import simulate
from advisor.dryrun.step import run_step
from advisor.errors import AdvisorError
from studies.comparison import COMPARISON, signed_errors, summary, workload_of_row
from studies.gpu.entry import machine

HERE = Path(__file__).parent
LENGTH = 215


def main() -> int:
    """Dry-run every published run and print the table of errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparison", type=Path, default=COMPARISON, help="table in the columns of PEFT's comparison")
    parser.add_argument("--length", type=int, default=LENGTH, help="padded length of the mean batch")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "time.json")
    arguments = parser.parse_args()
    rows = [compare(row, arguments.length) for _, row in pd.read_csv(arguments.comparison).iterrows()]
    print_table(rows)
    through = [row for row in rows if "refused" not in row]
    result = {
        "length": arguments.length, "rows": rows, "machine": machine("cpu"),
        "summary": summary(signed_errors(through, "estimated_s", "published_s")),
    }  # fmt: skip
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def compare(row: "pd.Series[Any]", length: int) -> dict[str, Any]:
    """Estimate the step of one published run."""
    tokens = row.train_total_tokens / row.steps_done
    result: dict[str, Any] = {"experiment": row.experiment, "published_s": tokens / row.tokens_per_sec_mean}
    try:
        time = simulate(run_step(workload_of_row(row, length)).costs, find_gpu("L40S"))
    except AdvisorError as error:
        return result | {"refused": str(error)}
    return result | {"estimated_s": time.step_time_s, "device_s": time.device_s, "host_s": time.host_s}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line per published run, then the errors."""
    print(f"{'experiment':<58} {'published':>9} {'estimate':>9} {'error':>7}   device   host, ms")
    for row in rows:
        if "refused" in row:
            print(f"{row['experiment']:<58} {1e3 * row['published_s']:9.1f}  refused: {row['refused']}")
            continue
        error = 100 * (row["estimated_s"] / row["published_s"] - 1)
        print(
            f"{row['experiment']:<58} {1e3 * row['published_s']:9.1f} {1e3 * row['estimated_s']:9.1f} {error:+6.1f}% "
            f"{1e3 * row['device_s']:8.1f} {1e3 * row['host_s']:8.1f}"
        )
    through = [row for row in rows if "refused" not in row]
    errors = summary(signed_errors(through, "estimated_s", "published_s"))
    print(f"{len(through)} of {len(rows)} went through: " + ", ".join(f"{k} {v:.2f} %" for k, v in errors.items()))


if __name__ == "__main__":
    sys.exit(main())
