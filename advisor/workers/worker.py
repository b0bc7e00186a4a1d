"""What a pool asks of a worker."""

from concurrent.futures import Future
from typing import Any, Protocol

from advisor.errors import AdvisorError


class WorkerLostError(AdvisorError):
    """A worker ended while it held trials, or before it was ready."""


class Worker(Protocol):
    """A runner somewhere else; calls to it are answered one after the other."""

    @property
    def name(self) -> str:
        """Name for people and logs, such as "worker 2 (cuda:1)"."""

    def submit(self, method: str, *arguments: object, **options: object) -> "Future[Any]":
        """Call a method of `TrialRunner`; its result, or what it raised, comes with the future.

        Raises in the future:
            WorkerLostError: The worker ended before it answered.
        """

    def restart(self) -> None:
        """Replace a worker that was lost by a new one that holds no trials.

        Raises:
            WorkerLostError: It cannot be replaced.
        """

    def close(self) -> None:
        """End the worker; what it holds is lost."""
