"""Ctrl-C once asks, twice ends."""

import contextlib
import os
import signal
import threading

import pytest

from advisor.search.interruption import Interruption, interruptible


def test_the_first_signal_is_a_request_and_the_second_ends():
    said = []
    with interruptible(said.append) as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert said == [signal.SIGINT]


def test_the_handler_from_before_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), interruptible(lambda number: None):
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with interruptible(lambda number: None) as interruption:
            seen.append((interruption.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_a_second_request_that_was_swallowed_is_raised_when_one_asks_next():
    interruption = Interruption(lambda number: None)
    interruption.request()
    assert interruption.requested
    with contextlib.suppress(KeyboardInterrupt):  # as Python does while it finalises an object
        interruption.request()
    with pytest.raises(KeyboardInterrupt):
        _ = interruption.requested


def test_what_a_scheduler_sends_may_come_twice():
    """To all processes of a job, and once more from the script that passes it on."""
    said: list[int] = []
    with interruptible(said.append) as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested
        assert interruption.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert said == [signal.SIGTERM]
