"""A study without models, told to trackers: real search, finals as their file holds them, an invented result.

Run as a script it is killed in the middle: `python -m tests.tuning.trackers.studies FOLDER TRACKER`.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from advisor import records
from advisor.result import TuningResult
from advisor.search import run_search
from advisor.search.events import RungReached, SearchEvent
from advisor.trial import FailureKind, RungReport, TrialSpec
from advisor.tuning.events import FinalRunFinished, FinalRungReached, FinalRunStarted
from advisor.tuning.final_runs import FinalRun, FinalRuns
from advisor.tuning.trackers.contract import TrackedRun
from advisor.tuning.trackers.tracking import Tracking
from tests.report import fixtures
from tests.search.fakes import METRIC, FakeRunner, plan, settings

N_TRIALS = 4
FAILING = 3
FINAL_SEED = 1
STUDY = TrackedRun(
    key="study",
    title="Clone detection: run",
    kind="study",
    params={"task": "clone-detection", "seed": 0},
    facts={"command": "peft-advisor tune ...", "version.torch": "2.13.0"},
)

Listener = Callable[[SearchEvent], None]


def fails(spec: TrialSpec) -> FailureKind | None:
    return "out-of-memory" if spec.number == FAILING else None


def search(
    folder: Path, trackers: Sequence[str], *, n_trials: int = N_TRIALS, hear: Listener = lambda event: None
) -> None:
    """Search two trials at a time, told to trackers; a study that was begun goes on."""
    runner = FakeRunner(slots=2, fails=fails)

    def told(event: SearchEvent) -> None:
        tracking(event)
        hear(event)

    with Tracking(trackers, folder, STUDY, runner.clock) as tracking:
        run_search(
            folder, settings(), plan(n_trials), runner, clock=runner.clock, on_event=told, interrupted=lambda: False
        )


def finals(folder: Path, trackers: Sequence[str]) -> None:
    """Train trial 0 with another seed, told to trackers."""
    spec = TrialSpec(number=100, candidate=settings().warm_starts[0], seed=FINAL_SEED, rung_steps=(5, 10, 20))
    reports = [
        RungReport(number=100, rung=rung, step=step, metrics={METRIC: step / 40}, train_loss=2.0, duration_s=step)
        for rung, step in enumerate(spec.rung_steps)
    ]
    run = FinalRun(
        trial=0,
        seed=FINAL_SEED,
        state="complete",
        candidate=spec.candidate,
        value=0.5,
        reports=tuple(reports),
        started_at="2026-01-01T00:00:00+00:00",
    )
    with Tracking(trackers, folder, STUDY, lambda: 1_800_000_000.0) as tracking:
        tracking(FinalRunStarted(spec=spec, trial=0))
        for report in reports[:-1]:
            tracking(FinalRungReached(spec=spec, trial=0, report=report, metric=METRIC))
        FinalRuns(folder).append(run)
        tracking(FinalRunFinished(run=run, n_finished=1, n_runs=1))


def finish(folder: Path, trackers: Sequence[str], **changes: object) -> TuningResult:
    """Write a result and a report, and tell trackers."""
    result = replace(fixtures.result(), n_trials_finished=N_TRIALS, **changes)
    records.write(result, folder / "result.json")
    (folder / "report.html").write_text("<title>Report</title>")
    with Tracking(trackers, folder, STUDY, lambda: 1_800_000_100.0) as tracking:
        tracking.finish(result)
    return result


def kill_at_a_rung(event: SearchEvent) -> None:
    """Kill this process when trial 1 is at its second rung: what listens after the trackers finds them told."""
    if isinstance(event, RungReached) and event.spec.number == 1 and event.rung == 1:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    search(Path(sys.argv[1]), sys.argv[2:], hear=kill_at_a_rung)
