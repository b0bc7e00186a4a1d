"""A worker in a thread of this process: calls in their order, what they raise, and an end that waits for nobody."""

import subprocess
import sys
from pathlib import Path
from threading import get_ident

import pytest

from advisor.errors import DataError
from advisor.workers.in_process import InProcessWorker
from advisor.workers.worker import WorkerLostError
from tests.search.fakes import FakeRunner
from tests.workers.test_pool import spec


class Runner(FakeRunner):
    """A runner that says which thread it is called in."""

    def thread(self) -> int:
        return get_ident()


def test_calls_run_in_one_other_thread_in_their_order():
    worker = InProcessWorker(Runner(slots=2), name="worker 1")
    worker.submit("start", spec(3))
    reports = worker.submit("advance")
    assert [report.number for report in reports.result(timeout=10)] == [3]
    threads = {worker.submit("thread").result(timeout=10) for _ in range(3)}
    assert len(threads) == 1
    assert get_ident() not in threads
    worker.close()


def test_what_a_call_raises_reaches_whoever_waits_and_the_worker_goes_on(tmp_path):
    worker = InProcessWorker(Runner(), name="worker 1")
    with pytest.raises(DataError, match="not a checkpoint"):
        worker.submit("start", spec(0), checkpoint=tmp_path).result(timeout=10)
    worker.submit("start", spec(0)).result(timeout=10)
    worker.close()


def test_it_cannot_be_replaced():
    worker = InProcessWorker(Runner(), name="worker 1 (cpu)")
    with pytest.raises(WorkerLostError, match=r"worker 1 \(cpu\) is this process"):
        worker.restart()
    worker.close()


@pytest.mark.slow
def test_a_process_ends_at_once_although_a_call_is_under_way(tmp_path: Path):
    script = (
        "import threading\n"
        "from advisor.workers import in_process\n"
        "in_process._END_S = 0.1\n"
        "class Endless:\n"
        "    def advance(self):\n"
        "        threading.Event().wait()\n"
        "worker = in_process.InProcessWorker(Endless(), name='w')\n"
        "worker.submit('advance')\n"
        "worker.close()\n"
        "print('closed')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("closed\n", 130)
