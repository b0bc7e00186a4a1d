"""Time of the search: what was spent, what is left, how long the next step will take.

The time of a step is measured: seconds from report to report of a trial (training, validation, and the turns of the
trials beside it) divided by its optimizer steps. The last rung is the longest, so its estimate errs on the long side.
"""

from collections.abc import Callable


class Pace:
    """Keeps the time of one run of a study."""

    def __init__(self, clock: Callable[[], float], *, limit_s: float | None, spent_before_s: float = 0.0) -> None:
        """Start the run.

        Args:
            clock: Returns seconds; only differences count.
            limit_s: Seconds of search at most over all runs of the study, None for no limit.
            spent_before_s: Seconds that earlier runs of the study took.
        """
        self._clock = clock
        self._start_s = clock() - spent_before_s
        self._limit_s = limit_s
        self._measured_s = 0.0
        self._measured_steps = 0
        self._run_start_s = clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds of search over all runs of the study."""
        return self._clock() - self._start_s

    def observe(self, duration_s: float, n_steps: int) -> None:
        """Note that it took `duration_s` to bring a trial `n_steps` further."""
        if n_steps <= 0:  # a trial that failed at once says nothing about steps
            return
        self._measured_s += duration_s
        self._measured_steps += n_steps

    def has_time_for(self, n_steps: int) -> bool:
        """Say whether `n_steps` more optimizer steps fit before the limit; unmeasured steps count as nothing."""
        if self._limit_s is None:
            return True
        expected_s = n_steps * self._measured_s / self._measured_steps if self._measured_steps else 0.0
        return self.elapsed_s + expected_s < self._limit_s

    def eta_s(self, *, trials_done: float, trials_left: float) -> float | None:
        """Return the seconds to the end of the search, or None when nothing is measured yet.

        Args:
            trials_done: Trials of this run so far; live ones count by their share of steps.
            trials_left: What is still to do, likewise.
        """
        if trials_done <= 0:
            return None
        eta_s = trials_left * (self._clock() - self._run_start_s) / trials_done
        return eta_s if self._limit_s is None else max(0.0, min(eta_s, self._limit_s - self.elapsed_s))
