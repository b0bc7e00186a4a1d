"""A worker that is a runner of this process: its calls run in a thread, so that others can be waited for."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from advisor.trial import TrialRunner
from advisor.workers.worker import WorkerLostError


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
        self._calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        if threads is not None:
            self._calls.submit(_use_threads, threads).result()

    @property
    def name(self) -> str:
        """See `Worker`."""
        return self._name

    def submit(self, method: str, *arguments: object, **options: object) -> "Future[Any]":
        """See `Worker`."""
        return self._calls.submit(getattr(self._runner, method), *arguments, **options)

    def restart(self) -> None:
        """Refuse: this is the process that would do it."""
        raise WorkerLostError(f"{self._name} is this process")

    def close(self) -> None:
        """End the thread."""
        self._calls.shutdown(wait=True)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)  # holds for the thread that says it
