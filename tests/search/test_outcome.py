"""Which trials a search ends with: the best, the recommendation's, and those that are worth a second look."""

import pytest

from advisor.search.outcome import best_of, finalists_of
from advisor.trial import TrialRecord
from tests.search.fakes import candidate


def record(number: int, value: float | None, *, learning_rate: float | None = None, state="complete") -> TrialRecord:
    rate = 1e-4 * (number + 1) if learning_rate is None else learning_rate
    return TrialRecord(
        number=number,
        state=state,
        candidate=candidate(learning_rate=rate),
        seed=0,
        origin="sampler",
        value=value,
        reports=(),
        started_at="2026-01-01T00:00:00+00:00",
    )


def always(number: int) -> bool:
    return True


def test_finalists_are_the_three_best_complete_trials_best_first():
    records = [record(number, value) for number, value in enumerate((0.1, 0.5, 0.9, 0.7, 0.8))]
    assert [found.number for found in finalists_of(records, None, always)] == [2, 4, 3]
    assert [found.number for found in finalists_of(records, None, always, n=1)] == [2]


def test_the_recommendation_is_a_finalist_in_its_place_though_it_is_not_among_the_best():
    records = [record(number, value) for number, value in enumerate((0.1, 0.5, 0.9, 0.7, 0.8))]
    assert [found.number for found in finalists_of(records, records[0], always)] == [2, 4, 3, 0]
    assert [found.number for found in finalists_of(records, records[4], always)] == [2, 4, 3]


def test_of_equal_values_the_earlier_trial_comes_first():
    records = [record(number, 0.5) for number in (3, 1, 2, 0)]
    assert [found.number for found in finalists_of(records, None, always)] == [0, 1, 2]


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_only_complete_trials_are_finalists_and_the_recommendation_is_no_exception(state):
    recommended = record(0, 0.9, state=state)
    records = [recommended, record(1, 0.5)]
    assert [found.number for found in finalists_of(records, recommended, always)] == [1]
    assert finalists_of([recommended], recommended, always) == ()


def test_trials_whose_adapter_is_gone_make_room_for_the_next():
    records = [record(number, value) for number, value in enumerate((0.9, 0.8, 0.7, 0.6))]
    assert [found.number for found in finalists_of(records, None, lambda number: number != 1)] == [0, 2, 3]


def test_of_the_same_candidate_the_recommendations_own_trial_counts_else_the_best():
    recommended = record(0, 0.5, learning_rate=1e-3)
    again = record(2, 0.8, learning_rate=1e-3)
    others = [record(1, 0.6, learning_rate=2e-3), record(3, 0.7, learning_rate=2e-3)]
    found = finalists_of([recommended, again, *others], recommended, always)
    assert [one.number for one in found] == [3, 0]
    assert [one.number for one in finalists_of([recommended, again, *others], None, always)] == [2, 3]


def test_the_best_is_the_first_finalist():
    records = [record(number, value) for number, value in enumerate((0.4, 0.7, 0.7))]
    best = best_of(records, always)
    assert best is not None
    assert best.number == finalists_of(records, records[0], always)[0].number == 1
