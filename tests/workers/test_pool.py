"""A pool of workers: what is reported, what is placed where, and what a lost worker costs."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from advisor.errors import AdvisorError, DataError
from advisor.trial import TrialSpec
from advisor.workers.pool import LOSSES, WorkerPool
from advisor.workers.worker import MachineLostError, NotReadyError, UnfitError, WorkerLostError, ready_at_once
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
    coming: "Future[None] | None" = None  # for a worker that is not ready yet
    held_back: "list[tuple[Future[Any], str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runner = FakeRunner(slots=self.slots, clock=self.clock)

    def ready(self) -> "Future[None]":
        return self.coming or ready_at_once()

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


def test_a_trial_asked_about_waits_for_room_that_others_have_taken(tmp_path):
    gone, stays = FakeWorker("gone", replaceable=False), FakeWorker("stays")
    pool = WorkerPool([gone, stays])
    pool.start(spec(0))
    pool.start(spec(1))
    assert sorted(report.number for report in pool.advance()) == [0, 1]
    gone.dies = lambda method, arguments: True  # while the round is written
    paths = [keep(pool, number, tmp_path) for number in (0, 1)]
    assert all(path.is_dir() for path in paths)
    reports = [report for _ in range(2) for report in pool.advance()]
    # Both are kept at their first rung; one has the worker now, the other waits and loses nothing.
    assert len({report.number for report in reports}) == 1
    assert [report.rung for report in reports] == [1, 2]
    pool.stop(reports[0].number)
    other = 1 - reports[0].number
    assert [(report.number, report.rung) for report in pool.advance()] == [(other, 1)]


def test_a_trial_asked_about_waits_for_a_worker_that_trains(tmp_path):
    gone, slow = FakeWorker("gone"), FakeWorker("slow", waits=True)
    pool = WorkerPool([gone, slow])
    pool.start(spec(0))
    pool.start(spec(1))
    assert [report.number for report in pool.advance()] == [0]
    gone.replaceable, gone.dies = False, lambda method, arguments: True
    Timer(0.2, slow.let_go).start()
    slow.waits = False  # it is asked to train trial 0 up to its rung again, at once
    keep(pool, 0, tmp_path)
    # What the other had to report came while it was waited for; the search hears it now.
    assert [(report.number, report.rung) for report in pool.advance()] == [(1, 0)]
    assert list(slow.runner.live) == [0]


def test_all_trials_of_a_worker_that_is_lost_while_a_round_is_written_are_kept(tmp_path):
    worker = FakeWorker(slots=3)
    pool = WorkerPool([worker], slots_each=3)
    for number in range(3):
        pool.start(spec(number))
    pool.advance()
    worker.dies = times(1, "checkpoint")
    assert all(keep(pool, number, tmp_path).is_dir() for number in range(3))
    assert sorted((report.number, report.rung) for report in pool.advance()) == [(0, 1), (1, 1), (2, 1)]


def test_a_trial_that_is_brought_back_to_its_rung_takes_no_other_beyond_its_own(tmp_path):
    # The first two are at their end when the third of the other worker is asked about and has lost it.
    gone, stays = FakeWorker("gone", slots=3, replaceable=False), FakeWorker("stays", slots=3)
    pool = WorkerPool([gone, stays], slots_each=3)
    for number in range(4):
        pool.start(spec(number))
    reports = []
    while len(reports) < 4 * len(RUNGS):
        reports += pool.advance()
        if len(reports) % 4 == 0 and len(reports) < 4 * len(RUNGS):
            for number in range(4):
                keep(pool, number, tmp_path)
    gone.dies = lambda method, arguments: True
    assert all(keep(pool, number, tmp_path).is_dir() for number in range(4))
    for number in range(4):
        (tmp_path / f"adapter-{number}").mkdir()
        pool.save(number, tmp_path / f"adapter-{number}")
        assert json.loads((tmp_path / f"adapter-{number}" / "adapter_config.json").read_text())["rung"] == 2
        pool.stop(number)


def test_a_worker_that_is_not_ready_has_no_slots_and_holds_up_nobody():
    late, early = FakeWorker("late", coming=Future()), FakeWorker("early")
    pool = WorkerPool([late, early])
    assert pool.slots == 1
    pool.start(spec(0))
    assert [report.number for report in pool.advance()] == [0]
    assert 0 in early.runner.live
    late.coming.set_result(None)
    assert pool.slots == 2
    pool.start(spec(1))
    assert 1 in late.runner.live


def test_a_worker_that_comes_while_others_train_gets_trials():
    added = FakeWorker("added")

    def grow(pool: WorkerPool) -> None:
        if added not in pool.workers:
            pool.add(added)

    pool = WorkerPool([FakeWorker("first")], grow=grow)
    pool.start(spec(0))
    pool.advance()
    assert pool.slots == 2
    pool.start(spec(1))
    assert 1 in added.runner.live
    assert [one.n_trials for one in pool.use()] == [1, 1]


def test_a_lost_machine_is_not_blamed_on_trial_or_worker():
    worker = FakeWorker()
    pool = WorkerPool([worker])
    pool.start(spec(0))

    def lost(method: str, *arguments: Any, **options: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_exception(MachineLostError("its node is gone"))
        return future

    answering, left = worker.submit, [2 * LOSSES]

    def submit(method: str, *arguments: Any, **options: Any) -> "Future[Any]":
        if method == "advance" and left[0]:
            left[0] -= 1
            return lost(method)
        return answering(method, *arguments, **options)

    worker.submit = submit  # type: ignore[method-assign]
    assert [(report.number, report.rung, report.failure) for report in pool.advance()] == [(0, 0, None)]
    assert worker.n_restarts == 2 * LOSSES


def test_a_worker_that_never_becomes_ready_is_given_up_and_its_trials_are_not():
    class Never(FakeWorker):
        def ready(self) -> "Future[None]":
            future: Future[None] = Future()
            future.set_exception(NotReadyError("no such model there"))
            return future

    never, other = Never("never"), FakeWorker("other")
    pool = WorkerPool([never, other])
    pool.start(spec(0))
    assert [(report.number, report.failure) for report in pool.advance()] == [(0, None)]
    for _ in range(LOSSES):
        pool.advance() if len(other.runner.live) and other.runner.live[0].rung < 3 else None
    assert pool.workers == (other,)
    with pytest.raises(AdvisorError, match="no such model there; no worker is left"):
        WorkerPool([Never("alone")]).wait_until_ready(others_s=0)


def test_a_worker_of_another_version_is_not_tried_again():
    class Unfit(FakeWorker):
        def ready(self) -> "Future[None]":
            future: Future[None] = Future()
            future.set_exception(UnfitError("its node has torch 2.6, this process 2.13"))
            return future

    unfit = Unfit("unfit")
    with pytest.raises(AdvisorError, match=r"torch 2\.6, this process 2\.13; no worker is left"):
        WorkerPool([unfit]).wait_until_ready(others_s=0)
    assert unfit.n_restarts == 0


def test_patience_with_workers_that_wait_for_a_machine_ends():
    pool = WorkerPool([FakeWorker(coming=Future())], patience_s=0.1)
    with pytest.raises(AdvisorError, match="there is no room for one"):
        pool.start(spec(0))
