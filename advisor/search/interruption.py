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
        self.requested = False
        self._on_request = on_request

    def request(self) -> None:
        """Ask the search to end.

        Raises:
            KeyboardInterrupt: It was asked before.
        """
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
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
