"""pass@k by the formula of Chen et al. 2021."""

from itertools import combinations
from statistics import fmean

import pytest

from advisor.errors import InputError
from advisor.execution import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize(
    ("n_samples", "n_correct", "k", "expected"),
    [
        (5, 2, 1, 0.4),  # c / n
        (5, 2, 2, 0.7),  # 1 - 3 / 10
        (10, 3, 5, 1 - 21 / 252),
        (200, 1, 100, 0.5),
        (4, 0, 2, 0.0),
        (4, 3, 2, 1.0),  # no two samples without a correct one
        (1, 1, 1, 1.0),
    ],
)
def test_it_gives_the_numbers_computed_by_hand(n_samples: int, n_correct: int, k: int, expected: float) -> None:
    assert pass_at_k(n_samples, n_correct, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_samples", [1, 4, 7])
def test_it_is_the_share_of_all_subsets_that_hold_a_correct_sample(n_samples: int) -> None:
    for n_correct in range(n_samples + 1):
        samples = [True] * n_correct + [False] * (n_samples - n_correct)
        for k in range(1, n_samples + 1):
            share = fmean(any(subset) for subset in combinations(samples, k))
            assert pass_at_k(n_samples, n_correct, k) == pytest.approx(share, abs=1e-12)


def test_many_samples_stay_exact() -> None:
    assert pass_at_k(100_000, 1, 1) == pytest.approx(1e-5, rel=1e-9)


def test_the_mean_is_over_problems_and_not_over_samples() -> None:
    assert mean_pass_at_k([(1, 1), (3, 0), (2, 1)], k=1) == pytest.approx(0.5)


@pytest.mark.parametrize(("n_samples", "n_correct", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_impossible_counts_are_refused(n_samples: int, n_correct: int, k: int) -> None:
    with pytest.raises(InputError, match="pass@"):
        pass_at_k(n_samples, n_correct, k)


def test_no_problems_have_no_mean() -> None:
    with pytest.raises(InputError, match="no problem"):
        mean_pass_at_k([], k=1)
