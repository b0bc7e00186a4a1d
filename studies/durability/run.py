"""Kill a running study again and again, let it go on each time, and compare its end with that of an unkilled one.

    python -m studies.durability.run [--kills 50] [--trials 40] [--slots 1] [--seed 0] [--output FILE]

Each life of the study is a process of its own, forked from one that has imported the libraries and loaded nothing. It
is killed with SIGKILL after a random time (`--longest` seconds at most, drawn from the seed), wherever it is then:
while it loads, trains, evaluates, writes a checkpoint or tells Optuna. Counted are finished trials that were lost or
run again. At the end everything that the search found must equal what the unkilled study found: numbers, candidates,
values, decisions, best trial, finalists. Real training on a CPU; about six minutes.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from advisor.search.checkpoints import Checkpoints
from advisor.search.events import SearchEvent, TrialStarted
from advisor.trials_file import FILE_NAME, read_records
from studies.durability.small_study import OUTCOME, SmallStudy
from studies.gpu.entry import machine

HERE = Path(__file__).parent
RUNG_STEPS = (2, 4, 8)
STARTED = "started.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process of the study.

    Attributes:
        duration_s: From its fork to its end.
        was_killed: False when it came to the end of the study.
        n_finished: Trials finished when it ended.
        n_lost: Lines of trials.jsonl that were there before and are gone or changed.
        n_repeated: Trials that it started although they were finished before.
        rungs_under_way: Rungs that live trials had reached and that are kept, at its end.
        left_cut: Did it leave a part of a line, an unfinished checkpoint or an unfinished file?
    """

    duration_s: float
    was_killed: bool
    n_finished: int
    n_lost: int
    n_repeated: int
    rungs_under_way: int
    left_cut: bool


def main() -> int:
    """Run both studies and write the result; the exit code says whether anything was lost, repeated or different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--slots", type=int, default=1, help="trials that are live at once")
    parser.add_argument("--seed", type=int, default=0, help="of the study and of the moments of the kills")
    parser.add_argument("--longest", type=float, default=6.0, help="seconds that a life lasts at most")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)  # threads do not survive a fork, and two studies must add up in the same order
    with tempfile.TemporaryDirectory() as work:
        result = measure(Path(work), arguments)
    output = arguments.output or HERE / "results" / f"slots-{arguments.slots}.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print_summary(result)
    return 0 if result["equal"] and not result["lost"] and not result["repeated"] else 1


def measure(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the unkilled study and the killed one in a scratch folder."""
    study = SmallStudy(
        data=work / "data",
        n_trials=arguments.trials,
        slots=arguments.slots,
        rung_steps=RUNG_STEPS,
        seed=arguments.seed,
    )
    study.write_data()
    (unkilled,) = lives(study, work / "unkilled", [])
    moments = random.Random(arguments.seed)
    after_s = [moments.uniform(0.0, arguments.longest) for _ in range(arguments.kills)]
    killed = lives(study, work / "killed", after_s)
    expected, found = (json.loads((work / name / OUTCOME).read_text()) for name in ("unkilled", "killed"))
    return {
        "seed": arguments.seed, "slots": arguments.slots, "trials": arguments.trials, "rung_steps": RUNG_STEPS,
        "longest_life_s": arguments.longest, "machine": machine("cpu"),
        "kills": sum(life.was_killed for life in killed),
        "kills_with_a_rung_kept_of_a_live_trial": sum(life.was_killed and life.rungs_under_way > 0 for life in killed),
        "kills_in_the_middle_of_a_write": sum(life.left_cut for life in killed),
        "lost": sum(life.n_lost for life in killed),
        "repeated": sum(life.n_repeated for life in killed),
        "equal": expected == found,
        "different": differences(expected["trials"], found["trials"]),
        "unkilled_s": unkilled.duration_s, "killed_s": sum(life.duration_s for life in killed),
        "outcome": found, "lives": [asdict(life) for life in killed],
    }  # fmt: skip


def differences(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    """Say in which fields trials differ, one line per trial, in the order in which they ended."""
    return [
        f"trial {ours['number']}: {', '.join(name for name in ours if ours[name] != theirs[name])}"
        for ours, theirs in zip(expected, found, strict=False)
        if ours != theirs
    ]


def lives(study: SmallStudy, folder: Path, after_s: Sequence[float]) -> list[Life]:
    """Run a study to its end, killed after each of these times on the way."""
    folder.mkdir()
    found: list[Life] = []
    for limit_s in (*after_s, None):
        found.append(live(study, folder, limit_s))
        print(f"  {found[-1]}", file=sys.stderr, flush=True)
        if not found[-1].was_killed:
            break
    return found


def live(study: SmallStudy, folder: Path, limit_s: float | None) -> Life:
    """Run a study in a process of its own until it ends or its time is over."""
    before = whole_lines(folder)
    finished = {record.number for record in read_records(folder / FILE_NAME)}
    started = folder.with_name(f"{folder.name}-{STARTED}")
    started.write_text("")
    began_s = time.monotonic()
    child = os.fork()
    if child == 0:
        run_and_leave(study, folder, started)
    was_killed = wait(child, limit_s)
    after = whole_lines(folder)
    last = Checkpoints(folder).read()
    ended = {record.number for record in read_records(folder / FILE_NAME)}
    under_way = [one for one in (last.live if last else ()) if one.spec.number not in ended]
    return Life(
        duration_s=time.monotonic() - began_s,
        was_killed=was_killed,
        n_finished=len(after),
        n_lost=sum(line not in after[: len(before)] for line in before),
        n_repeated=sum(int(number) in finished for number in started.read_text().split()),
        rungs_under_way=sum(len(one.reports) for one in under_way),
        left_cut=has_unfinished(folder),
    )


def run_and_leave(study: SmallStudy, folder: Path, started: Path) -> None:
    """Be the child: run the study and end the process without what the parent would do at its end."""

    def note(event: SearchEvent) -> None:
        if isinstance(event, TrialStarted):
            with started.open("a") as file:
                file.write(f"{event.spec.number}\n")

    code = 1
    try:
        study.run(folder, note)
        code = 0
    except BaseException as error:
        print(f"  {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def wait(child: int, limit_s: float | None) -> bool:
    """Wait for a process, kill it when its time is over, and say whether that was necessary.

    Raises:
        RuntimeError: The process failed.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status != 0:
                raise RuntimeError(f"the study failed with status {status}")
            return False
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return os.WIFSIGNALED(status)
        time.sleep(0.005)


def whole_lines(folder: Path) -> list[bytes]:
    """Return the finished lines of trials.jsonl."""
    path = folder / FILE_NAME
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1].splitlines()


def has_unfinished(folder: Path) -> bool:
    """Say whether a process left something that it was just writing."""
    path = folder / FILE_NAME
    content = path.read_bytes() if path.exists() else b""
    return bool(content and not content.endswith(b"\n")) or any(
        one.suffix == ".part" or one.name.endswith("-journal") for one in folder.rglob("*")
    )


def print_summary(result: dict[str, Any]) -> None:
    """Print what counts."""
    print(
        f"{result['kills']} kills ({result['kills_with_a_rung_kept_of_a_live_trial']} with a rung kept of a live "
        f"trial, {result['kills_in_the_middle_of_a_write']} in the middle of a write): finished trials lost "
        f"{result['lost']}, "
        f"repeated {result['repeated']}; result {'equal' if result['equal'] else 'DIFFERENT'} to the unkilled run's; "
        f"{result['unkilled_s']:.0f} s unkilled, {result['killed_s']:.0f} s with kills"
    )


if __name__ == "__main__":
    sys.exit(main())
