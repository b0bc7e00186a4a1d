"""The search space as parameters of a study, there and back."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.search.distributions import parameters_of, suggest
from advisor.search_space import Dimension, MethodSpace, SearchSpace
from tests.search.fakes import candidate, space

NAMES = ("learning_rate", "r", "num_virtual_tokens", "target_modules", "use_rslora")


def dimension(name: str) -> st.SearchStrategy[Dimension]:
    numbers = st.tuples(st.integers(1, 50), st.integers(51, 100), st.booleans())
    choices = st.lists(st.sampled_from([True, False, "auto", "all-linear"]), min_size=1, max_size=4, unique=True)
    return st.one_of(
        numbers.map(lambda n: Dimension(name=name, kind="float", low=n[0] / 100, high=n[1] / 100, log=n[2])),
        numbers.map(lambda n: Dimension(name=name, kind="int", low=n[0], high=n[1], log=n[2])),
        choices.map(lambda values: Dimension(name=name, kind="categorical", choices=tuple(values))),
    )


def method_space(method: str) -> st.SearchStrategy[MethodSpace]:
    names = st.lists(st.sampled_from(NAMES[1:]), unique=True, max_size=3)
    return names.flatmap(lambda chosen: st.tuples(*map(dimension, chosen))).map(
        lambda dimensions: MethodSpace(method=method, dimensions=dimensions)
    )


spaces = st.tuples(method_space("lora"), method_space("ia3")).map(lambda parts: SearchSpace(methods=parts))


@given(space=spaces, seed=st.integers(0, 1000))
def test_what_is_suggested_is_inside_the_space_and_can_be_enqueued_again(space, seed):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    method, values = suggest(trial, space)
    part = next(part for part in space.methods if part.method == method)
    assert list(values) == [dimension.name for dimension in part.dimensions]
    parameters = parameters_of(candidate(method, **values), space)
    assert parameters == trial.params
    study.enqueue_trial(dict(parameters))
    assert suggest(study.ask(), space) == (method, values)


def test_parameters_carry_the_name_of_their_method():
    assert parameters_of(candidate(), space()) == {"method": "lora", "lora.learning_rate": 3e-4, "lora.r": 8}


@pytest.mark.parametrize(
    ("outside", "said"),
    [
        (candidate("dora"), "dora is not in the search space"),
        (candidate(learning_rate=1.0), "learning_rate = 1.0 is outside"),
        (candidate(r=7), "r = 7 is outside"),
        (candidate(r="8"), "r = '8' is outside"),
    ],
)
def test_a_candidate_outside_the_space_cannot_be_enqueued(outside, said):
    with pytest.raises(ValueError, match=said):
        parameters_of(outside, space())
