"""The process of a study that speaks with a Ray cluster, and may end with it.

    python -m advisor.workers.ray_driver FILE_DESCRIPTOR

Ray ends a process that has not reached the head of its cluster for 60 seconds (`_exit`, without a word to Python), and
prints into its terminal. So the study itself is none of Ray's: this process is, and `ray_link.RayLink` starts another
one when it is gone. It ends by itself when the cluster that it joined is no longer there, also when a new one answers
at the same address: nothing that it holds means anything there.

Only the study holds the other end of the pipe, so what comes through it is as trusted as the program.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from threading import Lock, Thread
from typing import Any

_LOOK_EVERY_S = 1.0
_CONNECT_S = 5.0
_NODE_DIED = "node has died"  # how Ray says it
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a node of the cluster has.

    Attributes:
        id: Ray's name of it.
        address: Its IP address.
        is_ours: Is it the one that this process is on?
        cpus: Cores in all.
        gpus: GPUs in all.
        free_cpus: Cores that nobody has reserved.
        free_gpus: Likewise.
    """

    id: str
    address: str
    is_ours: bool
    cpus: float
    gpus: float
    free_cpus: float
    free_gpus: float


class Driver:
    """Does what is asked through the pipe; each answer has the number of its request."""

    def __init__(self, pipe: Connection) -> None:
        """Take the pipe; nothing is joined yet."""
        self._pipe = pipe
        self._sending = Lock()
        self._actors: dict[int, Any] = {}
        self._reserved: Any = None
        self._recipe: Any = None
        self._n_puts = 0
        self._here = ""  # our node

    def serve(self) -> None:
        """Answer until the study is gone."""
        requests: Mapping[str, Callable[..., Any]] = {
            "join": self._join, "put": self._put, "reserve": self._reserve, "nodes": self._nodes,
            "make": self._make, "end": self._end, "n_puts": lambda: self._n_puts,
        }  # fmt: skip
        while True:
            try:
                number, name, arguments = self._pipe.recv()
            except (EOFError, OSError):
                return
            if name == "leave":
                return
            if name == "call":
                self._call(number, *arguments)
                continue
            if name in ("reserve", "nodes"):  # may wait for the head of the cluster; others shall not wait with them
                Thread(target=self._answer, args=(number, requests[name], arguments), daemon=True).start()
            else:
                self._answer(number, requests[name], arguments)

    def _answer(self, number: int, do: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            answer = ("", do(*arguments))
        except Exception as error:
            _log.exception("%s", do.__name__)
            answer = (type(error).__name__, _line(error))
        self._send(number, answer)

    def _send(self, number: int, answer: tuple[str, Any]) -> None:
        with self._sending:
            try:
                self._pipe.send((number, *answer))
            except OSError:
                os._exit(0)  # the study is gone

    def _join(self, address: str) -> str:
        """Join the cluster at an address; return the id of the node that this process is on, "" for none."""
        ray = _ray()
        _refuse_nobody(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, namespace="peft-advisor")
        _ignore_signals()  # Ray has set its own
        if not address.startswith("ray://"):
            self._here = ray.get_runtime_context().get_node_id()
        Thread(target=self._watch, daemon=True).start()
        return self._here

    def _put(self, recipe: bytes) -> None:
        """Put what all actors need into the object store, once."""
        self._recipe = _ray().put(recipe)
        self._n_puts += 1

    def _nodes(self) -> tuple[Node, ...]:
        """Return what nodes there are."""
        ray = _ray()
        alive = [node for node in ray.nodes() if node["Alive"]]
        if self._here:
            free = _ray("ray._private.state").available_resources_per_node()
        else:  # a client knows only what is free on all nodes together
            free = {alive[0]["NodeID"]: ray.available_resources()} if alive else {}
        found = []
        for node in alive:
            has, left = node["Resources"], free.get(node["NodeID"], {})
            found.append(
                Node(
                    id=node["NodeID"], address=node["NodeManagerAddress"], is_ours=node["NodeID"] == self._here,
                    cpus=has.get("CPU", 0.0), gpus=has.get("GPU", 0.0),
                    free_cpus=left.get("CPU", 0.0), free_gpus=left.get("GPU", 0.0),
                )
            )  # fmt: skip
        return tuple(found)

    def _reserve(self, cpus: float, gpus: float, wait_s: float) -> tuple[str, ...] | None:
        """Take resources of this node for the study's own process; return its GPUs, None where there are none free."""
        ray, strategies = _ray(), _ray("ray.util.scheduling_strategies")
        where = strategies.NodeAffinitySchedulingStrategy(node_id=self._here, soft=False)
        self._reserved = (
            ray.remote(Reservation).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=where).remote()
        )
        try:
            return tuple(ray.get(self._reserved.gpus.remote(), timeout=wait_s))
        except ray.exceptions.RayError:
            ray.kill(self._reserved)
            self._reserved = None
            return None

    def _make(self, worker: int, cpus: float, gpus: float) -> None:
        """Make the actor of a worker, which waits for room if there is none; an earlier one of the worker ends."""
        from advisor.workers.ray_actor import RunnerActor

        self._end(worker)
        self._actors[worker] = (
            _ray()
            .remote(RunnerActor)
            .options(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, name=None)
            .remote(self._recipe)
        )

    def _end(self, worker: int) -> None:
        if (actor := self._actors.pop(worker, None)) is not None:
            _ray().kill(actor)

    def _call(self, number: int, worker: int, method: str, arguments: tuple[Any, ...]) -> None:
        """Call a method of an actor; the answer is sent when it comes."""

        def answered(future: Any) -> None:
            try:
                self._send(number, ("", future.result()))
            except Exception as error:
                _log.warning("worker %d, %s: %s", worker, method, error)
                self._send(number, (_kind_of_loss(error), _line(error)))

        try:
            getattr(self._actors[worker], method).remote(*arguments).future().add_done_callback(answered)
        except Exception as error:
            _log.exception("worker %d, %s", worker, method)
            self._send(number, (type(error).__name__, _line(error)))

    def _watch(self) -> None:
        """End this process when the cluster that it joined is not there any more."""
        ray = _ray()
        while True:
            time.sleep(_LOOK_EVERY_S)
            try:
                nodes = ray.nodes()  # waits while nobody answers; Ray ends this process after a minute of that
            except Exception:
                _log.exception("the cluster does not answer")
                os._exit(1)
            if self._here and not any(node["NodeID"] == self._here and node["Alive"] for node in nodes):
                _log.error("this node is no longer part of the cluster")
                os._exit(1)


