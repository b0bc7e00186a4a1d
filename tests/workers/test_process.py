"""Workers that are processes: real ones, with a runner that needs no model."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import AdvisorError, DataError
from advisor.trial import RungReport
from advisor.workers.in_process import InProcessWorker
from advisor.workers.pool import WorkerPool
from advisor.workers.process import ProcessWorker
from advisor.workers.worker import WorkerLostError
from tests.search.fakes import FakeRunner
from tests.workers.test_pool import RUNGS, spec

pytestmark = pytest.mark.slow


class Runner(FakeRunner):
    """A runner whose process says who it is, and ends or fails when it is told."""

    deadly: int | None = None

    def advance(self) -> tuple[RungReport, ...]:
        if self.deadly in self.live:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().advance()

    def pid(self) -> int:
        return os.getpid()

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def say(self, text: str) -> None:
        print(text, flush=True)

    def fail(self, kind: str) -> None:
        raise {"data": DataError, "runtime": RuntimeError, "key": KeyError, "advisor": AdvisorError}[kind]("so it is")


def make(slots: int, deadly: int | None = None) -> Runner:
    runner = Runner(slots=slots)
    runner.deadly = deadly
    return runner


def refuse() -> Runner:
    raise AdvisorError("no such device")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[ProcessWorker]:
    one = ProcessWorker(make, 2, name="worker 2 (cpu)", log=tmp_path / "2.log", environment={"OMP_NUM_THREADS": "3"})
    yield one
    one.close()


def told(future: "Future[Any]") -> Any:
    return future.result(timeout=60)


def test_calls_are_answered_by_another_process_with_its_own_environment_and_log(worker, tmp_path):
    assert told(worker.submit("pid")) == worker.pid != os.getpid()
    assert told(worker.submit("environment", "OMP_NUM_THREADS")) == "3"
    told(worker.submit("say", "heard"))
    assert "heard" in (tmp_path / "2.log").read_text()


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("data", DataError), ("runtime", RuntimeError), ("advisor", AdvisorError), ("key", AdvisorError)],
)
def test_what_a_call_raises_comes_back_in_kind_and_the_worker_goes_on(worker, kind, raised):
    with pytest.raises(raised, match="so it is"):
        told(worker.submit("fail", kind))
    assert told(worker.submit("pid")) == worker.pid


def test_a_killed_worker_is_lost_and_can_be_replaced(worker):
    before = told(worker.submit("pid"))
    os.kill(before, signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="signal 9"):
        told(worker.submit("pid"))
    worker.restart()
    assert told(worker.submit("pid")) != before


def test_a_runner_that_cannot_be_made_loses_the_worker_and_its_log_says_why(tmp_path):
    worker = ProcessWorker(refuse, name="worker 2 (cuda:1)", log=tmp_path / "2.log")
    with pytest.raises(WorkerLostError, match=r"worker 2 \(cuda:1\).*exit code 1.*2\.log"):
        told(worker.submit("pid"))
    assert "no such device" in (tmp_path / "2.log").read_text()
    worker.close()


def test_the_terminals_interruption_is_left_to_the_study(worker):
    os.kill(told(worker.submit("pid")), signal.SIGINT)
    assert told(worker.submit("pid")) == worker.pid


def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    script = (
        "import os, pathlib, signal\n"
        "from advisor.workers.process import ProcessWorker\n"
        "from tests.workers.test_process import make\n"
        f"worker = ProcessWorker(make, 1, name='w', log=pathlib.Path({str(tmp_path / 'w.log')!r}))\n"
        "print(worker.submit('pid').result(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    # Gone within seconds; `tail --pid` waits for a process that is not a child.
    subprocess.run(["tail", f"--pid={int(done.stdout)}", "-f", "/dev/null"], check=True, timeout=60)


def test_a_pool_of_processes_gives_what_one_runner_gives_also_when_one_is_killed(tmp_path):
    workers = [
        InProcessWorker(Runner(slots=1), name="worker 1"),
        *(ProcessWorker(make, 1, name=f"worker {n}", log=tmp_path / f"{n}.log") for n in (2, 3)),
    ]
    pool = WorkerPool(workers)
    try:
        seen: dict[int, list[RungReport]] = {}
        for number in range(3):
            pool.start(spec(number, 10 ** -(number + 2)))
        os.kill(workers[1].pid, signal.SIGKILL)
        while pool._held:
            for report in pool.advance():
                seen.setdefault(report.number, []).append(report)
                path = tmp_path / f"{report.number}-{report.rung}"
                pool.checkpoint(report.number, path)
                if report.rung == len(RUNGS) - 1:
                    pool.stop(report.number)
        lost = sum(use.n_lost for use in pool.use())
    finally:
        pool.close()
    alone = FakeRunner(slots=3)
    for number in range(3):
        alone.start(spec(number, 10 ** -(number + 2)))
    expected = [sorted(alone.advance(), key=lambda report: report.number) for _ in RUNGS]
    assert lost == 1
    assert {number: tuple(reports) for number, reports in seen.items()} == {
        number: tuple(rung[number] for rung in expected) for number in range(3)
    }


def test_a_trial_that_kills_every_process_it_is_on_is_given_up(tmp_path):
    pool = WorkerPool([ProcessWorker(make, 1, 7, name=f"worker {n}", log=tmp_path / f"{n}.log") for n in (1, 2)])
    try:
        pool.start(spec(7))
        (report,) = pool.advance()
        assert report.failure is not None
        assert "3 workers ended" in report.failure.message
        pool.stop(7)
        pool.start(spec(8))
        assert [one.number for one in pool.advance()] == [8]
    finally:
        pool.close()
