"""The study's end of the pipe to the process that speaks with Ray (`advisor.workers.ray_driver`).

When that process is gone, so are all actors, and every call that waits fails. `RayLink.joined` then starts another one,
which joins the cluster again as soon as there is one at the address.
"""

import logging
import os
import subprocess
import sys
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from advisor.workers.ray_driver import Node
from advisor.workers.worker import MachineLostError, WorkerLostError

PATIENCE_S = 600.0
_AGAIN_AFTER_S = 2.0
_END_S = 10.0
_JOIN_S = 120.0
_log = logging.getLogger(__name__)


class JoinError(WorkerLostError):
    """The cluster cannot be joined."""


class RequestError(WorkerLostError):
    """What was asked of Ray went wrong; `kind` says how, as `ray_driver` tells it."""

    def __init__(self, kind: str, text: str) -> None:
        """Take what was sent."""
        super().__init__(text)
        self.kind = kind


class RayLink:
    """Requests to a Ray cluster; any thread may make them."""

    def __init__(self, address: str, *, log: Path, patience_s: float = PATIENCE_S) -> None:
        """Take what is needed; nothing is joined yet.

        Args:
            address: Of the cluster: "auto", HOST:PORT or ray://HOST:PORT.
            log: File for what Ray prints.
            patience_s: Seconds to wait for a cluster that is gone.
        """
        self.address = address
        self._recipe: bytes | None = None
        self._log = log
        self._patience_s = patience_s
        self._joining = Lock()
        self._sending = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._n_requests = 0
        self._reserved: tuple[float, float] | None = None
        self._gpus: tuple[str, ...] | None = None
        self._is_closed = False
        self.n_joined = 0
        self.node = ""  # of this process, "" where it is on none

    @property
    def pid(self) -> int | None:
        """Process id of the other end, None where there is none."""
        return None if self._process is None else self._process.pid

    def join(self) -> None:
        """Join the cluster, once.

        Raises:
            JoinError: There is none at the address, or it refuses.
        """
        with self._joining:
            self._start()

    def joined(self) -> None:
        """Come back when the cluster is joined; join it again where it was lost.

        Raises:
            JoinError: There was none for as long as patience lasts, or the link is closed.
        """
        with self._joining:
            until_s = time.monotonic() + self._patience_s
            while not self._is_joined:
                if self._is_closed:
                    raise JoinError(f"Ray at {self.address}: closed")
                try:
                    self._start()
                    _log.warning("the Ray cluster at %s is joined again", self.address)
                except JoinError as error:
                    if time.monotonic() > until_s:
                        raise JoinError(f"{error}; waited {self._patience_s / 60:.0f} minutes for it") from error
                    time.sleep(_AGAIN_AFTER_S)

    def reserve(self, *, cpus: float, gpus: float, wait_s: float = 20.0) -> tuple[str, ...] | None:
        """Reserve resources of this node for this process, for as long as the link is there.

        Returns:
            Ids of the GPUs, as Ray has them; None where the resources are not free.
        """
        found: tuple[str, ...] | None = self.request("reserve", cpus, gpus, wait_s).result()
        if found is not None:
            self._reserved, self._gpus = (cpus, gpus), found
        return found

    def nodes(self) -> "Future[tuple[Node, ...]]":
        """Return the nodes of the cluster."""
        return self.request("nodes")

    def give(self, recipe: bytes) -> None:
        """Put what all actors are made with into the object store: once, and again where the cluster is joined again.

        Args:
            recipe: See `ray_actor.RunnerActor`.
        """
        self._recipe = recipe
        self.request("put", recipe).result()

    def make(self, worker: int, *, cpus: float, gpus: float) -> None:
        """Let an actor be made, which waits until there is room; an earlier one of the worker ends."""
        self.request("make", worker, cpus, gpus).result()

    def end(self, worker: int) -> None:
        """End the actor of a worker."""
        self.request("end", worker)

    def call(self, worker: int, method: str, *arguments: object) -> Any:
        """Call a method of the actor of a worker, and wait for the answer.

        Raises:
            MachineLostError: The way to it is lost.
            RequestError: It was lost, or the method raised something.
        """
        return self.request("call", worker, method, arguments).result()

    def request(self, name: str, *arguments: object) -> "Future[Any]":
        """Ask the other process; the answer comes with the future.

        Raises in the future:
            MachineLostError: That process is gone.
            RequestError: What was asked went wrong.
        """
        future: Future[Any] = Future()
        with self._sending:
            self._n_requests += 1
            number = self._n_requests
            self._waiting[number] = future
            try:
                if self._pipe is None:
                    raise OSError("not joined")
                self._pipe.send((number, name, arguments))
            except OSError:
                self._waiting.pop(number, None)
                future.set_exception(self._gone())
        return future

    def close(self) -> None:
        """End the other process, and with it all actors."""
        self._is_closed = True
        if self._process is None:
            return
        self.request("leave")
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _is_joined(self) -> bool:
        return self._pipe is not None and self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        """Start the other process and let it join, and have there again what was there before."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        ours, theirs = Pipe()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "advisor.workers.ray_driver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        theirs.close()
        waiting: dict[int, Future[Any]] = {}
        with self._sending:
            self._pipe, self._waiting = ours, waiting
        Thread(target=self._read, args=(ours, waiting), name="ray", daemon=True).start()
        try:
            self.node = self.request("join", self.address).result(_JOIN_S)
            if self._recipe is not None:
                self.request("put", self._recipe).result()
            if self._reserved is not None:
                self._reserve_again(*self._reserved)
        except (WorkerLostError, TimeoutError) as error:
            with self._sending:
                self._pipe = None
            self._process.kill()
            self._process.wait()
            raise JoinError(str(error) or f"no answer for {_JOIN_S:.0f} seconds") from error
        self.n_joined += 1

    def _reserve_again(self, cpus: float, gpus: float) -> None:
        before = self._gpus
        if self.reserve(cpus=cpus, gpus=gpus) != before:
            _log.warning("the Ray cluster does not give this process what it had; it goes on with it")

    def _read(self, pipe: Connection, waiting: "dict[int, Future[Any]]") -> None:
        """Take the answers, until the other process is gone."""
        while True:
            try:
                number, kind, value = pipe.recv()
            except (EOFError, OSError):
                break
            with self._sending:
                future = waiting.pop(number, None)
            if future is None:
                continue
            if kind:
                future.set_exception(RequestError(kind, value))
            else:
                future.set_result(value)
        with self._sending:
            if self._pipe is pipe:
                self._pipe = None
            lost = list(waiting.values())
            waiting.clear()
            pipe.close()
        for future in lost:
            future.set_exception(self._gone())

    def _gone(self) -> MachineLostError:
        return MachineLostError(f"the Ray cluster at {self.address} is lost")
