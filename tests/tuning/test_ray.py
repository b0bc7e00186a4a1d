"""A study on a Ray cluster: what is refused before it begins, who works where, and one whole study on two nodes."""

import importlib.util
import json
import os
import pickle
import signal
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from advisor.errors import InputError
from advisor.search.events import RungReached
from advisor.tuning import TuningRequest, prepare
from advisor.tuning import ray_cluster as ray_cluster_module
from advisor.tuning.events import Planned
from advisor.tuning.ray_cluster import RayCluster, ray_cluster
from advisor.tuning.workers import devices_of, request_here
from advisor.workers.pool import WorkerPool
from advisor.workers.ray_driver import Node
from advisor.workers.ray_worker import RayWorker
from tests.tuning.test_study_run import inputs as inputs  # a fixture
from tests.tuning.test_study_run import request
from tests.tuning.test_workers import On
from tests.workers.ray_fixture import ray_cluster_of


def asking(**changes: object) -> TuningRequest:
    return TuningRequest(train=Path("t.csv"), valid=None, test=None, split="80/10/10", task="clone-detection",
                         **changes)  # type: ignore[arg-type]  # fmt: skip


def node(*, gpus: float = 0, cpus: float = 8, free_gpus: float | None = None, ours: bool = False) -> Node:
    return Node(id=f"{id(object())}", address="10.0.0.1", is_ours=ours, cpus=cpus, gpus=gpus, free_cpus=cpus,
                free_gpus=gpus if free_gpus is None else free_gpus)  # fmt: skip


class Link:
    """Stands for the way to a cluster whose nodes are given; what is reserved on our node is not free any more."""

    address = "auto"

    def __init__(self, *nodes: Node) -> None:
        self.there = nodes
        self.reserved: list[tuple[float, float]] = []

    def reserve(self, *, cpus: float, gpus: float) -> tuple[str, ...] | None:
        (ours,) = [one for one in self.there if one.is_ours]
        if ours.free_gpus < gpus or ours.free_cpus < cpus:
            return None
        self.reserved.append((cpus, gpus))
        return tuple(str(3 + index) for index in range(int(gpus)))

    def nodes(self) -> Any:
        future: Future[tuple[Node, ...]] = Future()
        cpus, gpus = (sum(one[i] for one in self.reserved) for i in (0, 1))
        future.set_result(
            tuple(
                replace(one, free_cpus=one.free_cpus - cpus, free_gpus=one.free_gpus - gpus) if one.is_ours else one
                for one in self.there
            )
        )
        return future


def cluster_of(asked: TuningRequest, *nodes: Node) -> RayCluster:
    return RayCluster(Link(*nodes), asked, Path("workers"), nodes)  # type: ignore[arg-type]


