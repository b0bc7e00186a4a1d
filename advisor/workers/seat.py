"""A worker in a pool, the trials that a pool holds, and how a worker spent its time."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advisor.trial import RungReport, TrialSpec, WorkerUse
from advisor.workers.worker import MachineLostError, UnfitError, Worker, WorkerLostError

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Seat:
    """A worker and what it does.

    Attributes:
        worker: The worker; the one that replaces a lost one is the same object.
        clock: Seconds.
        advancing: The reports that it trains for.
        since_s: When it began to.
        busy_s: Seconds that it worked.
        n_trials: Trials that were placed on it first.
        n_lost: How often it was lost.
        in_a_row: How often without a report between, losses of its machine left out.
        is_over: Was it lost for good?
        began_s: When it came to the pool.
    """

    worker: Worker
    clock: Callable[[], float]
    advancing: "Future[tuple[RungReport, ...]] | None" = None
    since_s: float = 0.0
    busy_s: float = 0.0
    n_trials: int = 0
    n_lost: int = 0
    in_a_row: int = 0
    is_over: bool = False
    began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.began_s = self.clock()

    @property
    def is_open(self) -> bool:
        """Does it take trials? One that waits for a machine does not."""
        ready = self.worker.ready()
        return ready.done() and not ready.cancelled() and ready.exception() is None

    @property
    def end(self) -> WorkerLostError | None:
        """Why it ended before it took trials, None where it did not."""
        ready = self.worker.ready()
        error = ready.exception() if ready.done() and not ready.cancelled() else None
        if error is not None and not isinstance(error, WorkerLostError):
            raise error
        return error

    @property
    def is_advancing(self) -> bool:
        """Does it train at this moment?"""
        return self.advancing is not None

    def advance(self) -> None:
        """Let it train up to a rung."""
        self.since_s = self.clock()
        self.advancing = self.worker.submit("advance")

    def arrived(self) -> tuple[RungReport, ...]:
        """Take what it reports.

        Raises:
            WorkerLostError: It was lost.
        """
        assert self.advancing is not None
        future, self.advancing = self.advancing, None
        self.busy_s += self.clock() - self.since_s
        reports = future.result()
        self.in_a_row = 0
        return reports

    def call(self, method: str, *arguments: object, **options: object) -> Any:
        """Call it and wait, behind what it does already.

        Raises:
            WorkerLostError: It was lost.
        """
        began_s, was_idle = self.clock(), not self.is_advancing
        try:
            return self.worker.submit(method, *arguments, **options).result()
        finally:
            if was_idle:
                self.busy_s += self.clock() - began_s

    def lose(self, error: WorkerLostError, *, most: int) -> None:
        """Put a new worker in the place of a lost one, where that may help.

        Args:
            error: Why it was lost.
            most: Losses in a row after which it is over.
        """
        self.advancing = None
        self.n_lost += 1
        self.in_a_row += not isinstance(error, MachineLostError)
        self.is_over = self.in_a_row >= most or isinstance(error, UnfitError)
        if not self.is_over:
            try:
                self.worker.restart()
            except WorkerLostError as gone:
                _log.warning("%s", gone)
                self.is_over = True
        if self.is_over:
            self.worker.close()

    def use(self) -> WorkerUse:
        """Return how it spent its time since it came to the pool."""
        return WorkerUse(
            name=self.worker.name,
            n_trials=self.n_trials,
            busy_s=round(self.busy_s, 3),
            idle_s=round(max(0.0, self.clock() - self.began_s - self.busy_s), 3),
            n_lost=self.n_lost,
        )


@dataclass(slots=True, kw_only=True)
class Held:
    """A trial in a pool.

    Attributes:
        spec: What is trained.
        checkpoint: Last one that was written of it, or that it began with.
        seat: Its worker, None while it waits for one.
        reported: Last rung that was reported, -1 before the first.
        kept: Rung of its checkpoint, by the same count.
        losses: Workers that were lost while they held it, but not those that were lost with their machine.
        was_placed: Did a worker have it before?
        verdict: What the pool itself reports of it: it is given up.
    """

    spec: TrialSpec
    checkpoint: Path | None
    seat: Seat | None = None
    reported: int = -1
    kept: int = -1
    losses: int = 0
    was_placed: bool = False
    verdict: RungReport | None = None

    @property
    def is_behind(self) -> bool:
        """Does its checkpoint lack what it has reported?"""
        return self.kept < self.reported
