"""Workers in a real Ray cluster of several nodes on this machine, with a runner that needs no model."""

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import AdvisorError, DataError
from advisor.trial import Evaluation, RungReport
from advisor.workers import ray_actor, ray_worker
from advisor.workers.in_process import InProcessWorker
from advisor.workers.pool import WorkerPool
from advisor.workers.ray_link import JoinError, RayLink
from advisor.workers.ray_worker import RayWorker
from advisor.workers.worker import MachineLostError, NotReadyError, UnfitError, WorkerLostError
from tests.search.fakes import FakeRunner, candidate
from tests.workers.ray_fixture import add_node, ray_cluster_of
from tests.workers.test_pool import RUNGS, spec

pytestmark = pytest.mark.slow
WEIGHTS = os.urandom(3 * 1024**2 + 17)


class Runner(FakeRunner):
    """A runner that fails as it is told, and writes more than a few bytes."""

    def advance(self) -> tuple[RungReport, ...]:
        time.sleep(0.05)
        return super().advance()

    def checkpoint(self, number: int, folder: Path) -> None:
        super().checkpoint(number, folder)
        (folder / "optimizer").mkdir()
        (folder / "optimizer" / "weights").write_bytes(WEIGHTS_THERE)

    def fail(self, kind: str) -> None:
        raise {"data": DataError, "runtime": RuntimeError, "key": KeyError, "os": OSError}[kind]("so it is")

    def evaluate(self, candidate, adapter, split, *, seed, predictions=None):  # type: ignore[no-untyped-def]
        n = len((adapter / "optimizer" / "weights").read_bytes())
        if predictions is not None:
            predictions.write_text('{"example_id": "1"}\n')
        return Evaluation(metrics={"f1": 0.5}, n_examples=n, duration_s=1.0)


WEIGHTS_THERE = b""


def make(weights: bytes) -> Runner:
    global WEIGHTS_THERE
    WEIGHTS_THERE = weights
    return Runner()


def refuse(weights: bytes) -> Runner:
    raise DataError("no such base model on this node")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster_of(2, 1) as found:
        yield found


@pytest.fixture(scope="module")
def link(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayLink]:
    found = RayLink(cluster.address, log=tmp_path_factory.mktemp("ray") / "ray.log", patience_s=60)
    found.join()
    found.give(pickle.dumps((make, (WEIGHTS,))))
    yield found
    found.close()


@pytest.fixture
def worker(link: RayLink, tmp_path: Path) -> Iterator[Callable[[int], RayWorker]]:
    made: list[RayWorker] = []

    def of(number: int) -> RayWorker:
        made.append(RayWorker(link, number, cpus=1, gpus=0, log=tmp_path / f"{number}.log"))
        return made[-1]

    yield of
    for one in made:
        one.close()


def ready(*workers: RayWorker) -> None:
    for worker in workers:
        worker.ready().result(timeout=40)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("never")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_trial_gives_what_it_gives_in_one_process_and_its_files_come_as_they_are(worker, tmp_path):
    there, other = worker(1), worker(2)
    ready(there, other)
    here = make(WEIGHTS)
    for runner in (here, there):
        start = runner.start if runner is here else lambda *a, **k: there.submit("start", *a, **k).result()
        start(spec(4))
    assert there.submit("advance").result() == here.advance()
    (tmp_path / "saved-here").mkdir()
    (tmp_path / "saved-there").mkdir()
    here.checkpoint(4, tmp_path / "here")
    here.save(4, tmp_path / "saved-here")
    there.submit("checkpoint", 4, tmp_path / "there").result()
    there.submit("save", 4, tmp_path / "saved-there").result()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert contents(tmp_path / "there")["optimizer/weights"] == WEIGHTS
    assert contents(tmp_path / "saved-there") == contents(tmp_path / "saved-here")
    assert not list(tmp_path.glob("*.unpacked"))
    # To another node, and on from there.
    other.submit("start", spec(4), checkpoint=tmp_path / "there").result()
    assert other.submit("advance").result() == here.advance()
    assert "node" in other.name
    evaluation = other.submit("evaluate", candidate(), tmp_path / "there", "test", seed=0,
                              predictions=tmp_path / "predictions.jsonl").result()  # fmt: skip
    assert evaluation.n_examples == len(WEIGHTS)
    assert (tmp_path / "predictions.jsonl").read_text() == '{"example_id": "1"}\n'


def test_what_is_larger_than_a_message_goes_in_pieces(worker, tmp_path, monkeypatch):
    one = worker(1)
    ready(one)
    monkeypatch.setattr(ray_worker, "chunks_of", lambda folder: ray_actor.chunks_of(folder, 100_000))
    make(WEIGHTS)
    here = Runner()
    here.start(spec(0))
    here.advance()
    here.checkpoint(0, tmp_path / "here")
    one.submit("start", spec(0), checkpoint=tmp_path / "here").result()
    one.submit("checkpoint", 0, tmp_path / "there").result()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_what_a_runner_raises_comes_back_in_kind(worker, tmp_path):
    one = worker(1)
    ready(one)
    for kind, error in (("data", DataError), ("runtime", RuntimeError), ("key", AdvisorError)):
        with pytest.raises(error, match="so it is") as caught:
            one.submit("fail", kind).result()
        assert type(caught.value) is error
    # A disk over there is not the study's own.
    with pytest.raises(WorkerLostError, match="so it is"):
        one.submit("fail", "os").result()
    with pytest.raises(DataError, match=f"{tmp_path}/nowhere: cannot be read"):
        one.submit("start", spec(0), checkpoint=tmp_path / "nowhere").result()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path}/empty: not a checkpoint"):
        one.submit("start", spec(0), checkpoint=tmp_path / "empty").result()
    assert one.submit("start", spec(0)).result() is None


