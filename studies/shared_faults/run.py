"""Break what several processes share while they search one study, and count what is lost.

    python -m studies.shared_faults.run [--fault NAME ...] [--repetitions 20] [--few 5] [--output FOLDER]

Each repetition is a study of its own in a real PostgreSQL: one process leads (as `tune` does), two more take part (as
`worker` does), 12 trials of four rungs, half a second each. When a random number of rungs was trained, something
breaks. Heartbeats are 1 s apart and the grace period is 4 s (the product's are 10 and 60), so that a repetition takes
seconds. What each process trained and finished is in a log that nothing breaks; it is compared with what the study
holds at its end.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError, InputError
from advisor.search import run_search
from advisor.search.events import TrialFinished
from advisor.search.sharing import Address, begin_or_continue
from advisor.trials_file import FILE_NAME, read_records
from advisor.tuning.folder import locked
from studies.postgres_server import PostgresServer, postgres_server
from studies.shared_faults.line import Line
from studies.slow_runner import RUNG_STEPS, SlowRunner, append_line, plan_of, settings_of

HERE = Path(__file__).parent
N_TRIALS = 12
N_WORKERS = 2
RUNG_S = 0.5
TIMES = (1, 4)
CUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One repetition.

    Attributes:
        fault: What broke.
        seed: Of the study and of the moment.
        n_finished: Trials in the study at its end.
        n_lost: Trials that a process had finished and the study lacks.
        n_twice: Trials that two processes finished.
        n_planned: Trials that the study may have.
        rungs_again: Rungs that were trained although they had been trained before.
        stalled_s: Longest time between two rungs after the fault, over all processes.
        took_s: The whole study.
        ended: How processes ended that did not come to the end, one line each.
    """

    fault: str
    seed: int
    n_finished: int
    n_lost: int
    n_twice: int
    n_planned: int
    rungs_again: int
    stalled_s: float
    took_s: float
    ended: tuple[str, ...]


@dataclass
class Scene:
    """What a fault can break."""

    server: PostgresServer
    line: Line
    workers: list["subprocess.Popen[bytes]"]
    begin_worker: Callable[[], None]
    folder: Path
    address: Address
    seed: int
    said: list[str]


def worker_killed(scene: Scene) -> None:
    """SIGKILL to a worker; another one joins, as a scheduler would start it."""
    scene.workers[0].send_signal(signal.SIGKILL)
    scene.begin_worker()


def server_restarted(scene: Scene) -> None:
    """An administrator restarts the database: clients are thrown out."""
    scene.server.stop()
    time.sleep(1.0)
    scene.server.start()


def server_killed(scene: Scene) -> None:
    """The database ends without a shutdown, as at a loss of power, and comes back."""
    scene.server.kill()
    time.sleep(3.0)
    scene.server.start()


def line_cut(scene: Scene) -> None:
    """The workers' connections to the database break for 30 s; the leading process has its own."""
    scene.line.cut()
    time.sleep(CUT_S)
    scene.line.mend()


def server_silent(scene: Scene) -> None:
    """The database answers nothing for 30 s, and then goes on as if nothing had been."""
    scene.server.freeze()
    time.sleep(CUT_S)
    scene.server.thaw()


def second_tune(scene: Scene) -> None:
    """A second process begins to lead the same study, from its folder and from another one."""
    for folder in (scene.folder.parent / "other", scene.folder):
        folder.mkdir(exist_ok=True)
        try:
            with locked(folder):  # as `tune` does first
                begin_or_continue(scene.address, settings_of(scene.seed), folder, request={}, version="1", times=TIMES)
        except InputError as error:
            scene.said.append(f"refused: {error}")
        else:
            scene.said.append("joined")


def nothing(scene: Scene) -> None:
    """Only the circumstances are odd, from the beginning."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks."""

    cause: Callable[[Scene], None]
    repetitions: str = "few"
    options: tuple[str, ...] = ()
    tiny_disk: bool = False
    over_line: bool = False


FAULTS = {
    "none": Fault(nothing),
    "worker killed": Fault(worker_killed, "many"),
    "database restarted": Fault(server_restarted),
    "database killed": Fault(server_killed),
    "connection cut for 30 s": Fault(line_cut, over_line=True),
    "database silent for 30 s": Fault(server_silent),
    "clocks an hour ahead": Fault(nothing, options=("--shift-clock", "3600")),
    "clocks an hour behind": Fault(nothing, options=("--shift-clock", "-3600")),
    "two tunes on one study": Fault(second_tune),
    "disk of a worker full": Fault(nothing, tiny_disk=True),
}


