"""Strengths from pairwise contests."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.evidence.strength import Contest, fit, outcome_of_gap

NAMES = st.sampled_from("abcd")
CONTESTS = st.lists(
    st.builds(
        lambda first, second, outcome, weight: Contest(first=first, second=second, outcome=outcome, weight=weight),
        NAMES, NAMES, st.floats(0, 1), st.floats(0.01, 3),
    ).filter(lambda contest: contest.first != contest.second),
    min_size=1, max_size=12,
)  # fmt: skip


def contest(first: str, second: str, outcome: float, weight: float = 1.0) -> Contest:
    return Contest(first=first, second=second, outcome=outcome, weight=weight)


def test_the_odds_of_two_contenders_follow_the_share_of_contests_won():
    found = fit([contest("a", "b", 1.0, 750.0), contest("a", "b", 0.0, 250.0)], rounds=5000)
    assert found["a"].log_odds - found["b"].log_odds == pytest.approx(math.log(3), rel=0.02)


def test_contenders_that_never_met_are_ranked_through_a_shared_rival():
    found = fit([contest("a", "b", 1.0, 5), contest("b", "c", 1.0, 5)])
    assert found["a"].log_odds > found["b"].log_odds > found["c"].log_odds


def test_few_contests_move_little_and_count_less():
    once, often = fit([contest("a", "b", 1.0)]), fit([contest("a", "b", 1.0, 20)])
    assert 0 < once["a"].log_odds < often["a"].log_odds
    assert once["a"].cautious < often["a"].cautious


@settings(deadline=None)
@given(CONTESTS)
def test_naming_the_contenders_the_other_way_round_changes_nothing(contests):
    turned = [contest(one.second, one.first, 1.0 - one.outcome, one.weight) for one in contests]
    one, other = fit(contests), fit(turned)
    assert {name: round(strength.log_odds, 6) for name, strength in one.items()} == {
        name: round(strength.log_odds, 6) for name, strength in other.items()
    }


@settings(deadline=None)
@given(CONTESTS)
def test_strengths_are_finite_and_drawn_contests_leave_everybody_average(contests):
    assert all(math.isfinite(strength.log_odds) for strength in fit(contests).values())
    drawn = fit([contest(one.first, one.second, 0.5, one.weight) for one in contests])
    assert all(abs(strength.log_odds) < 1e-9 for strength in drawn.values())


@settings(deadline=None)
@given(st.floats(-200, 200), st.floats(-200, 200))
def test_a_larger_gap_is_never_a_worse_outcome(one, other):
    low, high = sorted((one, other))
    assert 0.0 <= outcome_of_gap(low) <= outcome_of_gap(high) <= 1.0


def test_no_gap_is_a_draw_and_four_points_are_a_clear_win():
    assert outcome_of_gap(0) == 0.5
    assert outcome_of_gap(4) == 1.0
    assert outcome_of_gap(-4) == 0.0
