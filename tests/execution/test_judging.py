"""Many programs at a time: order, independence of the number of workers, progress, refusals."""

import sys
import time

import pytest

from advisor.errors import InputError
from advisor.execution import Limits, Program, judge
from advisor.execution.sandbox import SandboxError, Walls

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="generated programs are not run on Windows")

LIMITS = Limits(cpu_s=2, wall_s=30.0)
SOURCES = {
    "def answer(): return 42": "passed",
    "import time\ntime.sleep(0.4)\ndef answer(): return 42": "passed",
    "def answer(): return 41": "failed",
    "kept = bytearray(10**12)": "out-of-memory",
    "import os\nos.kill(os.getpid(), 11)": "killed",
    "print('x' * 10**7)": "too-much-output",
}
PROGRAMS = [Program(source=source, tests="assert answer() == 42\n", entry_point="answer") for source in SOURCES]


def test_results_stand_in_the_order_of_the_programs_whatever_the_number_of_workers() -> None:
    alone = judge(PROGRAMS, limits=LIMITS, n_workers=1, allow_execution=True)
    assert [one.outcome for one in alone] == list(SOURCES.values())
    together = judge(PROGRAMS, limits=LIMITS, n_workers=3, allow_execution=True)
    shown = [(one.outcome, one.exit_status, one.signal, one.stdout, one.error) for one in alone]
    assert [(one.outcome, one.exit_status, one.signal, one.stdout, one.error) for one in together] == shown


def test_progress_counts_up_to_all_programs() -> None:
    calls: list[tuple[int, int]] = []
    judge(PROGRAMS[:3], n_workers=2, allow_execution=True, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_an_interruption_ends_what_still_runs() -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    waiting = Program(source="import time\ntime.sleep(60)")
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        judge([PROGRAMS[0], waiting, waiting], n_workers=2, allow_execution=True, progress=interrupt)
    assert time.monotonic() - began_s < 15


def test_no_programs_give_no_results() -> None:
    assert judge([], allow_execution=True) == []


def test_nothing_runs_without_permission_or_without_workers() -> None:
    with pytest.raises(InputError, match="allow_execution=True"):
        judge(PROGRAMS)
    with pytest.raises(InputError, match="n_workers"):
        judge(PROGRAMS, n_workers=0, allow_execution=True)


def test_a_sandbox_that_cannot_be_made_is_an_error_and_not_a_failed_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisor.execution.probe.strongest_walls", lambda: Walls(namespaces=True))
    monkeypatch.setattr("advisor.execution.sandbox._readable_folders", lambda python: ["/no/such/folder"])
    with pytest.raises(SandboxError, match="could not be made"):
        judge(PROGRAMS, n_workers=2, allow_execution=True)
