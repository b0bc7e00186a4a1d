"""Signs of life come at once and again, for the trials that are held, and go on after a failure."""

import threading

from advisor.search.heartbeat import Heartbeat


class Beats:
    """Counts signs of life and lets a test wait for them."""

    def __init__(self, fails: int = 0) -> None:
        self.of: list[int] = []
        self.fails = fails
        self._came = threading.Condition()

    def __call__(self, trial_id: int) -> None:
        with self._came:
            self.of.append(trial_id)
            self._came.notify_all()
            if len(self.of) <= self.fails:
                raise RuntimeError("the database is away")

    def wait_for(self, n: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.of) >= n, timeout=30)


def test_each_trial_gives_signs_of_life_again_and_again():
    beats = Beats()
    heartbeat = Heartbeat(beats, every_s=0.01)
    heartbeat.add(7)
    heartbeat.add(8)
    beats.wait_for(6)
    heartbeat.close()
    assert set(beats.of) == {7, 8}
    assert heartbeat.trials == (7, 8)


def test_a_trial_that_is_over_gives_none():
    beats = Beats()
    heartbeat = Heartbeat(beats, every_s=0.01)
    heartbeat.add(7)
    beats.wait_for(1)
    heartbeat.remove(7)
    heartbeat.add(8)
    beats.wait_for(len(beats.of) + 3)
    heartbeat.close()
    assert beats.of[-1] == 8
    assert heartbeat.trials == (8,)


def test_a_failure_does_not_end_them():
    beats = Beats(fails=2)
    heartbeat = Heartbeat(beats, every_s=0.01)
    heartbeat.add(7)
    beats.wait_for(4)
    heartbeat.close()
    assert set(beats.of) == {7}
