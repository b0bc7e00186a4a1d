"""The sampler of a study: the one that plans name, the same for the same history, another for every point."""

import optuna
import pytest

from advisor.search.sampling import N_RANDOM_TRIALS, SAMPLER_NAME, make_sampler
from advisor.search.study import quiet_optuna


@pytest.fixture(autouse=True)
def _quiet():
    with quiet_optuna():
        yield


def drawn(seed: int, n_sampled: int, values: tuple[float, ...] = ()) -> float:
    """Return the point that is drawn after points with these values, which lie on a grid."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(seed, n_sampled))
    for number, value in enumerate(values):
        study.enqueue_trial({"x": number / len(values)})
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        study.tell(trial, value)
    return study.ask().suggest_float("x", 0.0, 1.0)


def test_plans_name_the_sampler_that_is_used():
    assert type(make_sampler(0, 0)).__name__ == SAMPLER_NAME


def test_what_is_drawn_depends_on_seed_number_and_history_alone():
    assert drawn(0, 3) == drawn(0, 3)
    assert len({drawn(0, 3), drawn(0, 4), drawn(1, 3)}) == 3


def test_after_the_random_points_the_good_ones_are_looked_around():
    n = 4 * N_RANDOM_TRIALS
    values = tuple(1.0 if number < n // 4 else 0.0 for number in range(n))  # the lowest quarter of the range is good
    near = [drawn(0, n_sampled, values) < 0.3 for n_sampled in range(20)]
    assert sum(near) >= 17
    far = [drawn(0, n_sampled, values[: N_RANDOM_TRIALS - 1]) < 0.3 for n_sampled in range(20)]
    assert sum(far) <= 12
