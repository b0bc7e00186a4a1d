"""A runner that keeps how it spent its time, for the only worker of a process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from advisor.candidates import Candidate
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialRunner, TrialSpec, WorkerUse
from advisor.workers.pool import WorkerPool

_T = TypeVar("_T")


class MeasuredRunner:
    """Implements `advisor.trial.TrialRunner` around another one; a pool measures its workers itself."""

    def __init__(self, runner: TrialRunner, *, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """Measure `runner`.

        Args:
            runner: Trains.
            name: Of what it trains on, for people.
            clock: Seconds.
        """
        self._runner = runner
        self._name = name
        self._clock = clock
        self._began_s = clock()
        self._busy_s = 0.0
        self._n_trials = 0

    @property
    def slots(self) -> int:
        """See `TrialRunner`."""
        return self._runner.slots

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """See `TrialRunner`."""
        self._n_trials += checkpoint is None
        self._timed(lambda: self._runner.start(trial, checkpoint=checkpoint))

    def advance(self) -> tuple[RungReport, ...]:
        """See `TrialRunner`."""
        return self._timed(self._runner.advance)

    def checkpoint(self, number: int, folder: Path) -> None:
        """See `TrialRunner`."""
        self._timed(lambda: self._runner.checkpoint(number, folder))

    def measure_inference(self, number: int) -> Inference | None:
        """See `TrialRunner`."""
        return self._timed(lambda: self._runner.measure_inference(number))

    def save(self, number: int, folder: Path) -> None:
        """See `TrialRunner`."""
        self._timed(lambda: self._runner.save(number, folder))

    def stop(self, number: int) -> None:
        """See `TrialRunner`."""
        self._runner.stop(number)

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """See `TrialRunner`."""
        return self._timed(lambda: self._runner.evaluate(candidate, adapter, split, seed=seed, predictions=predictions))

    def use(self) -> tuple[WorkerUse, ...]:
        """Return how the time was spent since this was made: a line for each worker of a pool, else one."""
        if isinstance(self._runner, WorkerPool):
            return self._runner.use()
        in_all_s = self._clock() - self._began_s
        return (
            WorkerUse(
                name=self._name,
                n_trials=self._n_trials,
                busy_s=round(self._busy_s, 3),
                idle_s=round(max(0.0, in_all_s - self._busy_s), 3),
                n_lost=0,
            ),
        )

    def _timed(self, call: Callable[[], _T]) -> _T:
        began_s = self._clock()
        try:
            return call()
        finally:
            self._busy_s += self._clock() - began_s
