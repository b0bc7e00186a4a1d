"""What the search itself takes per trial with several workers on this machine, and what a second core gives.

    python -m studies.scale.overhead [--kind local|ray] [--repetitions 3]

* Overhead: a search of 40 trials of four rungs that take no time, with 1, 2, 4 and 8 workers in processes of their own:
  milliseconds of the search per trial, by the clock and of this process's processor. Journal, checkpoints, adapters and
  Optuna's SQLite are the product's; the disk is this machine's.
* Speed-up: a search of 8 trials, each a fixed amount of hashing on one core, with 1 and with 2 workers. Random search
  would do: no trial is better than another, so the same work is done in any order.

Workers are ready before the clock starts. Repetitions take turns, and medians and all values are written to
results/overhead.json (or overhead-ray.json), with a table beside it. Under four minutes on two idle cores.
"""

import argparse
import contextlib
import json
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from advisor.result import Plan
from advisor.search import PRUNER_NAME, SAMPLER_NAME, run_search
from advisor.workers.pool import WorkerPool
from advisor.workers.process import ProcessWorker
from advisor.workers.worker import Worker
from studies.gpu.entry import machine
from studies.scale.client import settings
from studies.scale.instant_runner import METRIC, burn, make_runner

RESULTS = Path(__file__).parent / "results"
N_WORKERS = (1, 2, 4, 8)
N_TRIALS = 40
N_BURNING = 8
# Seconds of one core for a trial of the speed-up.
BURN_S = 2.0


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("local", "ray"), default="local")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, help="another folder for the results")
    arguments = parser.parse_args()
    load = os.getloadavg()
    n_blocks = _blocks_for(BURN_S / len(settings().rung_steps))
    overheads: dict[int, list[dict[str, float]]] = {n: [] for n in N_WORKERS}
    speeds: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(arguments.repetitions):
        for n in N_WORKERS:
            overheads[n].append(measure(arguments.kind, n, n_trials=N_TRIALS, n_blocks=0))
        for n in speeds:
            speeds[n].append(measure(arguments.kind, n, n_trials=N_BURNING, n_blocks=n_blocks))
    result = {
        "kind": arguments.kind, "machine": machine("cpu"), "load_before": load, "load_after": os.getloadavg(),
        "trials": N_TRIALS, "rungs": len(settings().rung_steps), "overhead": overheads,
        "burning": {"trials": N_BURNING, "blocks": n_blocks, "searches": speeds},
    }  # fmt: skip
    name = "overhead" if arguments.kind == "local" else "overhead-ray"
    folder = arguments.output or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = "\n".join(table_of(result)) + "\n"
    (folder / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)
    return 0


def _blocks_for(duration_s: float) -> int:
    """Return how much hashing takes so long on one core here; the same is then done by all."""
    n = 20_000
    took_s = min(_took_s(n) for _ in range(5))
    return round(n * duration_s / took_s)


def _took_s(n: int) -> float:
    began_s = time.process_time()
    burn(n)
    return time.process_time() - began_s


def measure(kind: str, n_workers: int, *, n_trials: int, n_blocks: int) -> dict[str, float]:
    """Return seconds of one search, by the clock and of this process's processor.

    Args:
        kind: Of workers: "local" or "ray".
        n_workers: How many.
        n_trials: Trials of the search.
        n_blocks: Work of each rung.
    """
    with tempfile.TemporaryDirectory(prefix="overhead-") as work:
        folder = Path(work) / "run"
        folder.mkdir()
        with _workers(kind, n_workers, n_blocks, Path(work)) as workers:
            for worker in workers:
                worker.ready().result()
                worker.submit("measure_inference", 0).result()  # its runner is made
            pool = WorkerPool(workers)
            began_s, processor_s = time.perf_counter(), time.process_time()
            outcome = run_search(
                folder, settings(), _plan(n_trials), pool, clock=time.time, on_event=lambda event: None,
                interrupted=lambda: False,
            )  # fmt: skip
            wall_s, used_s = time.perf_counter() - began_s, time.process_time() - processor_s
    assert [record.state for record in outcome.records] == ["complete"] * n_trials
    return {"wall_s": wall_s, "cpu_s": used_s}


def _plan(n_trials: int) -> Plan:
    return Plan(
        n_trials=n_trials, time_limit_s=None, rung_steps=settings().rung_steps, sampler=SAMPLER_NAME,
        pruner=PRUNER_NAME, device="cpu", primary_metric=METRIC,
    )  # fmt: skip


@contextlib.contextmanager
def _workers(kind: str, n: int, n_blocks: int, folder: Path) -> Iterator[Sequence[Worker]]:
    with contextlib.ExitStack() as at_the_end:
        if kind == "ray":
            workers = at_the_end.enter_context(_ray_workers(n, n_blocks, folder))
        else:
            workers = [
                ProcessWorker(make_runner, n_blocks, name=f"worker {number}", log=folder / f"{number}.log")
                for number in range(1, n + 1)
            ]
        for worker in workers:
            at_the_end.callback(worker.close)
        yield workers


@contextlib.contextmanager
def _ray_workers(n: int, n_blocks: int, folder: Path) -> Iterator[list[Worker]]:
    """Yield actors of a Ray cluster of one node on this machine, which has a core for each in its books."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    from advisor.workers.ray_link import RayLink
    from advisor.workers.ray_worker import RayWorker

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": n, "num_gpus": 0, "object_store_memory": 100 * 1024**2, "include_dashboard": False},
    )
    link = RayLink(cluster.address, log=folder / "ray.log")
    try:
        link.join()
        link.give(pickle.dumps((make_runner, (n_blocks,))))
        yield [RayWorker(link, number, cpus=1, gpus=0, log=folder / f"{number}.log") for number in range(1, n + 1)]
    finally:
        link.close()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def table_of(result: dict[str, Any]) -> list[str]:
    """Return both tables as Markdown."""
    lines = [
        f"Workers: {result['kind']}. {result['trials']} trials of {result['rungs']} rungs without training: ms each.",
        "", "| workers | by the clock: median (all) | processor of the search: median |", "|---:|---:|---:|",
    ]  # fmt: skip
    for n, searches in result["overhead"].items():
        wall = [1e3 * one["wall_s"] / result["trials"] for one in searches]
        cpu = [1e3 * one["cpu_s"] / result["trials"] for one in searches]
        every = ", ".join(f"{one:.1f}" for one in wall)
        lines.append(f"| {n} | {statistics.median(wall):.1f} ({every}) | {statistics.median(cpu):.1f} |")
    burning = result["burning"]["searches"]
    one, two = ([search["wall_s"] for search in searches] for searches in burning.values())
    ratios = [first / second for first, second in zip(one, two, strict=True)]
    lines += [
        "", f"{result['burning']['trials']} trials of fixed work on one core each:", "",
        "| workers | s: median (all) |", "|---:|---:|",
        f"| 1 | {statistics.median(one):.1f} ({', '.join(f'{s:.1f}' for s in one)}) |",
        f"| 2 | {statistics.median(two):.1f} ({', '.join(f'{s:.1f}' for s in two)}) |", "",
        f"Speed-up from 1 to 2 workers: {statistics.median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)}).",
    ]  # fmt: skip
    return lines


if __name__ == "__main__":
    sys.exit(main())
