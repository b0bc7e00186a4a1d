"""Time spent, time left, and whether the next step fits."""

from advisor.search.pace import Pace
from tests.search.fakes import FakeClock


def test_without_a_limit_there_is_always_time():
    assert Pace(FakeClock(), limit_s=None, spent_before_s=1e9).has_time_for(10**9)


def test_unmeasured_steps_fit_until_the_limit_is_reached():
    clock = FakeClock()
    pace = Pace(clock, limit_s=10, spent_before_s=4)
    assert pace.has_time_for(10**6)
    clock.now += 6
    assert not pace.has_time_for(1)


def test_measured_steps_fit_when_they_end_before_the_limit():
    clock = FakeClock()
    pace = Pace(clock, limit_s=100, spent_before_s=0)
    clock.now += 20
    pace.observe(20, n_steps=10)
    assert pace.has_time_for(39)
    assert not pace.has_time_for(40)


def test_the_time_left_follows_from_the_trials_of_this_run_alone():
    clock = FakeClock()
    pace = Pace(clock, limit_s=None, spent_before_s=1000)
    assert pace.eta_s(trials_done=0, trials_left=5) is None
    clock.now += 30
    assert pace.eta_s(trials_done=1.5, trials_left=4) == 80
    assert pace.elapsed_s == 1030


def test_the_time_left_is_never_more_than_the_limit_leaves():
    clock = FakeClock()
    pace = Pace(clock, limit_s=50, spent_before_s=0)
    clock.now += 30
    assert pace.eta_s(trials_done=1, trials_left=100) == 20
    clock.now += 30
    assert pace.eta_s(trials_done=1, trials_left=100) == 0
