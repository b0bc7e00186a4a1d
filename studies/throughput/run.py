"""Trials an hour: this project's search and engine against Optuna around `transformers.Trainer`.

Run from the repository root: `python -m studies.throughput.run [--only QUESTION] [--repetitions N] [--smoke]`.
All arms train the same candidates for the same steps at the same batch size and precision, in one process on one
thread, taking turns, so that whatever else the machine does meets all alike. Ratios are taken within a repetition.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch

from studies.gpu.entry import machine
from studies.throughput.engine_arm import run_engine
from studies.throughput.overhead import measure_overhead, measure_packing
from studies.throughput.setting import Run, Setting, make_setting, shortened
from studies.throughput.summary import print_summary, summarize
from studies.throughput.trainer_arm import Habits, run_trainer

FOLDER = Path(__file__).parent
Arm = Callable[[Setting, int, Path], Run]


def _trainer(**habits: Any) -> Arm:
    return lambda setting, seed, folder: run_trainer(setting, Habits(**habits), seed, folder)


def _engine(slots: int | None, *, prunes: bool = False) -> Arm:
    return lambda setting, seed, folder: run_engine(setting, seed, folder, slots=slots, prunes=prunes)


ARMS: Mapping[str, Arm] = {
    "trainer-padded-to-max": _trainer(padding="max_length"),
    "trainer": _trainer(),
    "trainer-median": _trainer(pruner="median"),
    "trainer-resident": _trainer(is_resident=True),
    "trainer-tokenized-once": _trainer(is_resident=True, tokenizes_once=True),
    "trainer-hyperband": _trainer(is_resident=True, tokenizes_once=True, pruner="hyperband"),
    "trainer-buckets": _trainer(is_resident=True, tokenizes_once=True, has_buckets=True),
    "engine-no-pruning": _engine(1),
    "engine": _engine(None, prunes=True),
}


def main() -> None:
    """Measure, print the tables, write the result file."""
    options = _parser().parse_args()
    params = json.loads((FOLDER / "params.json").read_text(encoding="utf-8"))
    if options.smoke:
        params = smoke(params)
    torch.set_num_threads(params["threads"])
    repetitions = options.repetitions or params["repetitions"]
    result: dict[str, Any] = {
        "schema_version": 1, "params": params, "repetitions": repetitions, "threads": torch.get_num_threads(),
        "machine": machine("cpu") | {"load_average_before": os.getloadavg()}, "questions": {},
        "versions": {name: version(name) for name in ("optuna", "datasets", "accelerate")},
    }  # fmt: skip
    output = options.output or (
        None if options.smoke else FOLDER / "results" / f"{datetime.now(UTC):%Y-%m-%d}-cpu.json"
    )
    with tempfile.TemporaryDirectory(prefix="throughput-") as work:
        for name, sizes in params["questions"].items():
            if options.only in (None, name):
                for measured in measure_question(name, sizes, params, repetitions, Path(work) / name):
                    result["questions"][name] = measured
                    write(result, output)
                print_summary(name, measured)


def write(result: dict[str, Any], output: Path | None) -> None:
    """Write what is measured so far: a long run that is cut off has not been for nothing."""
    result["machine"]["load_average_after"] = os.getloadavg()
    result["finished_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def smoke(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return sizes that only show that every line runs."""
    tiny = {"n_train": 8, "n_valid": 4, "n_trials": 2, "rung_steps": [1, 2]}
    questions = {name: {**sizes, **tiny} for name, sizes in params["questions"].items()}
    return {
        **params,
        "repetitions": 1,
        "overhead_blocks": 1,
        "overhead_block_steps": 1,
        "pack_steps": 1,
        "questions": questions,
    }


def measure_question(
    question: str, sizes: Mapping[str, Any], params: Mapping[str, Any], repetitions: int, work: Path
) -> Iterator[dict[str, Any]]:
    """Let the arms of one question take turns; yield all that is measured after every repetition."""
    setting = make_setting(
        sizes["task"], sizes, work / "data", seed=params["seed"], batch_size=params["batch_size"],
        evaluation_batch_size=params["evaluation_batch_size"],
    )  # fmt: skip
    arms = {name: ARMS[name] for name in sizes["arms"]}
    for name, arm in arms.items():  # what a library does on its first call is nobody's
        arm(shortened(setting, params["batch_size"]), params["seed"], _made(work / f"warm-up-{name}"))
    n_blocks, block_steps, seed = params["overhead_blocks"], params["overhead_block_steps"], params["seed"]
    overhead = measure_overhead(setting, n_blocks=n_blocks, block_steps=block_steps, seed=seed)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    packs: list[dict[int, float]] = []
    for repetition in range(repetitions):
        names = list(arms)
        first = repetition * len(names) // repetitions
        for name in (*names[first:], *names[:first]):  # no arm always comes first
            folder = _made(work / f"{repetition}-{name}")
            runs[name].append(timed(partial(arms[name], setting, seed + repetition, folder)))
            took = f"{runs[name][-1]['wall_s']:.1f} s, {runs[name][-1]['cpu_s']:.1f} s of CPU"
            print(f"{question}, repetition {repetition + 1}, {name}: {took}", file=sys.stderr, flush=True)
        sizes_s = measure_packing(setting, sizes=params["pack_sizes"], n_steps=params["pack_steps"], seed=seed)
        packs.append(sizes_s)
        yield {
            "metric": setting.task.primary_metric, "n_trials": len(setting.candidates),
            "rung_steps": setting.rung_steps, "batch_size": setting.candidates[0].batch_size,
            "max_seq_length": setting.candidates[0].max_seq_length, "candidates": setting.parameters, "runs": runs,
            "overhead": overhead, "pack_trial_step_s": packs,
            "summary": summarize(runs, overhead, packs, len(setting.candidates)),
        }  # fmt: skip


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def timed(run: Callable[[], Run]) -> dict[str, Any]:
    """Return what a run gave and took: seconds by the clock, and of the processor for this process."""
    gc.collect()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    done = run()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return {
        "wall_s": wall_s, "cpu_s": cpu_s, "best": done.best, "values": [trial.value for trial in done.trials],
        "steps": [trial.n_steps for trial in done.trials], **done.details,
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="only this question of params.json")
    parser.add_argument("--repetitions", type=int, help="of every arm (default: params.json)")
    parser.add_argument("--smoke", action="store_true", help="every line once, tiny sizes; no result file unless named")
    parser.add_argument("--output", type=Path, help="result file")
    return parser


if __name__ == "__main__":
    main()
