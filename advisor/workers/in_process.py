"""A worker that is a runner of this process: its calls run in a thread, so that others can be waited for.

The thread is a daemon: whoever interrupts a study twice does not wait for the rung that is being trained.
"""

import atexit
import os
import sys
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any

from advisor.trial import TrialRunner
from advisor.workers.worker import WorkerLostError, ready_at_once

_END_S = 5.0
_INTERRUPTED = 130
_Call = tuple["Future[Any]", str, tuple[object, ...], dict[str, object]]


class InProcessWorker:
    """Implements `worker.Worker` around a runner; it cannot be lost without the whole study."""

    def __init__(self, runner: TrialRunner, *, name: str, threads: int | None = None) -> None:
        """Take a runner.

        Args:
            runner: Trains; nobody else may call it while it is part of a pool.
            name: For people.
            threads: Processor threads that PyTorch may use for it; None leaves that alone.
        """
        self._name = name
        self._runner = runner
        self._threads = threads
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """See `Worker`."""
        return self._name

    def ready(self) -> "Future[None]":
        """See `Worker`."""
        return ready_at_once()

    def submit(self, method: str, *arguments: object, **options: object) -> "Future[Any]":
        """See `Worker`."""
        future: Future[Any] = Future()
        self._calls.put((future, method, arguments, options))
        return future

    def restart(self) -> None:
        """Refuse: this is the process that would do it."""
        raise WorkerLostError(f"{self._name} is this process")

    def close(self) -> None:
        """End the thread; one that is in the middle of a call ends with the process."""
        self._calls.put(None)
        self._thread.join(_END_S)
        if self._thread.is_alive():
            # An interpreter that ends under a training step crashes: the step wants back into it.
            atexit.register(_leave_at_once)

    def _work(self) -> None:
        if self._threads is not None:
            import torch

            torch.set_num_threads(self._threads)  # holds for the thread that says it
        while (call := self._calls.get()) is not None:
            future, method, arguments, options = call
            try:
                future.set_result(getattr(self._runner, method)(*arguments, **options))
            except BaseException as error:  # whoever waits decides what it means
                future.set_exception(error)


def _leave_at_once() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_INTERRUPTED)
