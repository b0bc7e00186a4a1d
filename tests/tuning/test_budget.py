"""Time for what follows the search, and when the search has to end for it; the seconds are computed by hand."""

import pytest

from advisor.search.events import Progress, RungReached, TrialFinished, TrialStarted
from advisor.trial import TrialSpec
from advisor.tuning.budget import Budget, SearchWatch, expected_s, turns_s
from tests.search.fakes import candidate
from tests.tuning.fakes import RUNGS, finished

SPEC = TrialSpec(number=5, candidate=candidate(), seed=0, rung_steps=RUNGS)


def budget(limit_s: float | None, **changes: float) -> Budget:
    return Budget(**{"limit_s": limit_s, "so_far_s": 20.0, "evaluation_s": 10.0, "n_seeds": 1, "slots": 1, **changes})


@pytest.mark.parametrize(
    ("limit_s", "changes", "left_s"),
    [
        (None, {}, None),
        # 20 s so far (10 of them start-up), then three evaluations and one more start-up.
        (1000, {}, 1000 - 20 - 30 - 10),
        # Winner and recommendation with three seeds each, and the reload check.
        (1000, {"n_seeds": 3}, 1000 - 20 - 70 - 10),
        # What follows would take everything: half is left.
        (100, {"evaluation_s": 60.0, "so_far_s": 70.0}, 50),
    ],
)
def test_search_and_finals_leave_time_for_the_final_evaluation(limit_s, changes, left_s):
    assert budget(limit_s, **changes).before_evaluation_s == left_s


def test_the_finals_take_as_long_as_the_finalists_did_with_each_other_seed():
    # Finalists took 20 s each: four of them with two more seeds.
    finalists = [finished(number, 0.5) for number in range(4)]
    assert budget(None, n_seeds=3).finals_s(finalists) == 2 * 4 * 20
    assert budget(None, n_seeds=3, slots=3).finals_s(finalists) == 2 * 2 * 20
    assert budget(None, n_seeds=1).finals_s(finalists) == 0
    assert budget(None, n_seeds=3).finals_s([]) == 0


@pytest.mark.parametrize(
    ("slots", "seconds"),
    [
        (1, 18.0),
        # 9 beside 5, then 3 beside 1; the longest of each turn counts.
        (2, 12.0),
        (3, 10.0),
        (4, 9.0),
        (9, 9.0),
    ],
)
def test_trainings_of_different_length_take_turns(slots, seconds):
    assert turns_s([3.0, 9.0, 1.0, 5.0], slots) == seconds
    assert turns_s([], slots) == 0


@pytest.mark.parametrize(
    ("limit_s", "end_s"),
    [
        (None, None),
        (1000, 900 - 160),
        # 160 s would be more than 40 % of the limit; the search keeps half of it.
        (300, 150),
    ],
)
def test_the_search_ends_in_time_for_the_finals_which_get_40_percent_at_most(limit_s, end_s):
    finalists = [finished(number, 0.5) for number in range(4)]
    assert budget(limit_s, n_seeds=3).search_end_s(finalists) == end_s


def test_without_start_up_and_evaluation_the_finals_get_40_percent():
    finalists = [finished(number, 0.5) for number in range(4)]
    assert budget(300, n_seeds=3, so_far_s=0.0, evaluation_s=0.0).search_end_s(finalists) == 180


def test_what_a_study_will_take_follows_from_its_finished_trials():
    trials = [finished(number, 0.5) for number in range(3)]
    # Seven more trials of 20 s, then four finalists with two more seeds.
    assert expected_s(trials, 10, 4, 3) == 7 * 20 + 8 * 20
    assert expected_s(trials, 10, 4, 3, slots=2) == 150
    assert expected_s(trials, 2, 0, 1) == 0
    assert expected_s([], 10, 4, 3) is None


def progress(elapsed_s: float) -> Progress:
    return Progress(n_finished=0, n_trials=9, best_number=None, best_value=None, elapsed_s=elapsed_s, eta_s=None)


def watch(end_s: float | None = None, records=()) -> SearchWatch:
    return SearchWatch(end_s=lambda trials: end_s, records=list(records))


def ended(value: float, elapsed_s: float = 0.0) -> TrialFinished:
    return TrialFinished(record=finished(5, value), is_best=True, progress=progress(elapsed_s))


def test_without_limit_a_search_is_never_ended():
    held = watch()
    held.see(ended(1.0, 1e9))
    assert not held.wants_end()


def test_a_search_ends_when_a_whole_trial_does_not_fit_before_the_finals():
    # A trial takes 20 s.
    held = watch(end_s=100)
    held.see(ended(0.5, 79))
    assert not held.wants_end()
    held.see(ended(0.5, 81))
    assert held.wants_end()
    assert held.is_over


def test_with_a_trial_under_way_it_is_the_next_rung_that_has_to_fit():
    held = watch(end_s=100, records=[finished(1, 0.5)])
    held.see(TrialStarted(spec=SPEC, progress=progress(85)))
    assert not held.wants_end()  # 5 of 20 steps
    held.see(RungReached(spec=SPEC, rung=1, value=0.5, progress=progress(91)))
    assert held.wants_end()  # 10 of 20 steps


def test_before_a_trial_is_complete_the_search_is_never_ended():
    held = watch(end_s=1)
    held.see(TrialStarted(spec=SPEC, progress=progress(50)))
    held.see(RungReached(spec=SPEC, rung=0, value=0.5, progress=progress(60)))
    assert not held.wants_end()
