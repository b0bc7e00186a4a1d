"""Several workers for one study on one machine: one process for each device, this one among them.

The search stays here: it asks, prunes and writes. What the workers share is the run folder, where checkpoints and
adapters go.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.cores import usable_cores
from advisor.errors import InputError
from advisor.spec import GIB
from advisor.trial import TrialRunner
from advisor.tuning.data import TuningData
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import StartingPoint
from advisor.workers.pool import WorkerPool

if TYPE_CHECKING:
    from advisor.training.runner import DeviceRunner
    from advisor.tuning.ray_cluster import RayCluster

FOLDER_NAME = "workers"
# Of the memory that is free; the rest is for what estimates miss, and for other programs.
_SHARE_OF_MEMORY = 0.8
# What a process takes with PyTorch and transformers loaded, before a model.
_PROCESS_BYTES = GIB


def devices_of(request: TuningRequest, runner: "DeviceRunner", need_bytes: int | None) -> tuple[str, ...]:
    """Return the device of each worker, the first of which is this process.

    Args:
        request: Number of workers, None for as many as the machine has room for.
        runner: On the device of this process.
        need_bytes: Memory that a trial takes, None when it is not known.

    Raises:
        InputError: There are not as many devices.
    """
    asked, kind = request.workers, runner.device_type
    if request.gpus_per_worker > 1:
        return _devices_of_several(request, _n_gpus())
    if asked == 1 or kind == "mps":
        if asked not in (None, 1):
            raise InputError(f"--workers {asked}: this machine has one device; leave it out")
        return (request.device or kind,)
    if kind == "cuda":
        there = _n_gpus()
        if asked is not None and asked > there:
            raise InputError(f"--workers {asked}: there is a worker for each GPU, and this machine has {there}")
        return tuple(f"cuda:{index}" for index in range(asked or there))
    room = _room_on_cpu(need_bytes)
    if asked is not None and asked > (cores := usable_cores()):
        raise InputError(f"--workers {asked}: {cores} cores may be used here; give at most as many")
    return ("cpu",) * (asked or room)


@contextmanager
def workers_of(
    request: TuningRequest,
    start: StartingPoint,
    data: TuningData,
    folder: Path,
    runner: "DeviceRunner",
    devices: tuple[str, ...],
    cluster: "RayCluster | None" = None,
) -> Iterator["WorkerPool | DeviceRunner"]:
    """Yield what trains the trials: the runner of this process alone, or a pool of it and others.

    Args:
        request: As this process had it.
        start: Likewise.
        data: Likewise.
        folder: Run folder.
        runner: Of this process; how many slots it has, all have.
        devices: Of the workers, that of this process first.
        cluster: Whose nodes train, None for this machine alone.
    """
    from advisor.workers.in_process import InProcessWorker
    from advisor.workers.process import ProcessWorker

    if cluster is not None:
        with cluster.pool(request, start, data, runner) as pool:
            yield pool
        return
    if len(devices) == 1:
        yield runner
        return
    on_cpu = devices[0] == "cpu"
    threads = max(1, usable_cores() // len(devices)) if on_cpu else None
    theirs = replace(request, workers=1, gpus_per_worker=1, storage=None, study=None)
    others = [
        ProcessWorker(
            make_runner, replace(theirs, device=device), start, data,
            folder / FOLDER_NAME / str(number), runner.slots,
            name=f"worker {number} ({device})",
            log=folder / FOLDER_NAME / f"{number}.log",
            environment={} if threads is None else {"OMP_NUM_THREADS": str(threads)},
        )
        for number, device in enumerate(devices[1:], start=2)
    ]  # fmt: skip
    pool = WorkerPool(
        [InProcessWorker(runner, name=f"worker 1 ({devices[0]})", threads=threads), *others], slots_each=runner.slots
    )
    try:
        yield pool
    finally:
        pool.close()


def request_here(request: TuningRequest, cluster: "RayCluster | None") -> TuningRequest:
    """Return what the runner of this process is made by: on the device, or the GPUs, that are its own.

    Raises:
        InputError: There are not as many GPUs.
    """
    device = request.device
    if cluster is not None:
        device = cluster.own_device or device
    elif request.gpus_per_worker > 1:
        device = _devices_of_several(request, _n_gpus())[0]
    return replace(request, device=device, workers=1, gpus_per_worker=1, ray=None)


def make_runner(
    request: TuningRequest, start: StartingPoint, data: TuningData, folder: Path, slots: int
) -> TrialRunner:
    """Make the runner of another process; verdicts on programs are kept in a folder of its own."""
    from advisor.tuning.ready_runner import ready_runner

    folder.mkdir(parents=True, exist_ok=True)
    runner, _ = ready_runner(request, start, data, folder, lambda event: None)
    runner.slots = slots
    return runner


def _n_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _devices_of_several(request: TuningRequest, n_gpus: int) -> tuple[str, ...]:
    """Return the devices of workers that have several GPUs each, as lists of names."""
    each = request.gpus_per_worker
    room = n_gpus // each
    if (request.workers or 1) > room:
        workers = f"{request.workers} workers" if (request.workers or 1) > 1 else "a worker"
        raise InputError(f"--gpus-per-worker {each}: this machine has {n_gpus} GPUs, too few for {workers}")
    firsts = range(0, (request.workers or room) * each, each)
    return tuple(",".join(f"cuda:{index}" for index in range(first, first + each)) for first in firsts)


def _room_on_cpu(need_bytes: int | None) -> int:
    """Return how many workers the cores and the free memory have room for."""
    cores = usable_cores()
    if need_bytes is None:
        return cores
    free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(cores, int(_SHARE_OF_MEMORY * free_bytes / (need_bytes + _PROCESS_BYTES))))
