"""How long the trials of a study train."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import InputError
from advisor.tuning.planning import rung_steps
from tests.search.fakes import candidate


def test_rungs_stand_at_a_quarter_a_half_and_the_end_of_the_recommended_epochs():
    # 3 epochs of 800 examples in batches of 16.
    assert rung_steps(candidate(num_epochs=3), 800, None) == (38, 75, 150)


def test_max_steps_caps_the_training():
    assert rung_steps(candidate(num_epochs=3), 800, 40) == (10, 20, 40)
    assert rung_steps(candidate(num_epochs=3), 800, 10_000) == (38, 75, 150)


@given(epochs=st.floats(0.01, 100), n_train=st.integers(1, 10_000), cap=st.one_of(st.none(), st.integers(1, 50)))
def test_rungs_are_ascending_and_positive_however_small_the_data(epochs, n_train, cap):
    steps = rung_steps(candidate(num_epochs=epochs), n_train, cap)
    assert list(steps) == sorted(set(steps))
    assert steps[0] >= 1
    assert cap is None or steps[-1] <= cap


@pytest.mark.parametrize("epochs", [0, -1, "3", None, True, float("nan"), 10**6])
def test_a_senseless_number_of_epochs_is_refused(epochs):
    with pytest.raises(InputError, match="num_epochs"):
        rung_steps(candidate(num_epochs=epochs), 100, None)
