"""A Ray cluster for one study: joined before models are loaded, with workers on its nodes while there is room for them.

The process of `tune` is a worker too where it is on a node of the cluster: it reserves there what it uses, so that Ray
gives it to nobody else. In a cluster with GPUs it trains trials only where its node has some; the baselines and the
final evaluation are made by it in any case.
"""

import importlib.util
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.errors import InputError
from advisor.trial import TrialRunner
from advisor.tuning.data import TuningData
from advisor.tuning.events import StageStarted
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import StartingPoint
from advisor.workers.in_process import InProcessWorker
from advisor.workers.pool import WorkerPool
from advisor.workers.ray_actor import FOLDER_PREFIX
from advisor.workers.ray_driver import Node
from advisor.workers.ray_link import JoinError, RayLink
from advisor.workers.ray_worker import RayWorker
from advisor.workers.worker import Worker, WorkerLostError

if TYPE_CHECKING:
    from advisor.training.runner import DeviceRunner

LOG_NAME = "ray.log"
# How often free resources are asked for, and how long the first trials wait for workers that are slow to begin.
_LOOK_EVERY_S = 5.0
_OTHERS_S = 60.0


class RayCluster:
    """A cluster that is joined, and what a study has of it."""

    def __init__(self, link: RayLink, request: TuningRequest, folder: Path, nodes: Sequence[Node]) -> None:
        """Reserve what this process uses, and count what is there for others.

        Args:
            link: Joined.
            request: What is asked.
            folder: For logs.
            nodes: Of the cluster.

        Raises:
            InputError: The cluster has less than is asked for.
        """
        self._link = link
        self._folder = folder
        self._has_gpus = request.device != "cpu" and any(node.gpus for node in nodes)
        self._cpus, self._gpus = (0.0, float(request.gpus_per_worker)) if self._has_gpus else (1.0, 0.0)
        self._refuse_too_many(request, nodes)
        self.own_device = self._reserve(nodes)
        own = self.own_device is not None
        room = self._room(link.nodes().result())
        self._most = request.n_trials if request.workers is None else request.workers
        self._n_others = min(own + room, self._most) - own if request.workers is None else request.workers - own
        if self._n_others + own < 1:
            raise InputError(
                f"--ray {link.address}: nothing is free there for a worker, which takes {self._takes}; `ray status` "
                "shows what is used, and --workers N waits for it"
            )
        self._n_made = 1
        self._asked: Future[tuple[Node, ...]] | None = None
        self._looked_s = time.monotonic()

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of the workers that there are at the beginning, that of this process first if it is one."""
        theirs = f"{self._gpus:g} × GPU by Ray" if self._gpus > 1 else f"{'GPU' if self._has_gpus else 'cpu'} by Ray"
        return (*([] if self.own_device is None else [self.own_device]), *[theirs] * self._n_others)

    @contextmanager
    def pool(
        self, request: TuningRequest, start: StartingPoint, data: TuningData, runner: "DeviceRunner"
    ) -> Iterator[WorkerPool]:
        """Yield a pool of this process, if it trains, and of workers on the nodes.

        Args:
            request: As this process had it.
            start: Likewise.
            data: Likewise.
            runner: Of this process; how many slots it has, all have.
        """
        theirs = replace(request, ray=None, storage=None, study=None, gpus_per_worker=1, workers=1, device=None)
        self._link.give(pickle.dumps((make_runner_there, (theirs, start, data, runner.slots))))
        workers: list[Worker] = []
        if self.own_device is not None:
            threads = None if self._has_gpus else 1
            workers.append(InProcessWorker(runner, name=f"worker 1 ({self.own_device})", threads=threads))
        workers += [self._worker() for _ in range(self._n_others)]
        pool = WorkerPool(workers, slots_each=runner.slots, grow=self._grow)
        try:
            pool.wait_until_ready(others_s=_OTHERS_S)
            yield pool
        finally:
            pool.close()

    def _worker(self) -> RayWorker:
        self._n_made += 1
        log = self._folder / f"{self._n_made}.log"
        return RayWorker(self._link, self._n_made, cpus=self._cpus, gpus=self._gpus, log=log)

    def _grow(self, pool: WorkerPool) -> None:
        """Add workers where something has become free; waits for nothing."""
        if self._asked is None:
            if time.monotonic() - self._looked_s > _LOOK_EVERY_S:
                self._looked_s = time.monotonic()
                self._asked = self._link.nodes()
            return
        if not self._asked.done():
            return
        asked, self._asked = self._asked, None
        # Those that wait already take what is free.
        if asked.exception() is None and all(worker.ready().done() for worker in pool.workers):
            for _ in range(min(self._room(asked.result()), self._most - len(pool.workers))):
                pool.add(self._worker())

    def _room(self, nodes: Sequence[Node]) -> int:
        """Return for how many workers there is something free."""
        return sum(
            int(node.free_gpus // self._gpus if self._has_gpus else node.free_cpus // self._cpus) for node in nodes
        )

    @property
    def _takes(self) -> str:
        if not self._has_gpus:
            return "a core"
        return "a GPU" if self._gpus == 1 else f"{self._gpus:g} GPUs of one node"

    def _refuse_too_many(self, request: TuningRequest, nodes: Sequence[Node]) -> None:
        if request.gpus_per_worker > 1 and not self._has_gpus:
            raise InputError(
                f"--gpus-per-worker {request.gpus_per_worker}: the Ray cluster has no GPUs by its own books; start "
                "its nodes with --num-gpus"
            )
        room = sum(int(node.gpus // self._gpus if self._has_gpus else node.cpus // self._cpus) for node in nodes)
        if room < max(request.workers or 0, 1):
            raise InputError(
                f"--ray {self._link.address}: has room for {room} workers, each with {self._takes}, and "
                f"{request.workers or 1} are asked for; add nodes or give a smaller --workers"
            )

    def _reserve(self, nodes: Sequence[Node]) -> str | None:
        """Reserve what this process uses if it is to train trials; return its device then.

        Raises:
            InputError: Its node has GPUs, but others use them.
        """
        ours = next((node for node in nodes if node.is_ours), None)
        if ours is None or (self._has_gpus and ours.gpus < self._gpus):
            return None
        found = self._link.reserve(cpus=self._cpus, gpus=self._gpus)
        if not self._has_gpus:
            return None if found is None else "cpu"
        if found is None:
            raise InputError(
                f"--ray {self._link.address}: all GPUs of this node are in use, and this process evaluates on one; "
                "wait for them, or run tune on another node"
            )
        return ",".join(map(_own_device, found))


@contextmanager
def ray_cluster(
    request: TuningRequest, folder: Path, on_event: Callable[[StageStarted], None]
) -> Iterator[RayCluster | None]:
    """Yield the cluster that is asked for, joined; None where none is.

    Args:
        request: What is asked.
        folder: For logs.
        on_event: Told of what takes time.

    Raises:
        InputError: Ray is not installed, nothing answers at the address, or the cluster has less than is asked for.
    """
    if request.ray is None:
        yield None
        return
    if importlib.util.find_spec("ray") is None:
        raise InputError("--ray: Ray is not installed; pip install 'peft-advisor[ray]'")
    on_event(StageStarted(text=f"joining the Ray cluster at {request.ray}"))
    # Nothing may stand in the run folder before the study has begun.
    with tempfile.TemporaryDirectory(prefix="peft-advisor-ray-") as scratch:
        link = RayLink(request.ray, log=Path(scratch) / LOG_NAME)
        try:
            yield RayCluster(link, request, folder, _joined(link))
        finally:
            link.close()
            if folder.is_dir():
                with (folder / LOG_NAME).open("ab") as log:
                    log.write((Path(scratch) / LOG_NAME).read_bytes())


def make_runner_there(request: TuningRequest, start: StartingPoint, data: TuningData, slots: int) -> TrialRunner:
    """Make the runner of a worker on a node, on the GPUs that Ray gives it."""
    from advisor.tuning.workers import make_runner

    ray = import_module("ray")
    device = ",".join(f"cuda:{index}" for index in range(len(ray.get_gpu_ids()))) or "cpu"
    folder = Path(tempfile.gettempdir()) / f"{FOLDER_PREFIX}{os.getpid()}-verdicts"
    return make_runner(replace(request, device=device), start, data, folder, slots)


def _joined(link: RayLink) -> tuple[Node, ...]:
    try:
        link.join()
        return link.nodes().result()
    except JoinError as error:
        raise InputError(
            f"--ray {link.address}: no Ray cluster can be joined there ({error}); `ray start --head` starts one"
        ) from error
    except WorkerLostError as error:
        raise InputError(f"--ray {link.address}: {error}") from error


def _own_device(gpu: str) -> str:
    """Return the device of this process that is the GPU of this id, by the same books as Ray's."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return f"cuda:{int(gpu)}"
    ids = [one.strip() for one in visible.split(",")]
    if gpu not in ids:
        raise InputError(
            f"--ray: Ray gives this process GPU {gpu}, and CUDA_VISIBLE_DEVICES={visible} hides it; start both with "
            "the same value"
        )
    return f"cuda:{ids.index(gpu)}"
