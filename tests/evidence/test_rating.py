"""Ratings from scores in set-ups that share contenders."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.evidence.rating import Score, rate


def nothing_expected(current):
    return lambda name: 0.0


def score(setup: str, contender: str, value: float, weight: float = 1000.0) -> Score:
    return Score(setup=(setup,), contender=contender, value=value, weight=weight)


def test_differences_between_contenders_are_recovered_whatever_the_difficulty_of_the_set_up():
    scores = [score("easy", "a", 90), score("easy", "b", 80), score("hard", "b", 20), score("hard", "c", 5)]
    found = rate(scores, nothing_expected, rounds=3000)
    assert found["a"].units - found["b"].units == pytest.approx(1.0, abs=0.02)
    assert found["b"].units - found["c"].units == pytest.approx(1.5, abs=0.02)


def test_a_loss_to_a_strong_rival_places_a_model_below_it_and_not_below_everybody():
    scores = [
        score("board", "strong", 80),
        score("board", "weak", 20),
        score("pair", "strong", 60),
        score("pair", "new", 50),
    ]
    found = rate(scores, nothing_expected)
    assert found["strong"].units > found["new"].units > found["weak"].units


def test_a_score_without_a_rival_says_nothing():
    assert rate([score("alone", "a", 99)], nothing_expected) == {}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abcd"), st.floats(0, 100)), max_size=20))
def test_raising_all_scores_of_a_set_up_changes_nothing(triples):
    scores = [score(*triple, weight=1.0) for triple in triples]
    raised = [score(setup, name, value + (7.0 if setup == "x" else 0.0), weight=1.0) for setup, name, value in triples]
    one, other = rate(scores, nothing_expected), rate(raised, nothing_expected)
    assert one.keys() == other.keys()
    assert all(one[name].units == pytest.approx(other[name].units, abs=1e-3) for name in one)
