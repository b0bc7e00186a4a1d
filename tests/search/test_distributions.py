"""The search space as parameters of a study, there and back."""

from dataclasses import replace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.search.distributions import parameters_of, suggest, suggest_base
from advisor.search_space import Dimension, MethodSpace, SearchSpace, candidate_from_choice
from tests.search.fakes import candidate, space
from tests.search.several_bases import DECODER, ENCODER, QUANTIZED, joint_space, on

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


@pytest.mark.parametrize("seed", range(20))
def test_with_several_base_models_what_is_suggested_is_inside_the_chosen_one_and_can_be_enqueued_again(seed):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    joint = joint_space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    base = suggest_base(trial, joint)
    method, values = suggest(trial, joint, base)
    part = next(part for part in base.methods if part.method == method)
    assert list(values) == [dimension.name for dimension in part.dimensions]
    chosen = candidate_from_choice(base.recommended, method, values)
    assert joint.base_of(chosen) is base
    parameters = parameters_of(chosen, joint)
    assert parameters == trial.params
    study.enqueue_trial(dict(parameters))
    again = study.ask()
    assert suggest_base(again, joint) is base
    assert suggest(again, joint, base) == (method, values)


def test_base_models_share_a_parameter_where_they_have_the_same_choices_or_range():
    lora = {"lora.learning_rate": 3e-4, "lora.r": 8}
    assert parameters_of(on(ENCODER), joint_space()) == {"base": ENCODER, "method": "lora", **lora}
    assert parameters_of(on(QUANTIZED), joint_space()) == {"base": QUANTIZED, "method": "lora", **lora}
    assert parameters_of(on(DECODER), joint_space()) == {
        "base": DECODER, f"method@{DECODER}": "lora", f"lora.learning_rate@{DECODER}": 3e-4, "lora.r": 8,
    }  # fmt: skip


def test_optuna_takes_every_parameter_with_one_range_only():
    # It refuses a categorical parameter whose choices change, and models a range that changes wrongly.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        trial = study.ask()
        suggest(trial, joint_space(), suggest_base(trial, joint_space()))
        study.tell(trial, 0.0)
    ranges: dict[str, set[str]] = {}
    for trial in study.trials:
        for name, distribution in trial.distributions.items():
            ranges.setdefault(name, set()).add(repr(distribution))
    assert {trial.params["base"] for trial in study.trials} == {ENCODER, QUANTIZED, DECODER}
    assert all(len(found) == 1 for found in ranges.values())


def test_one_base_model_is_no_parameter():
    study = optuna.create_study()
    trial = study.ask()
    assert suggest_base(trial, space()) is None
    assert trial.params == {}


def test_a_candidate_on_a_base_model_that_is_not_searched_cannot_be_enqueued():
    with pytest.raises(ValueError, match=r"decoder \(4bit\) is not searched"):
        parameters_of(replace(on(DECODER), quantization="4bit"), joint_space())
    with pytest.raises(ValueError, match="ia3 is not in the search space"):
        parameters_of(on(DECODER, "ia3"), joint_space())
