"""How far the dry run's memory and time are from the steps measured on a GPU.

    python -m studies.step_accuracy.compare [--results DIR] [--gpu NAME] [--output FILE]

Reads what `studies/gpu` measured (`step_accuracy.*.cuda.json`), dry-runs every case, prints both side by side with
the errors, then fits the constants on one half of the cases and judges them on the other. Which half a case belongs to
follows from its name alone, so a new measurement moves no old one.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from advisor.catalog.gpus import Gpu, find_gpu
from advisor.errors import AdvisorError
from advisor.spec import GIB
from studies.comparison import summary
from studies.gpu.entry import RESULTS, machine
from studies.step_accuracy.cases import Case
from studies.step_accuracy.dry_runs import DryRun, dry_run
from studies.step_accuracy.fit import LEAST_CASES, fitted_constants, fitted_workspace_bytes

ENTRY_NAME = "step_accuracy"
OUTPUT = Path(__file__).parent / "results" / "step_accuracy.json"
NOTHING_YET = (
    "no measurements yet: run `python studies/gpu/run.py --only step_accuracy --minutes 25` on a machine with an "
    "NVIDIA GPU, then compare again"
)
# Names here and in the result files of the measurements.
QUANTITIES = {
    "resident_bytes": "allocated_before_bytes", "allocated_bytes": "peak_allocated_bytes",
    "reserved_bytes": "peak_reserved_bytes", "step_s": "step_s", "kernel_s": "kernel_s",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured case.

    Attributes:
        case: What was run.
        gpu: Catalogue entry of the device.
        values: Measured quantities by the names of `QUANTITIES`, None where the machine could not tell.
    """

    case: Case
    gpu: Gpu
    values: Mapping[str, float | None]

    @property
    def in_first_half(self) -> bool:
        """Constants are fitted on the first half and judged on the second."""
        return hashlib.sha256(self.case.name.encode()).digest()[0] % 2 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All result files of one folder.

    Attributes:
        measured: Cases with numbers.
        not_run: Reason by name of those without.
        machines: Machines that the numbers come from, each once.
        constants: What the process and the device have, whatever is trained, as measured; None when not measured.
    """

    measured: tuple[Measurement, ...]
    not_run: Mapping[str, str]
    machines: tuple[Mapping[str, Any], ...]
    constants: Mapping[str, Any] | None


Row = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Compare, print, write; without measurements say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the measurements")
    parser.add_argument("--gpu", help="name in the catalogue, when it is not the one that the driver reports")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    found = read_measurements(arguments.results, arguments.gpu)
    for name, reason in found.not_run.items():
        print(f"{name:<40} not run: {reason}")
    if not found.measured:
        print(NOTHING_YET)
        return 0
    result = compare(found, dry_run)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def read_measurements(folder: Path, gpu: str | None = None) -> Measurements:
    """Read the result files of real runs; those of smoke runs are left alone.

    Args:
        folder: Where they are.
        gpu: Name in the catalogue; None takes the name that the driver reported.

    Raises:
        UnknownNameError: The catalogue does not have the GPU; name a similar one.
    """
    measured, not_run, machines, constants = [], {}, [], None
    for path in sorted(folder.glob(f"{ENTRY_NAME}.*.cuda.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        values = record["measured"]
        if record["part"] == "constants":
            constants = values
        elif "not_run" in values:
            not_run[values["case"]] = values["not_run"]
        else:
            if record["machine"] not in machines:
                machines.append(record["machine"])
            measured.append(
                Measurement(
                    case=Case.of(values["workload"]), gpu=find_gpu(gpu or record["machine"]["gpu"]),
                    values={name: values.get(theirs) for name, theirs in QUANTITIES.items()},
                )
            )  # fmt: skip
    return Measurements(
        measured=tuple(measured), not_run=not_run, machines=tuple(machines), constants=constants
    )  # fmt: skip


def compare(found: Measurements, estimate: Callable[[Case, Gpu], DryRun]) -> dict[str, Any]:
    """Dry-run every case, print the table and what the constants do, and return all of it.

    Args:
        found: What was measured.
        estimate: The dry run.
    """
    pairs: list[tuple[Measurement, DryRun]] = []
    refused: dict[str, str] = {}
    print_header()
    rows = []
    for measurement in found.measured:
        try:
            dry = estimate(measurement.case, measurement.gpu)
        except AdvisorError as error:
            refused[measurement.case.name] = str(error)
            print(f"{measurement.case.name:<40} refused: {error}")
            continue
        pairs.append((measurement, dry))
        rows.append(row_of(measurement, dry.as_shipped()))
        print_row(rows[-1])
    summaries = {name: summary_of(group) for name, group in groups_of(rows).items() if group}
    for name, per_quantity in summaries.items():
        print_summary(name, per_quantity)
    return {
        "schema_version": 1,
        "measured_on": list(found.machines),
        "estimated_with": machine("cpu"),
        "constants_measured": found.constants,
        "not_run": dict(found.not_run),
        "refused": refused,
        "rows": rows,
        "summary": summaries,
        "fit": judge_fit(pairs),
    }


def row_of(measurement: Measurement, estimated: Mapping[str, float | None]) -> Row:
    """Return what was measured of a case beside what is estimated, and the errors in percent (positive: too high)."""
    errors = {}
    for name in QUANTITIES:
        theirs, ours = measurement.values.get(name), estimated.get(name)
        if theirs and ours is not None:
            errors[name] = 100 * (ours / theirs - 1)
    return {
        "case": measurement.case.name,
        "mode": measurement.case.mode,
        "quantized": measurement.case.needs_bitsandbytes,
        "half": "first" if measurement.in_first_half else "second",
        "measured": dict(measurement.values),
        "estimated": dict(estimated),
        "error_percent": errors,
    }


def groups_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows by kind: training with ordinary and with quantized numbers, and without training."""
    return {
        "training": [row for row in rows if row["mode"] == "training" and not row["quantized"]],
        "training, quantized": [row for row in rows if row["mode"] == "training" and row["quantized"]],
        "evaluation and generation": [row for row in rows if row["mode"] != "training"],
    }


