"""Ctrl-C, or another signal: once ends the search at the next rung, twice ends the process."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

# A terminal sends SIGINT; Kubernetes SIGTERM; SLURM SIGTERM, or what its `--signal` names.
LEAVE = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Interruption:
    """Whether the user asked the search to end."""

    def __init__(self, on_request: Callable[[int], None]) -> None:
        """Call `on_request` with the number of the signal at the first request."""
        self._requested = False
        self._at_once = False
        self._on_request = on_request
        self.signal: int = signal.SIGINT

    @property
    def requested(self) -> bool:
        """Was the search asked to end?

        Raises:
            KeyboardInterrupt: It was asked twice. Python drops what a signal handler raises while an object is being
                finalised; whoever asks here hears of it all the same.
        """
        if self._at_once:
            raise KeyboardInterrupt
        return self._requested

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask the search to end.

        Only Ctrl-C means more the second time: schedulers send other signals to all processes of a job, and scripts
        pass them on, so one request may arrive several times.

        Raises:
            KeyboardInterrupt: It was asked before, and this is Ctrl-C.
        """
        if not self._requested:
            self._requested = True
            self.signal = number
            self._on_request(number)
        elif number == signal.SIGINT:
            self._at_once = True
            raise KeyboardInterrupt


@contextmanager
def interruptible(
    on_request: Callable[[int], None], signals: Sequence[signal.Signals] = LEAVE
) -> Iterator[Interruption]:
    """Turn the first signal inside the block into a request; outside the main thread nothing changes.

    Args:
        on_request: Called with the number of the signal at the first request.
        signals: Those that mean it.
    """
    interruption = Interruption(on_request)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def on_signal(number: int, _frame: FrameType | None) -> None:
        interruption.request(number)

    before = {number: signal.signal(number, on_signal) for number in signals}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