def repeated(name: str, seed: int) -> Run:
    """Run one study with one fault."""
    fault, moment = FAULTS[name], random.Random(seed)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        line = Line(server.port)
        stack.callback(line.close)
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shared-faults-")))
        (folder := top / "run").mkdir()
        log = top / "log.jsonl"
        address = Address(url=server.new_database(), study="faults")
        stack.enter_context(locked(folder))
        shared = begin_or_continue(address, settings_of(seed), folder, request={}, version="1", times=TIMES)
        stack.callback(shared.close)
        shared.set_plan(n_trials=N_TRIALS, target=None, is_open=True)
        scene = Scene(server, line, [], lambda: None, folder, address, seed, [])

        def begin_worker() -> None:
            url = address.url.replace(f":{server.port}/", f":{line.port}/") if fault.over_line else address.url
            scene.workers.append(_worker(url, folder, log, seed, fault, tiny=fault.tiny_disk and not scene.workers))

        scene.begin_worker = begin_worker
        for _ in range(N_WORKERS):
            begin_worker()
        stack.callback(_end, scene.workers)
        _wait(log, lambda lines: sum(line["what"] == "joined" for line in lines) == N_WORKERS)
        broke = threading.Thread(target=_break, args=(fault, scene, log, moment.randint(3, 20)), daemon=True)
        broke.start()
        began_s = time.monotonic()

        def on_event(event: object) -> None:
            if isinstance(event, TrialFinished) and not event.elsewhere:
                append_line(log, {"what": "finished", "number": event.record.number, "value": event.record.value})

        run_search(
            folder, settings_of(seed), plan_of(N_TRIALS), SlowRunner(RUNG_S, log), clock=time.time,
            on_event=on_event, interrupted=lambda: False, shared=shared,
        )  # fmt: skip
        took_s = time.monotonic() - began_s
        broke.join(90)
        for process in scene.workers:
            process.wait(90)
        return _counted(name, seed, folder, _lines(log), took_s, scene)


def _break(fault: Fault, scene: Scene, log: Path, after_rungs: int) -> None:
    _wait(log, lambda lines: sum(line["what"] == "rung" for line in lines) >= after_rungs)
    append_line(log, {"what": "fault"})
    fault.cause(scene)


def _counted(name: str, seed: int, folder: Path, lines: Sequence[dict[str, Any]], took_s: float, scene: Scene) -> Run:
    records = read_records(folder / FILE_NAME)
    kept = {record.number for record in records}
    finished = [line["number"] for line in lines if line["what"] == "finished"]
    rungs = [line for line in lines if line["what"] == "rung"]
    fault_s = next((line["at_s"] for line in lines if line["what"] == "fault"), lines[0]["at_s"])
    after = [fault_s, *sorted(line["at_s"] for line in rungs if line["at_s"] > fault_s)]
    values = [(record.candidate.hyperparameters["learning_rate"], record.value) for record in records]
    return Run(
        fault=name,
        seed=seed,
        n_finished=len(records),
        n_lost=len(set(finished) - kept),
        n_twice=len(finished) - len(set(finished)) + len(values) - len(set(values)),
        n_planned=N_TRIALS,
        rungs_again=len(rungs) - sum(len(record.reports) for record in records),
        stalled_s=round(max((later - sooner for sooner, later in pairwise(after)), default=0.0), 2),
        took_s=round(took_s, 2),
        ended=(*scene.said, *(line["why"] for line in lines if line["what"] == "ended")),
    )


def _worker(url: str, folder: Path, log: Path, seed: int, fault: Fault, *, tiny: bool) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable, "-m", "studies.shared_faults.process", url, str(folder), str(log), str(seed), str(N_TRIALS),
        str(RUNG_S), *fault.options,
    ]  # fmt: skip
    if tiny:  # a file system of its own, where only this process sees it
        (folder / "live").mkdir(exist_ok=True)
        mount = f'mount -t tmpfs -o size=4k,nr_inodes=6 tmpfs {folder / "live"} && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", *command]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _end(workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in workers:
        process.kill()
        process.wait()


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _wait(log: Path, until: Callable[[list[dict[str, Any]]], bool], at_most_s: float = 90.0) -> None:
    end_s = time.monotonic() + at_most_s
    while not until(_lines(log)):
        if time.monotonic() > end_s:
            raise TimeoutError(f"{log}: what was waited for did not happen")
        time.sleep(0.05)


def table(runs: Sequence[Run]) -> str:
    """Return the table of the README."""
    lines = [
        (
            "| what broke | repetitions | finished trials lost | finished twice | trials beyond the plan | "
            "rungs trained again: mean (most) | longest stop of all: median s (most) |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in FAULTS:
        of = [run for run in runs if run.fault == name]
        if not of:
            continue
        stops = sorted(run.stalled_s for run in of)
        again = [run.rungs_again for run in of]
        lines.append(
            f"| {name} | {len(of)} | {sum(run.n_lost for run in of)} | {sum(run.n_twice for run in of)} | "
            f"{sum(max(0, run.n_finished - run.n_planned) for run in of)} | "
            f"{sum(again) / len(again):.1f} ({max(again)}) | {stops[len(stops) // 2]:.1f} ({stops[-1]:.1f}) |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the repetitions and write what they gave."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--output", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    path = asked.output / "runs.jsonl"
    done = [Run(**{**json.loads(line), "ended": tuple(json.loads(line)["ended"])}) for line in _kept(path)]
    done = [run for run in done if asked.fault and run.fault not in asked.fault]
    for name in asked.fault or FAULTS:
        for seed in range(asked.repetitions if FAULTS[name].repetitions == "many" else asked.few):
            try:
                run = repeated(name, seed)
            except (AdvisorError, TimeoutError) as error:
                sys.exit(f"{name}, seed {seed}: {error}")
            done.append(run)
            print(json.dumps(asdict(run)), flush=True)
            path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in done))
            (asked.output / "table.md").write_text(table(done))
    about = {
        "cores": os.cpu_count(), "python": platform.python_version(), "rungs": len(RUNG_STEPS), "rung_s": RUNG_S,
        **{package: version(package) for package in ("optuna", "sqlalchemy", "psycopg")},
        "postgresql": _server_version(),
    }  # fmt: skip
    (asked.output / "machine.json").write_text(json.dumps(about, indent=2) + "\n")
    print(table(done))


def _server_version() -> str:
    return subprocess.run(["postgres", "--version"], capture_output=True, text=True, check=False).stdout.strip()


def _kept(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
