"""Signs of life of the trials that this process trains, from a thread of its own."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Heartbeat:
    """Gives a sign of life for each of its trials at once and every few seconds."""

    def __init__(self, beat: Callable[[int], None], every_s: float) -> None:
        """Begin without trials.

        Args:
            beat: Gives a sign of life for a trial by Optuna's id of it; may wait for a database that is away.
            every_s: Seconds between two signs of life of a trial.
        """
        self._beat = beat
        self._every_s = every_s
        self._trials: set[int] = set()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._is_over = False
        self._thread: threading.Thread | None = None

    @property
    def trials(self) -> tuple[int, ...]:
        """The trials that it gives signs of life for."""
        with self._lock:
            return tuple(sorted(self._trials))

    def add(self, trial_id: int) -> None:
        """Give signs of life for a trial from now on."""
        with self._lock:
            self._trials.add(trial_id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
            self._thread.start()

    def remove(self, trial_id: int) -> None:
        """Give no more for this one."""
        with self._lock:
            self._trials.discard(trial_id)

    def close(self) -> None:
        """Give no more at all."""
        self._is_over = True
        self._changed.set()

    def _work(self) -> None:
        while not self._is_over:
            for trial_id in self.trials:
                try:
                    self._beat(trial_id)
                except Exception as error:  # the search meets the same trouble and says what becomes of it
                    _log.warning("no sign of life could be given for a trial: %s", error)
            self._changed.wait(self._every_s)
