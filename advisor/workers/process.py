"""A worker in a process of its own, over a pipe.

The process is a fresh interpreter (`python -m advisor.workers.serve`), not a copy of this one: CUDA does not survive a
fork, and the script that called `tune` must not run again. It leaves Ctrl-C to this process, ends when this process is
gone, and writes what it prints into a file of the run folder.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from advisor.trial import TrialRunner
from advisor.workers.raised import raised
from advisor.workers.worker import WorkerLostError, ready_at_once

_END_S = 10.0


class ProcessWorker:
    """Implements `worker.Worker` with a process on this machine."""

    def __init__(
        self,
        make_runner: Callable[..., TrialRunner],
        *arguments: object,
        name: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process; its runner is made while others start.

        Args:
            make_runner: Function of a module that makes the runner in the other process.
            arguments: Its arguments.
            name: For people.
            log: File for what the process prints, appended to.
            environment: Variables that it has beyond those of this process.
        """
        self._name = name
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._recipe = pickle.dumps((make_runner, arguments))
        self._calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._start()

    @property
    def name(self) -> str:
        """See `Worker`."""
        return self._name

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ready(self) -> "Future[None]":
        """See `Worker`; calls wait at the pipe until the runner is made."""
        return ready_at_once()

    def submit(self, method: str, *arguments: object, **options: object) -> "Future[Any]":
        """See `Worker`."""
        return self._calls.submit(self._call, method, arguments, options)

    def restart(self) -> None:
        """See `Worker`."""
        self._end()
        self._start()

    def close(self) -> None:
        """See `Worker`."""
        self._end()
        self._calls.shutdown(wait=True)

    def _start(self) -> None:
        ours, theirs = Pipe()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "advisor.workers.serve", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        theirs.close()
        self._pipe: Connection = ours
        try:
            ours.send_bytes(self._recipe)
        except OSError as error:
            raise WorkerLostError(f"{self._name}: its process ended at once; see {self._log}") from error

    def _call(self, method: str, arguments: tuple[object, ...], options: Mapping[str, object]) -> Any:
        try:
            self._pipe.send((method, arguments, options))
            kind, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerLostError(f"{self._name}: its process ended ({self._ended()}); see {self._log}") from error
        if kind == "":
            return value
        raise raised(kind, value)

    def _ended(self) -> str:
        try:
            code = self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._calls.submit(self._pipe.close).result()  # behind a call that waits at the pipe
