"""A runner that keeps how it spent its time trains as the one inside it does."""

from pathlib import Path

import pytest

from advisor.workers.in_process import InProcessWorker
from advisor.workers.measured import MeasuredRunner
from advisor.workers.pool import WorkerPool
from tests.search.fakes import FakeRunner
from tests.workers.test_pool import RUNGS, spec


def test_it_reports_what_the_runner_inside_reports_and_counts_its_time(tmp_path: Path):
    inside = FakeRunner()
    measured = MeasuredRunner(inside, name="cuda:0", clock=inside.clock)
    inside.clock.now += 5.0  # nothing to do
    measured.start(spec(0))
    (report,) = measured.advance()
    measured.checkpoint(0, tmp_path / "kept")
    measured.stop(0)
    alone = FakeRunner()
    alone.start(spec(0))
    assert (report,) == alone.advance()
    (use,) = measured.use()
    assert (use.name, use.n_trials, use.busy_s, use.idle_s) == ("cuda:0", 1, float(RUNGS[0]), 5.0)
    measured.start(spec(0), checkpoint=tmp_path / "kept")
    assert measured.use()[0].n_trials == 1  # it began elsewhere
    assert inside.resumed == [(0, RUNGS[0])]


def test_time_counts_also_when_the_runner_raises():
    inside = FakeRunner()

    def fail() -> None:
        inside.clock.now += 3.0
        raise RuntimeError("broken")

    measured = MeasuredRunner(inside, name="cpu", clock=inside.clock)
    measured.start(spec(0))
    inside.before_advance = fail
    with pytest.raises(RuntimeError, match="broken"):
        measured.advance()
    assert measured.use()[0].busy_s == 3.0


def test_the_workers_of_a_pool_speak_for_themselves():
    pool = WorkerPool([InProcessWorker(FakeRunner(), name="worker 1"), InProcessWorker(FakeRunner(), name="worker 2")])
    assert [use.name for use in MeasuredRunner(pool, name="cpu").use()] == ["worker 1", "worker 2"]
    pool.close()
