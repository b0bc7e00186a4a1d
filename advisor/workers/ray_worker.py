"""A worker that is an actor in a Ray cluster, on whichever node has room for it.

Checkpoints and adapters go through Ray as bytes, so the nodes need no shared file system. A lost actor is replaced by
another one, on the same node or on another; while there is no room for it anywhere the worker is not ready, and holds
up nobody. A disk of a node that refuses to be written to costs the worker and not the study.
"""

import logging
import pickle
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from advisor.errors import DataError
from advisor.workers.raised import raised
from advisor.workers.ray_actor import Place, Sent, Wanted, versions
from advisor.workers.ray_link import RayLink, RequestError
from advisor.workers.shipping import CutOffError, chunks_of, unpack
from advisor.workers.worker import MachineLostError, NotReadyError, UnfitError, WorkerLostError

_LOG_S = 5.0
_log = logging.getLogger(__name__)


class RayWorker:
    """Implements `worker.Worker` with an actor."""

    def __init__(self, link: RayLink, number: int, *, cpus: float, gpus: float, log: Path) -> None:
        """Let the actor be made; it waits until there is room for it.

        Args:
            link: To the cluster; it holds the recipe of the runner.
            number: Of this worker, its own among those of the link.
            cpus: Cores that it reserves.
            gpus: GPUs that it reserves.
            log: File for what the actor printed, written when it is closed; of one that is lost it says where that is.
        """
        self._link = link
        self._number = number
        self._cpus, self._gpus = cpus, gpus
        self._log = log
        self._place: Place | None = None
        self._calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"worker {number}")
        self._ready = self._calls.submit(self._make)

    @property
    def name(self) -> str:
        """See `Worker`."""
        if self._place is None:
            return f"worker {self._number} (Ray)"
        gpus = f", GPU {' and '.join(self._place.gpus)}" if self._place.gpus else ""
        return f"worker {self._number} (node {self._place.node}{gpus})"

    @property
    def pid(self) -> int | None:
        """Process id of the actor on its node, None before it is ready."""
        return None if self._place is None else self._place.pid

    def ready(self) -> "Future[None]":
        """See `Worker`."""
        return self._ready

    def submit(self, method: str, *arguments: object, **options: object) -> "Future[Any]":
        """See `Worker`."""
        return self._calls.submit(self._call, method, arguments, options)

    def restart(self) -> None:
        """See `Worker`; it comes back at once, and the new actor is ready when there is room for it."""
        self._calls.shutdown(wait=False, cancel_futures=True)  # what waits at the old one waits elsewhere
        self._calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"worker {self._number}")
        self._ready = self._calls.submit(self._make)

    def close(self) -> None:
        """See `Worker`."""
        if self._ready.done() and self._ready.exception() is None:
            self._keep_log()
        self._link.end(self._number)
        self._calls.shutdown(wait=False, cancel_futures=True)

    def _make(self) -> None:
        """Make an actor and wait until its runner is made.

        Raises:
            WorkerLostError: It ended before, is not of this study, or the cluster is gone for good.
        """
        self._link.joined()
        self._place = None
        try:
            self._link.make(self._number, cpus=self._cpus, gpus=self._gpus)
            theirs, ours = self._link.call(self._number, "versions"), versions()
            if theirs != ours:
                raise UnfitError(f"{self.name}: {_difference(theirs, ours)}; install the same on all nodes")
            kind, found = self._link.call(self._number, "ready")
        except RequestError as error:
            raise self._loss(error, NotReadyError) from error
        if kind:
            raise NotReadyError(f"{self.name}: {found}")
        self._place = found

    def _call(self, method: str, arguments: tuple[object, ...], options: dict[str, object]) -> Any:
        """Send the folders that a call reads, call, and fetch those that it writes."""
        try:
            match method:
                case "start" if isinstance(checkpoint := options.get("checkpoint"), Path):
                    self._send(checkpoint)
                    return self._ask(method, arguments, {**options, "checkpoint": Sent(place=str(checkpoint))})
                case "checkpoint" | "save":
                    number, folder = arguments
                    assert isinstance(folder, Path)
                    wanted = Wanted(place=str(folder), exists=method == "save")
                    found = self._ask(method, (number, wanted), options)
                    unpack(self._fetched(), folder)
                    return found
                case "evaluate":
                    return self._evaluate(arguments, options)
                case _:
                    return self._ask(method, arguments, options)
        except RequestError as error:
            raise self._loss(error, WorkerLostError) from error
        except CutOffError as error:
            raise WorkerLostError(f"{self.name}: {error}") from error

    def _evaluate(self, arguments: tuple[object, ...], options: dict[str, object]) -> Any:
        candidate, adapter, *others = arguments
        if isinstance(adapter, Path):
            self._send(adapter)
            adapter = Sent(place=str(adapter))
        predictions = options.get("predictions")
        if not isinstance(predictions, Path):
            return self._ask("evaluate", (candidate, adapter, *others), options)
        wanted = Wanted(place=str(predictions.parent), exists=True, file=predictions.name)
        found = self._ask("evaluate", (candidate, adapter, *others), {**options, "predictions": wanted})
        with TemporaryDirectory(dir=predictions.parent, prefix=f".{predictions.name}") as folder:
            come = Path(folder) / "come"
            unpack(self._fetched(), come)
            (come / predictions.name).replace(predictions)
        return found

    def _ask(self, method: str, arguments: tuple[object, ...], options: dict[str, object]) -> Any:
        answer = self._link.call(self._number, "call", method, pickle.dumps((arguments, options)))
        kind, value = pickle.loads(answer)
        if kind == "":
            return value
        if kind == "OSError":  # of the node's own disk: another node may do better
            raise WorkerLostError(f"{self.name}: {value}")
        raise raised(kind, value)

    def _send(self, folder: Path) -> None:
        """Send a folder that the next call reads.

        Raises:
            DataError: It cannot be read.
        """
        begins = True
        try:
            for chunk in chunks_of(folder):
                self._link.call(self._number, "take", chunk, begins)
                begins = False
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error

    def _fetched(self) -> Iterator[bytes]:
        begins = True
        while chunk := self._link.call(self._number, "fetch", begins):
            begins = False
            yield chunk

    def _loss(self, error: RequestError, otherwise: type[WorkerLostError]) -> WorkerLostError:
        where = ""
        if self._place is not None:
            where = f"; what it printed is in {self._place.log or 'the logs of Ray'} on node {self._place.node}"
        kind = MachineLostError if error.kind == "machine" else otherwise
        said = f"{self.name}: {error}{where}"
        self._write_log(f"{said}\n".encode())
        return kind(said)

    def _keep_log(self) -> None:
        try:
            self._write_log(self._link.request("call", self._number, "log", ()).result(timeout=_LOG_S))
        except (WorkerLostError, TimeoutError) as error:
            _log.warning("%s: what it printed cannot be kept: %s", self.name, error)

    def _write_log(self, text: bytes) -> None:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as file:
                file.write(text)
        except OSError as error:
            _log.warning("%s: %s", self._log, error)


def _difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Name the first version that differs, with both values."""
    name = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    return f"its node has {name} {theirs.get(name, 'not at all')}, this process {ours.get(name, 'not at all')}"
