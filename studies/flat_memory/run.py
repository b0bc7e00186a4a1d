"""Run a hundred short trials in one process and look at its memory after each: nothing of a finished trial may stay.

Run from the repository root: `python -m studies.flat_memory.run`. Methods take turns (full fine-tuning among them,
which writes into the base model), one slot first, then packs of four; shipped demonstration encoder and data, CPU.
Resident memory of the process, from /proc (Linux).
"""

import argparse
import json
import platform
import re
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import torch

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.data.examples import read_examples
from advisor.demo import base_model_path, write_dataset
from advisor.training.runner import DeviceRunner
from advisor.trial import TrialSpec
from studies.gpu.entry import processor

FOLDER = Path(__file__).parent
TASK = find_task("clone-detection")
N_STEPS = 3
# The first trials load libraries' parts and fill caches that are there once per process.
N_WARM = 20


def main() -> None:
    """Run the trials, print every tenth line, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    n_trials = parser.parse_args().trials
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = write_dataset(TASK.slug, Path(folder), n_train=64, n_valid=16, n_test=16)
        splits = {split: read_examples(getattr(files, split), TASK).examples for split in ("train", "valid", "test")}
    rows = []
    for slots in (1, 4):
        runner = DeviceRunner(TASK, splits, seed=0, device="cpu", slots=slots)
        resident = _resident_after_trials(runner, n_trials, full=slots == 1)
        kept = resident[N_WARM:]
        third = len(kept) // 3
        rows.append({
            "slots": slots, "trials": n_trials, "resident_bytes": resident, "warm_mean_bytes": mean(kept[:third]),
            "last_mean_bytes": mean(kept[-third:]), "growth_bytes_per_trial": _slope(kept),
        })  # fmt: skip
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "resident_bytes"}), flush=True)
    result = {
        "date": datetime.now(tz=UTC).date().isoformat(), "machine": processor(), "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")}, "rows": rows,
    }  # fmt: skip
    (FOLDER / "results" / "cpu.json").write_text(json.dumps(result) + "\n")


def _resident_after_trials(runner: DeviceRunner, n_trials: int, *, full: bool) -> list[int]:
    methods = [name for name in METHODS if METHODS[name].supports("encoder-only", "sequence-classification")]
    if not full:
        methods.remove("full")
    found: list[int] = []
    number, live = 0, set()
    while number < n_trials or live:
        while number < n_trials and len(live) < runner.slots:
            runner.start(_spec(number, methods[number % len(methods)]))
            live.add(number)
            number += 1
        for report in runner.advance():
            if report.failure is not None:
                raise SystemExit(f"trial {report.number} failed: {report.failure.message}")
            runner.stop(report.number)
            live.remove(report.number)
            found.append(_resident_bytes())
            if len(found) % 10 == 0:
                print(f"{runner.slots} slots, {len(found)} trials: {found[-1] / 2**20:.1f} MiB", flush=True)
    return found


def _spec(number: int, method: str) -> TrialSpec:
    candidate = Candidate(
        base_model=str(base_model_path("encoder-only")), architecture="encoder-only", method=method, batch_size=8,
        max_seq_length=64,
        hyperparameters={**METHODS[method].hyperparameters("encoder-only"), "learning_rate": 1e-4},
    )  # fmt: skip
    return TrialSpec(number=number, candidate=candidate, seed=number, rung_steps=(N_STEPS,))


def _resident_bytes() -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


def _slope(values: list[int]) -> float:
    """Return the least-squares slope of values over their places."""
    middle = mean(range(len(values)))
    return sum((place - middle) * value for place, value in enumerate(values)) / sum(
        (place - middle) ** 2 for place in range(len(values))
    )


if __name__ == "__main__":
    main()
