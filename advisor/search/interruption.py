"""Ctrl-C: once ends the search at the next rung, twice ends the process."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether the user asked the search to end."""

    def __init__(self, on_request: Callable[[], None]) -> None:
        """Call `on_request` at the first request."""
        self._requested = False
        self._at_once = False
        self._on_request = on_request

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

    def request(self) -> None:
        """Ask the search to end.

        Raises:
            KeyboardInterrupt: It was asked before.
        """
        if self._requested:
            self._at_once = True
            raise KeyboardInterrupt
        self._requested = True
        self._on_request()


@contextmanager
def interruptible(on_request: Callable[[], None]) -> Iterator[Interruption]:
    """Turn the first Ctrl-C inside the block into a request; outside the main thread nothing changes."""
    interruption = Interruption(on_request)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        interruption.request()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
