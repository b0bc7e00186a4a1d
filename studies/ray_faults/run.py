"""Break a Ray cluster in the middle of a search, again and again, and count what is lost.

    python -m studies.ray_faults.run [--repetitions 20] [--faults actor,node,head] [--trials 9] [--seed 0]

A real local cluster of three nodes with a core each, every node with a raylet of its own; a real search (Optuna,
checkpoints, adapters) over three Ray workers, whose trials take two seconds in four rungs. At a random moment (drawn
from the seed) one actor is killed with SIGKILL, or a node with everything on it, or the head of the cluster. A lost
node comes back after `nodes.BACK_AFTER_S` seconds; so does the head, at the same port, and the other nodes join it
anew.
"""

import argparse
import json
import os
import pickle
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from advisor.search import run_search
from advisor.search.events import RungReached, SearchEvent, TrialFinished
from advisor.trials_file import FILE_NAME, read_records
from advisor.workers.pool import WorkerPool
from advisor.workers.ray_link import RayLink
from advisor.workers.ray_worker import RayWorker
from studies.gpu.entry import machine
from studies.ray_faults.nodes import N_NODES, Nodes
from studies.ray_faults.sleeper import RUNG_STEPS, Sleeper, plan, settings

RESULTS = Path(__file__).parent / "results"
RUNG_S = 0.5
FAULTS = {"actor": "an actor is killed", "node": "a node is killed", "head": "the head is restarted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search with one fault.

    Attributes:
        fault: Which.
        repetition: Counts from 0.
        n_finished_before: Trials finished when it was broken.
        n_lost: Of these, those that are not among the finished trials at the end as they were.
        n_failed: Trials that failed.
        n_reported_twice: Rungs that the search was told of twice.
        n_rungs: Rungs of all trials at the end.
        n_rungs_again: Rungs that were begun again: the work that was lost.
        until_on_s: From the fault until the last of these was begun again; None without any.
        until_new_s: From the fault to the first rung that a new actor began; None where the search had ended before.
        n_workers_lost: Workers that were replaced.
        duration_s: Of the search.
    """

    fault: str
    repetition: int
    n_finished_before: int
    n_lost: int
    n_failed: int
    n_reported_twice: int
    n_rungs: int
    n_rungs_again: int
    until_on_s: float | None
    until_new_s: float | None
    n_workers_lost: int
    duration_s: float


class Watch:
    """Follows a search, and breaks something when it is time."""

    def __init__(self, after_rungs: int, do: Callable[[], None]) -> None:
        """Take what is done after how many rungs."""
        self._left = after_rungs
        self._do = do
        self.told: list[tuple[int, int]] = []
        self.finished: list[str] = []
        self.finished_before: list[str] = []
        self.broken_at_s: float | None = None
        self.done = Event()

    def __call__(self, event: SearchEvent) -> None:
        """Note what the search was told; a thread breaks things beside it."""
        if isinstance(event, TrialFinished):
            self.told += [(event.record.number, report.rung) for report in event.record.reports[-1:]]
            self.finished.append(repr(event.record))
        elif isinstance(event, RungReached):
            self.told.append((event.spec.number, event.rung))
        else:
            return
        self._left -= 1
        if self._left == 0:
            Thread(target=self._break, daemon=True).start()

    def _break(self) -> None:
        time.sleep(random.uniform(0, RUNG_S))
        self.finished_before = list(self.finished)
        self.broken_at_s = time.time()
        self._do()
        self.done.set()


def search(fault: str, repetition: int, nodes: Nodes, work: Path, n_trials: int, seed: int) -> Run:
    """Run one search and break something in it."""
    begun = work / "begun.jsonl"
    begun.touch()
    link = RayLink(nodes.address, log=work / "ray.log")
    link.join()
    link.give(pickle.dumps((Sleeper, (RUNG_S, begun))))
    workers = [RayWorker(link, n, cpus=1, gpus=0, log=work / f"{n}.log") for n in range(1, N_NODES + 1)]
    pool = WorkerPool(workers)
    try:
        pool.wait_until_ready(others_s=60)
        do = {
            "actor": lambda: os.kill(random.choice([one.pid for one in workers if one.pid]), signal.SIGKILL),
            "node": lambda: nodes.do("node"),
            "head": lambda: nodes.do("head"),
        }
        watch = Watch(random.randint(4, len(RUNG_STEPS) * n_trials // 3), do[fault])
        began_s = time.monotonic()
        run_search(
            work, settings(seed), plan(n_trials), pool,
            clock=time.time, on_event=watch, interrupted=lambda: False,
        )  # fmt: skip
        duration_s = time.monotonic() - began_s
        watch.done.wait(60)
        return counted(fault, repetition, watch, work, [one.n_lost for one in pool.use()], duration_s)
    finally:
        pool.close()
        link.close()


def counted(fault: str, repetition: int, watch: Watch, work: Path, losses: list[int], duration_s: float) -> Run:
    """Count what was lost, from the files of the study and the lines that the runners wrote."""
    records = read_records(work / FILE_NAME)
    lines = [json.loads(line) for line in (work / "begun.jsonl").read_text().splitlines()]
    rungs = [(line["trial"], line["rung"]) for line in lines]
    at_s = watch.broken_at_s or 0.0
    old = {line["pid"] for line in lines if line["at_s"] < at_s}
    new = [line["at_s"] for line in lines if line["at_s"] >= at_s and line["pid"] not in old]
    seen: set[tuple[int, int]] = set()
    again: list[float] = []
    for rung, line in zip(rungs, lines, strict=True):
        if rung in seen:
            again.append(line["at_s"])
        seen.add(rung)
    at_the_end = {repr(record) for record in records}
    return Run(
        fault=fault,
        repetition=repetition,
        n_finished_before=len(watch.finished_before),
        n_lost=sum(one not in at_the_end for one in watch.finished_before),
        n_failed=sum(record.state == "failed" for record in records),
        n_reported_twice=sum(n - 1 for n in Counter(watch.told).values()),
        n_rungs=sum(len(record.reports) for record in records),
        n_rungs_again=len(again),
        until_on_s=round(max(again) - at_s, 2) if again else None,
        until_new_s=round(min(new) - at_s, 2) if new else None,
        n_workers_lost=sum(losses),
        duration_s=round(duration_s, 1),
    )


def table(runs: list[Run]) -> str:
    """Return what was counted as a table."""
    rows = ["", "searches", "finished trials at the fault", "of these lost", "trials that failed",
            "rungs told twice", "rungs in all", "rungs trained again, in all", "and at most in one search",
            "seconds until that work went on: median", "and at most",
            "seconds until a new actor trained: median", "and at most"]  # fmt: skip
    columns = []
    for fault, title in FAULTS.items():
        of = [run for run in runs if run.fault == fault]
        if not of:
            continue
        on = [run.until_on_s for run in of if run.until_on_s is not None]
        new = [run.until_new_s for run in of if run.until_new_s is not None]
        columns.append([
            title, len(of), sum(run.n_finished_before for run in of), sum(run.n_lost for run in of),
            sum(run.n_failed for run in of), sum(run.n_reported_twice for run in of), sum(run.n_rungs for run in of),
            sum(run.n_rungs_again for run in of), max(run.n_rungs_again for run in of),
            *_median_and_most(on), *_median_and_most(new),
        ])  # fmt: skip
    lines = ["| " + " | ".join(map(str, line)) + " |" for line in zip(rows, *columns, strict=True)]
    return "\n".join([lines[0], "|---" + "|--:" * len(columns) + "|", *lines[1:]]) + "\n"


def _median_and_most(seconds: list[float]) -> tuple[str, str]:
    return (f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("-", "-")


def main() -> int:
    """Run all searches and write the results; the exit code says whether anything finished was lost or told twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--faults", default=",".join(FAULTS), help="comma list")
    parser.add_argument("--trials", type=int, default=18, help="of each search")
    parser.add_argument("--seed", type=int, default=0, help="of the searches and of the moments of the faults")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    arguments.output.mkdir(exist_ok=True, parents=True)
    lines = arguments.output / "runs.jsonl"
    lines.write_text("")
    runs: list[Run] = []
    nodes = Nodes()
    try:
        for repetition in range(arguments.repetitions):
            for fault in arguments.faults.split(","):
                with tempfile.TemporaryDirectory() as work:
                    seed = arguments.seed + repetition
                    runs.append(search(fault, repetition, nodes, Path(work), arguments.trials, seed))
                print(f"  {runs[-1]}", file=sys.stderr, flush=True)
                with lines.open("a") as file:
                    file.write(json.dumps(asdict(runs[-1])) + "\n")
    finally:
        nodes.stop()
    asked = {name: value for name, value in vars(arguments).items() if name != "output"}
    described: dict[str, Any] = {"machine": machine("cpu"), **asked}
    (arguments.output / "machine.json").write_text(json.dumps(described, indent=1) + "\n")
    (arguments.output / "table.md").write_text(table(runs))
    print(table(runs))
    return 1 if any(run.n_lost or run.n_reported_twice or run.n_failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
