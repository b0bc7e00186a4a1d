"""A pool of workers: what is reported, what is placed where, and what a lost worker costs."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import AdvisorError, DataError
from advisor.trial import TrialSpec
from advisor.workers.pool import LOSSES, WorkerPool
from advisor.workers.worker import WorkerLostError
from tests.search.fakes import METRIC, FakeClock, FakeRunner, candidate

RUNGS = (10, 20, 40)


@dataclass
class FakeWorker:
    """A worker whose calls are answered at once, or when told; it is lost where `dies` says so."""

    name: str = "worker"
    slots: int = 1
    dies: Callable[[str, tuple[Any, ...]], bool] = lambda method, arguments: False
    replaceable: bool = True
    waits: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    runner: FakeRunner = field(init=False)
    n_restarts: int = 0
    held_back: "list[tuple[Future[Any], str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runner = FakeRunner(slots=self.slots, clock=self.clock)

    def submit(self, method: str, *arguments: Any, **options: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if self.dies(method, arguments):
            future.set_exception(WorkerLostError(f"{self.name}: its process ended"))
        elif self.waits and method == "advance":
            self.held_back.append((future, method))
        else:
            try:
                future.set_result(getattr(self.runner, method)(*arguments, **options))
            except Exception as error:
                future.set_exception(error)
        return future

    def let_go(self) -> None:
        for future, method in self.held_back:
            future.set_result(getattr(self.runner, method)())
        self.held_back = []

    def restart(self) -> None:
        if not self.replaceable:
            raise WorkerLostError(f"{self.name}: gone")
        self.n_restarts += 1
        self.runner = FakeRunner(slots=self.slots, clock=self.clock)

    def close(self) -> None:
        self.runner.live.clear()


def spec(number: int, learning_rate: float = 1e-3) -> TrialSpec:
    return TrialSpec(number=number, candidate=candidate(learning_rate=learning_rate), seed=0, rung_steps=RUNGS)


def times(n: int, method: str) -> Callable[[str, tuple[Any, ...]], bool]:
    """Die at the first n calls of a method."""
    left = [n]

    def dies(called: str, arguments: tuple[Any, ...]) -> bool:
        if called != method or left[0] == 0:
            return False
        left[0] -= 1
        return True

    return dies


def keep(pool: WorkerPool, number: int, folder: Path) -> Path:
    path = folder / f"{number}-{len(list(folder.iterdir()))}"
    pool.checkpoint(number, path)
    return path


def test_slots_are_those_of_all_workers_and_trials_are_spread():
    workers = [FakeWorker("a", slots=2), FakeWorker("b", slots=2)]
    pool = WorkerPool(workers, slots_each=2)
    assert pool.slots == 4
    for number in range(4):
        pool.start(spec(number))
    assert [sorted(worker.runner.live) for worker in workers] == [[0, 2], [1, 3]]
    with pytest.raises(RuntimeError, match="all 4 slots"):
        pool.start(spec(4))


def test_the_first_worker_that_reports_is_heard_while_others_train_on():
    slow, fast = FakeWorker("slow", waits=True), FakeWorker("fast")
    pool = WorkerPool([slow, fast])
    pool.start(spec(0))
    pool.start(spec(1))
    assert [(report.number, report.rung) for report in pool.advance()] == [(1, 0)]
    assert [(report.number, report.rung) for report in pool.advance()] == [(1, 1)]
    with pytest.raises(RuntimeError, match="being trained"):
        pool.checkpoint(0, Path("never"))
    slow.let_go()
    assert sorted((report.number, report.rung) for report in pool.advance()) == [(0, 0), (1, 2)]


def test_a_free_slot_goes_to_the_worker_that_has_nothing_to_do():
    slow, fast = FakeWorker("slow", waits=True, slots=2), FakeWorker("fast", slots=2)
    pool = WorkerPool([slow, fast], slots_each=2)
    for number in range(3):
        pool.start(spec(number))
    pool.advance()
    pool.stop(1)
    pool.start(spec(3))
    assert 3 in fast.runner.live


def test_a_lost_worker_is_replaced_and_its_trial_goes_on_from_its_checkpoint(tmp_path):
    worker = FakeWorker()
    pool = WorkerPool([worker])
    pool.start(spec(0))
    (first,) = pool.advance()
    path = keep(pool, 0, tmp_path)
    worker.dies = times(1, "advance")
    (second,) = pool.advance()
    assert (first.rung, second.rung) == (0, 1)
    assert worker.n_restarts == 1
    assert worker.runner.resumed == [(0, RUNGS[0])]
    assert path.is_dir()
    # As without a loss.
    assert second.metrics[METRIC] == FakeRunner().value(spec(0).candidate, RUNGS[1], RUNGS[-1])


def test_what_was_reported_before_a_loss_is_not_reported_twice(tmp_path):
    worker = FakeWorker()
    pool = WorkerPool([worker])
    pool.start(spec(0))
    pool.advance()
    keep(pool, 0, tmp_path)
    (reported,) = pool.advance()
    worker.dies = times(1, "checkpoint")  # after its report, before anything was kept of it
    keep(pool, 0, tmp_path)
    assert reported.rung == 1
    assert worker.runner.live[0].step == RUNGS[1]
    assert [report.rung for report in pool.advance()] == [2]


def test_a_loss_while_the_adapter_is_saved_costs_the_rung_and_not_the_trial(tmp_path):
    worker = FakeWorker()
    pool = WorkerPool([worker])
    pool.start(spec(0))
    for _ in RUNGS:
        pool.advance()
    worker.dies = times(1, "save")
    folder = tmp_path / "adapter"
    folder.mkdir()
    pool.save(0, folder)
    assert (folder / "adapter_config.json").read_text() == '{"number": 0, "rung": 2}'


def test_trials_of_the_same_lost_worker_all_go_on(tmp_path):
    worker = FakeWorker(slots=3)
    pool = WorkerPool([worker], slots_each=3)
    for number in range(3):
        pool.start(spec(number))
    assert len(pool.advance()) == 3
    for number in range(3):
        keep(pool, number, tmp_path)
    worker.dies = times(1, "advance")
    assert sorted((report.number, report.rung) for report in pool.advance()) == [(0, 1), (1, 1), (2, 1)]


def test_a_trial_that_loses_several_workers_is_given_up_and_the_others_are_not():
    class Poisoned(FakeWorker):
        def submit(self, method: str, *arguments: Any, **options: Any) -> "Future[Any]":
            self.dies = lambda called, _: called == "advance" and 7 in self.runner.live
            return super().submit(method, *arguments, **options)

    workers = [Poisoned("a"), Poisoned("b")]
    pool = WorkerPool(workers)
    pool.start(spec(7))
    pool.start(spec(1))
    seen = {}
    for _ in range(8):
        for report in pool.advance():
            seen.setdefault(report.number, []).append(report)
            if report.failure is not None or report.rung == 2:
                pool.stop(report.number)
        if len(seen) == 2 and len(seen[1]) == 3 and seen[7]:
            break
    (verdict,) = seen[7]
    assert verdict.failure is not None
    assert f"{LOSSES} workers" in verdict.failure.message
    assert [report.rung for report in seen[1]] == [0, 1, 2]
    assert sum(worker.n_restarts for worker in workers) == LOSSES
    pool.start(spec(2))  # neither worker was blamed for it


def test_a_worker_that_cannot_be_replaced_leaves_its_trials_to_the_others():
    gone, stays = FakeWorker("gone", replaceable=False), FakeWorker("stays", slots=1)
    pool = WorkerPool([gone, stays])
    pool.start(spec(0))
    pool.start(spec(1))
    gone.dies = lambda method, arguments: True
    reports = [report for _ in range(3) for report in pool.advance()]
    assert [(report.number, report.rung) for report in reports] == [(1, 0), (1, 1), (1, 2)]
    assert pool.slots == 1
    pool.stop(1)
    assert [(report.number, report.rung) for report in pool.advance()] == [(0, 0)]
    assert stays.runner.live.keys() == {0}


def test_without_any_worker_the_study_says_how_to_go_on():
    worker = FakeWorker(replaceable=False)
    pool = WorkerPool([worker])
    pool.start(spec(0))
    worker.dies = lambda method, arguments: True
    with pytest.raises(AdvisorError, match="run the same command again"):
        pool.advance()


def test_a_checkpoint_that_cannot_be_used_is_refused_and_the_slot_stays_free(tmp_path):
    pool = WorkerPool([FakeWorker()])
    with pytest.raises(DataError, match="not a checkpoint"):
        pool.start(spec(0), checkpoint=tmp_path)
    pool.start(spec(0))


def test_a_trial_that_is_stopped_while_it_trains_reports_nothing_more():
    slow, fast = FakeWorker("slow", waits=True), FakeWorker("fast")
    pool = WorkerPool([slow, fast])
    pool.start(spec(0))
    pool.start(spec(1))
    pool.advance()
    slow.let_go()
    pool.stop(0)
    assert {report.number for report in pool.advance()} == {1}
    with pytest.raises(RuntimeError, match="trial 0 is not live"):
        pool.stop(0)


def test_use_says_what_each_worker_did():
    clock = FakeClock()
    pool = WorkerPool([FakeWorker("a", clock=clock), FakeWorker("b")], clock=clock)
    pool.start(spec(0))
    pool.advance()  # ten steps of a second
    clock.now += 5.0
    first, second = pool.use()
    assert (first.name, first.n_trials, first.busy_s, first.idle_s, first.n_lost) == ("a", 1, 10.0, 5.0, 0)
    assert (second.name, second.n_trials, second.busy_s, second.idle_s) == ("b", 0, 0.0, 15.0)