def summary_of(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return mean, median and largest absolute error, mean signed and lowest error of each quantity, in percent."""
    found = {}
    for name in QUANTITIES:
        errors = [row["error_percent"][name] for row in rows if name in row["error_percent"]]
        if errors:
            found[name] = {**summary(errors), "cases": len(errors)}
    return found


def judge_fit(pairs: Sequence[tuple[Measurement, DryRun]]) -> dict[str, Any] | None:
    """Fit workspace and roofline on the first half of the training cases; return what that does to the second.

    Returns:
        None with too few cases.
    """
    training = [pair for pair in pairs if pair[0].case.mode == "training"]
    first = [pair for pair in training if pair[0].in_first_half]
    second = [pair for pair in training if not pair[0].in_first_half]
    if min(len(first), len(second)) < LEAST_CASES:
        print(f"\nnothing fitted: {len(first)} and {len(second)} cases, at least {LEAST_CASES} of each are needed")
        return None
    workspace_bytes = fitted_workspace_bytes([(dry, measurement.values) for measurement, dry in first])
    constants = fitted_constants([(dry, measurement.values) for measurement, dry in first])
    before = summary_of([row_of(measurement, dry.as_shipped()) for measurement, dry in second])
    after = summary_of([row_of(measurement, dry.with_(workspace_bytes, constants)) for measurement, dry in second])
    print(f"\nfitted on {len(first)} cases: workspace {workspace_bytes / 2**20:.1f} MiB, {constants}")
    print_summary(f"the other {len(second)}, as shipped", before)
    print_summary(f"the other {len(second)}, fitted", after)
    return {
        "fitted_on": [measurement.case.name for measurement, _ in first],
        "workspace_bytes": workspace_bytes,
        "roofline": asdict(constants),
        "second_half_as_shipped": before,
        "second_half_fitted": after,
    }


def print_header() -> None:
    """Print the columns' names: measured, estimated, error for each quantity."""
    print(f"{'case':<40} {'allocated GiB':^24} {'reserved GiB':^24} {'step ms':^26} {'kernels ms':^26}")


def print_row(row: Row) -> None:
    """Print one case."""
    cells = [_cell(row, name, 1 / GIB) for name in ("allocated_bytes", "reserved_bytes")]
    cells += [_cell(row, name, 1000, width=9) for name in ("step_s", "kernel_s")]
    print(f"{row['case']:<40} {' '.join(cells)}", flush=True)


def _cell(row: Row, name: str, unit: float, *, width: int = 8) -> str:
    values = (row["measured"].get(name), row["estimated"].get(name))
    shown = [f"{'-':>{width}}" if value is None else f"{value * unit:{width}.2f}" for value in values]
    error = row["error_percent"].get(name)
    return f"{shown[0]}{shown[1]}" + ("       -" if error is None else f"{error:+7.1f}%")


def print_summary(name: str, per_quantity: Mapping[str, Mapping[str, float]]) -> None:
    """Print the errors of a group of cases, one line per quantity."""
    print(f"\n{name}: errors in percent")
    for quantity, errors in per_quantity.items():
        print(
            f"  {quantity:<18} {errors['cases']:3.0f} cases  mean {errors['mean']:6.2f}  median {errors['median']:6.2f}"
            f"  largest {errors['largest']:6.2f}  signed {errors['signed']:+6.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