def test_every_free_gpu_has_a_worker_and_this_process_one_of_its_node(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = cluster_of(asking(ray="auto", workers=None), node(gpus=4, ours=True), node(gpus=8, free_gpus=6))
    assert found.devices == ("cuda:3", *["GPU by Ray"] * 9)
    # A trial needs no more workers than there are trials.
    found = cluster_of(asking(ray="auto", workers=None, n_trials=3), node(gpus=4, ours=True))
    assert found.devices == ("cuda:3", "GPU by Ray", "GPU by Ray")
    assert cluster_of(asking(ray="auto", workers=2), node(gpus=4, ours=True)).devices == ("cuda:3", "GPU by Ray")


def test_several_gpus_of_a_worker_are_of_one_node(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked = asking(ray="auto", workers=None, gpus_per_worker=2)
    # 4 - 2 of our own, then 3 GPUs are room for one worker and one GPU for none.
    found = cluster_of(asked, node(gpus=4, ours=True), node(gpus=3), node(gpus=1))
    assert found.devices == ("cuda:3,cuda:4", "2 × GPU by Ray", "2 × GPU by Ray")
    assert request_here(asked, found).device == "cuda:3,cuda:4"


def test_a_process_on_a_node_without_gpus_trains_nothing_in_a_cluster_with_gpus():
    asked = asking(ray="auto", workers=None)
    found = cluster_of(asked, node(ours=True), node(gpus=2))
    assert found.devices == ("GPU by Ray", "GPU by Ray")
    assert found.own_device is None
    assert request_here(asked, found).device is None
    # Nor where it is on no node at all.
    assert cluster_of(asked, node(gpus=2)).own_device is None


def test_without_gpus_or_on_demand_cores_are_what_counts():
    assert cluster_of(asking(ray="auto", workers=None), node(cpus=2, ours=True), node(cpus=1)).devices == (
        "cpu", "cpu by Ray", "cpu by Ray",
    )  # fmt: skip
    on_cpu = asking(ray="auto", workers=None, device="cpu")
    assert cluster_of(on_cpu, node(cpus=1, gpus=4, ours=True)).devices == ("cpu",)


def test_the_gpu_that_ray_gives_is_found_among_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert cluster_of(asking(ray="auto"), node(gpus=2, ours=True)).own_device == "cuda:1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(InputError, match="CUDA_VISIBLE_DEVICES=0,1 hides it"):
        cluster_of(asking(ray="auto"), node(gpus=2, ours=True))


@pytest.mark.parametrize(
    ("changes", "nodes", "says"),
    [
        (
            {"workers": 5},
            [node(cpus=2, ours=True), node(cpus=2)],
            "has room for 4 workers, each with a core, and 5 are",
        ),
        ({"workers": 3}, [node(gpus=2)], "has room for 2 workers, each with a GPU, and 3 are"),
        ({"workers": None, "gpus_per_worker": 4}, [node(gpus=2)], "room for 0 workers, each with 4 GPUs of one node"),
        ({"workers": None, "gpus_per_worker": 2}, [node()], "has no GPUs by its own books"),
        ({"workers": None}, [node(gpus=2, free_gpus=0)], "nothing is free there for a worker, which takes a GPU"),
        ({"workers": None}, [node(gpus=1, free_gpus=0, ours=True)], "all GPUs of this node are in use"),
    ],
)
def test_what_the_cluster_does_not_have_is_said_before_anything_is_loaded(changes, nodes, says):
    with pytest.raises(InputError, match=says):
        cluster_of(asking(ray="auto", **changes), *nodes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ray": "auto", "device": "cuda:1"}, "--ray and --device cuda:1 exclude each other"),
        ({"ray": ""}, "--ray: '' is not an address"),
        ({"ray": "head 6379"}, "--ray: 'head 6379' is not an address"),
        ({"gpus_per_worker": 0}, "--gpus-per-worker: 0 is less than 1"),
        ({"gpus_per_worker": 2, "device": "cuda:0"}, "--gpus-per-worker and --device cuda:0 exclude each other"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        asking(**changes)


def test_without_ray_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    with (
        pytest.raises(InputError, match=r"pip install 'peft-advisor\[ray\]'"),
        ray_cluster(asking(ray="auto"), tmp_path, lambda event: None),
    ):
        pass


def test_gpu_hours_are_of_all_gpus_together():
    assert asking(workers=4, gpus_per_worker=2, gpu_hours=2.0).limit_s == 900


def test_several_gpus_of_this_machine_make_one_worker(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 5)
    assert devices_of(asking(gpus_per_worker=2, workers=None), On("cuda"), None) == ("cuda:0,cuda:1", "cuda:2,cuda:3")
    assert devices_of(asking(gpus_per_worker=4), On("cuda"), None) == ("cuda:0,cuda:1,cuda:2,cuda:3",)
    assert request_here(asking(gpus_per_worker=2, workers=2), None).device == "cuda:0,cuda:1"
    with pytest.raises(InputError, match="--gpus-per-worker 2: this machine has 5 GPUs, too few for 3 workers"):
        devices_of(asking(gpus_per_worker=2, workers=3), On("cuda"), None)
    with pytest.raises(InputError, match="this machine has 5 GPUs, too few for a worker"):
        request_here(asking(gpus_per_worker=8, workers=None), None)


@dataclass
class Coming:
    """Stands for a worker of the cluster: ready or not."""

    future: "Future[None]"

    def ready(self) -> "Future[None]":
        return self.future

    def close(self) -> None:
        pass


def test_nodes_that_come_get_workers_as_long_as_there_are_trials(monkeypatch):
    made: list[Coming] = []

    def worker(*arguments: object, **options: object) -> Coming:
        made.append(Coming(Future()))
        return made[-1]

    monkeypatch.setattr(ray_cluster_module, "RayWorker", worker)
    monkeypatch.setattr(ray_cluster_module, "_LOOK_EVERY_S", -1.0)
    link = Link(node(gpus=1), node(gpus=0))
    cluster = RayCluster(link, asking(ray="auto", workers=None, n_trials=4), Path("workers"), link.there)  # type: ignore[arg-type]
    first = Coming(Future())
    first.future.set_result(None)
    pool = WorkerPool([first])  # type: ignore[list-item]

    def look(*there: Node) -> int:
        link.there = there
        for _ in range(2):  # it asks, and looks at the answer the next time
            cluster._grow(pool)
        return len(pool.workers)

    assert look(node(gpus=1, free_gpus=0)) == 1
    assert look(node(gpus=1, free_gpus=0), node(gpus=2)) == 3
    assert look(node(gpus=1, free_gpus=0), node(gpus=8)) == 3  # two wait for what is free already
    for one in made:
        one.future.set_result(None)
    assert look(node(gpus=1, free_gpus=0), node(gpus=8, free_gpus=6)) == 4


@pytest.mark.slow
def test_gpus_in_the_books_of_a_real_cluster_are_given_out_once(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with (
        ray_cluster_of(1, 1, gpus_of_head=3) as there,
        ray_cluster(asking(ray=there.address, workers=None), tmp_path, lambda event: None) as found,
    ):
        assert found is not None
        assert found.devices == ("cuda:0", "GPU by Ray", "GPU by Ray")
        found._link.give(pickle.dumps((OfGpus, ())))
        workers = [found._worker(), found._worker()]
        for one in workers:
            one.ready().result(timeout=180)
        assert sorted(one.submit("visible").result() for one in workers) == ["1", "2"]
        assert sorted(one.name.rpartition(", ")[2] for one in workers) == ["GPU 1)", "GPU 2)"]
        for one in workers:
            one.close()


class OfGpus:
    """Stands for a runner that says which GPUs its process sees."""

    def visible(self) -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.slow
def test_where_no_cluster_answers_the_study_does_not_begin(inputs, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    folder = tmp_path / "study"
    run = prepare(request(inputs, folder, ray="127.0.0.1:1", n_trials=2))
    with pytest.raises(InputError, match=r"no Ray cluster can be joined there .nobody listens: .*ray start --head"):
        run.finish()
    assert not folder.exists()


@pytest.mark.slow
def test_a_study_on_two_nodes_ends_whole_although_an_actor_is_killed(inputs, tmp_path, monkeypatch):
    made: list[RayWorker] = []

    class Watched(RayWorker):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(ray_cluster_module, "RayWorker", Watched)
    events: list[object] = []

    def on_event(event: object) -> None:
        events.append(event)
        if isinstance(event, RungReached) and sum(isinstance(one, RungReached) for one in events) == 2:
            os.kill(made[0].pid, signal.SIGKILL)

    folder = tmp_path / "study"
    with ray_cluster_of(1, 1) as cluster:
        asked = request(inputs, folder, ray=cluster.address, workers=None, n_trials=4, max_steps=8)
        result = prepare(asked).finish(on_event)
    assert next(event for event in events if isinstance(event, Planned)).devices == ("cpu", "cpu by Ray")
    records = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert sorted(record["number"] for record in records) == [0, 1, 2, 3]
    assert not [record for record in records if record["state"] == "failed"]
    assert all(
        [report["rung"] for report in record["reports"]] == list(range(len(record["reports"]))) for record in records
    )
    assert result.reload_check.passed
    assert [one.n_lost for one in result.workers] == [0, 1]
    assert all(one.n_trials for one in result.workers)
    assert "2 workers shared search and finals" in (folder / "report.md").read_text()
    assert "its process ended; what it printed is in" in (folder / "workers" / "2.log").read_text()
    assert (folder / "workers" / "ray.log").is_file()