def test_all_actors_read_the_same_recipe_that_was_put_once(link, worker):
    workers = [worker(number) for number in (1, 2, 3)]
    ready(*workers)
    assert link.request("n_puts").result() == 1
    assert len({one.pid for one in workers}) == 3


def test_a_killed_actor_costs_what_came_after_its_checkpoint(worker, tmp_path):
    workers = [worker(1), worker(2)]
    ready(*workers)
    pool = WorkerPool(workers)
    seen: dict[int, list[RungReport]] = {0: [], 1: []}
    for number in seen:
        pool.start(spec(number))
    killed = False
    while any(len(reports) < len(RUNGS) for reports in seen.values()):
        for report in pool.advance():
            seen[report.number].append(report)
            if report.rung == len(RUNGS) - 1:
                pool.stop(report.number)
                continue
            pool.checkpoint(report.number, tmp_path / f"{report.number}-{report.rung}")
            if not killed and report.number == 0:
                os.kill(workers[0].pid or workers[1].pid, signal.SIGKILL)
                killed = True
    assert sum(one.n_lost for one in pool.use()) == 1
    for number, reports in seen.items():
        alone = FakeRunner()
        alone.start(spec(number))
        assert reports == [alone.advance()[0] for _ in RUNGS]


def test_a_lost_actor_says_who_and_where(worker):
    one = worker(1)
    ready(one)
    os.kill(one.pid, signal.SIGKILL)
    with pytest.raises(
        WorkerLostError, match=r"worker 1 \(node [\d.]+\): its process ended; .*\.err on node"
    ) as caught:
        one.submit("advance").result(timeout=30)
    assert not isinstance(caught.value, MachineLostError)


def test_a_node_may_go_and_another_come_while_others_train(cluster, link, worker, tmp_path):
    here = InProcessWorker(make(WEIGHTS), name="this process")
    node = add_node(cluster, cpus=1)
    workers = [worker(1), worker(2), worker(3), worker(4)]
    ready(*workers)
    pool = WorkerPool([here, *workers])
    for number in range(5):
        pool.start(spec(number))
    seen = [(report.number, report.rung) for report in pool.advance()]
    (on_it,) = [one for one in workers if parent_of(one.pid) == node.all_processes["raylet"][0].process.pid]
    cluster.remove_node(node, allow_graceful=False)
    until(lambda: not Path(f"/proc/{on_it.pid}").exists())  # it outlives its node by a moment
    while len(seen) < 5 * len(RUNGS):
        for report in pool.advance():
            assert report.failure is None
            seen.append((report.number, report.rung))
            if report.rung == len(RUNGS) - 1:
                pool.stop(report.number)
    assert pool.slots == 4  # one waits for a node, and nobody waited for it
    assert [one for one in workers if not one.ready().done()] == [on_it]
    assert sorted(seen)[0] == (0, 0)
    assert len(set(seen)) == len(seen)
    node = add_node(cluster, cpus=1)
    on_it.ready().result(timeout=40)
    assert pool.slots == 5
    here.close()
    for one in workers:
        one.close()
    cluster.remove_node(node)


def test_a_node_that_cannot_make_the_runner_or_has_other_versions_says_so(cluster, tmp_path, monkeypatch):
    link = RayLink(cluster.address, log=tmp_path / "ray.log")
    link.join()
    link.give(pickle.dumps((refuse, (b"",))))
    one = RayWorker(link, 1, cpus=1, gpus=0, log=tmp_path / "1.log")
    with pytest.raises(NotReadyError, match="no such base model on this node"):
        one.ready().result(timeout=40)
    monkeypatch.setattr(ray_worker, "versions", lambda: {**ray_actor.versions(), "torch": "2.6"})
    one.restart()
    with pytest.raises(UnfitError, match=r"its node has torch [\d.+a-z]+, this process 2\.6; install the same"):
        one.ready().result(timeout=40)
    one.close()
    link.close()


def test_a_process_that_speaks_with_ray_is_replaced_when_it_ends(cluster, tmp_path):
    link = RayLink(cluster.address, log=tmp_path / "ray.log", patience_s=60)
    link.join()
    link.give(pickle.dumps((make, (WEIGHTS,))))
    pool = WorkerPool([one := RayWorker(link, 1, cpus=1, gpus=0, log=tmp_path / "1.log")])
    pool.wait_until_ready(others_s=0)
    pool.start(spec(0))
    pool.advance()
    pool.checkpoint(0, tmp_path / "kept")
    os.kill(link.pid, signal.SIGKILL)
    assert [(report.number, report.rung) for report in pool.advance()] == [(0, 1)]
    assert link.n_joined == 2
    pool.close()
    link.close()
    assert one.ready().done()


def test_where_there_is_no_cluster_it_is_said(tmp_path):
    link = RayLink("127.0.0.1:1", log=tmp_path / "ray.log")
    with pytest.raises(JoinError):
        link.join()
    link.close()