class Reservation:
    """Becomes an actor that only holds what the study's own process uses."""

    def gpus(self) -> list[str]:
        """Return the ids of the GPUs that it holds."""
        ray = _ray()
        return [str(gpu) for gpu in ray.get_gpu_ids()]


def _refuse_nobody(address: str) -> None:
    """Refuse an address where nobody listens: Ray would wait there for minutes.

    Raises:
        ConnectionError: Nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        except OSError as error:
            raise ConnectionError(f"nobody listens: {error.strerror or error}") from error


def _ray(module: str = "ray") -> Any:
    """Return Ray, which not everybody has, or a module of it."""
    return import_module(module)


def _kind_of_loss(error: Exception) -> str:
    """Say whether an actor ended by itself, or its machine or the way to it is gone, or its disk refused something."""
    errors = _ray("ray.exceptions")
    if isinstance(error, OSError):
        return "disk"
    if isinstance(error, errors.RayTaskError):
        return "error"
    if isinstance(error, errors.ActorDiedError) and _NODE_DIED not in str(error):
        return "process"
    return "machine"


def _line(error: Exception) -> str:
    """Say in one line what happened."""
    errors = _ray("ray.exceptions")
    if isinstance(error, errors.ActorDiedError):
        if error.actor_init_failed:  # before anything of ours began
            reason = str(error).strip().splitlines()[-1]
            return f"it cannot begin ({reason}); install peft-advisor, the same version, on all nodes"
        return "its node is gone" if _NODE_DIED in str(error) else "its process ended"
    if isinstance(error, errors.ActorUnavailableError):
        return "it cannot be reached any more"
    if isinstance(error, errors.RayTaskError):
        error = error.cause
    return " ".join(str(error).split())[:300] or type(error).__name__


def _ignore_signals() -> None:
    """Leave those of a terminal or a scheduler, which go to all processes, to the study."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Serve one study."""
    _ignore_signals()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    Driver(Connection(int(sys.argv[1]))).serve()
    _ray().shutdown()  # ends the actors
    os._exit(0)


if __name__ == "__main__":
    from advisor.workers import ray_driver  # what it sends must not be known as a part of `__main__`

    ray_driver.main()
