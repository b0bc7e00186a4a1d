"""What a pool asks of a worker."""

from concurrent.futures import Future
from typing import Any, Protocol

from advisor.errors import AdvisorError


class WorkerLostError(AdvisorError):
    """A worker ended while it held trials, or before it was ready."""


class MachineLostError(WorkerLostError):
    """The machine of a worker, or the way to it, is gone: neither the worker nor its trials are to blame."""


class NotReadyError(WorkerLostError):
    """A worker ended before it could take a trial: no trial is to blame."""


class UnfitError(NotReadyError):
    """A worker cannot be of this study, and a second try would not help."""


class Worker(Protocol):
    """A runner somewhere else; calls to it are answered one after the other."""

    @property
    def name(self) -> str:
        """Name for people and logs, such as "worker 2 (cuda:1)"."""

    def ready(self) -> "Future[None]":
        """Return what is done when the worker takes calls; a worker that waits for a machine is not ready.

        Raises in the future:
            WorkerLostError: It ended before, or there is no machine for it.
        """

    def submit(self, method: str, *arguments: object, **options: object) -> "Future[Any]":
        """Call a method of `TrialRunner`; its result, or what it raised, comes with the future.

        Raises in the future:
            WorkerLostError: The worker ended before it answered.
        """

    def restart(self) -> None:
        """Replace a worker that was lost by a new one that holds no trials; see `ready` for when it is there.

        Raises:
            WorkerLostError: It cannot be replaced.
        """

    def close(self) -> None:
        """End the worker; what it holds is lost."""


def ready_at_once() -> "Future[None]":
    """Return what `Worker.ready` gives where calls may be made from the beginning."""
    future: Future[None] = Future()
    future.set_result(None)
    return future
