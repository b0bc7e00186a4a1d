"""New trials appear in the study whole, and the same ones whenever they are asked for."""

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from advisor.search.asking import ask, open_trial, spec_of
from advisor.search.distributions import parameters_of
from advisor.search.sampling import make_sampler
from advisor.search.study import quiet_optuna
from advisor.search_space import SearchSpace
from tests.search.fakes import candidate, settings, space
from tests.search.several_bases import joint_settings


@pytest.fixture(autouse=True)
def _quiet():
    with quiet_optuna():
        yield


def finished(n_trials: int, study: optuna.Study | None = None) -> optuna.Study:
    """Return a study with trials whose value is the learning rate."""
    study = study or optuna.create_study(direction="maximize")
    for _ in range(n_trials):
        spec = spec_of(ask(study, settings(), 0), settings())
        study.tell(spec.number, float(spec.candidate.hyperparameters["learning_rate"]))
    return study


def test_a_sampled_trial_is_there_with_all_its_parameters_and_running():
    study = finished(3)
    trial = ask(study, settings(), 0)
    stored = study.trials[-1]
    assert stored.number == trial.number == 3
    assert stored.state == TrialState.RUNNING
    assert stored.user_attrs == {"origin": "sampler"}
    assert {"method"} < set(stored.params) == set(stored.distributions)
    method = stored.params["method"]
    assert spec_of(trial, settings()).candidate.method == method
    assert all(name == "method" or name.startswith(f"{method}.") for name in stored.params)


@pytest.mark.parametrize("n_before", [0, 4, 9])
def test_what_is_asked_for_depends_on_seed_and_history_alone(n_before):
    # With more than six points the model of good points decides, before it chance does.
    first, second = (ask(finished(n_before), settings(), 0) for _ in range(2))
    assert first.params == second.params
    assert first.params != ask(finished(n_before), settings(seed=5), 0).params


def test_the_sampler_is_optunas_own_with_the_seed_of_the_study():
    study, other = finished(8), finished(8)
    other.sampler = make_sampler(settings().seed, 8)
    direct = other.ask()
    direct.suggest_categorical("method", ["lora", "ia3"])
    assert direct.params["method"] == ask(study, settings(), 0).params["method"]


def test_with_several_base_models_each_comes_first_once_and_a_sampled_trial_is_trained_as_recommended_on_its_own():
    chosen = joint_settings()
    study = optuna.create_study(direction="maximize")
    seen = []
    for _ in range(24):
        spec = spec_of(ask(study, chosen, 3), chosen)
        study.tell(spec.number, float(spec.candidate.hyperparameters["learning_rate"]))
        seen.append(spec.candidate)
    assert tuple(seen[0:5:2]) == chosen.warm_starts[:3]
    ways = {(one.base_model, one.quantization, one.precision, one.architecture, one.micro_batch_size) for one in seen}
    assert ways == {
        ("encoder", None, "fp32", "encoder-only", None),
        ("encoder", "4bit", "bf16", "encoder-only", None),
        ("decoder", None, "fp32", "decoder-only", 4),
    }
    assert all(one.method == "lora" for one in seen if one.base_model == "decoder")


def test_a_trial_on_one_of_several_base_models_is_read_back_as_it_was():
    chosen = joint_settings()
    study = optuna.create_study(direction="maximize")
    for _ in range(12):
        asked = ask(study, chosen, 0)
        spec = spec_of(asked, chosen)
        assert spec_of(open_trial(study, study.trials[-1]), chosen) == spec
        study.tell(spec.number, 0.5)


def test_a_sampled_trial_is_drawn_for_all_objectives_of_the_study():
    study = optuna.create_study(directions=["maximize", "minimize"])
    for _ in range(9):
        spec = spec_of(ask(study, settings(), 0), settings())
        study.tell(spec.number, (float(spec.candidate.hyperparameters["learning_rate"]), float(spec.number)))
    assert len(study.trials) == 9


def space_without_rates() -> SearchSpace:
    """Return a space in which no other learning rate can be tried."""
    methods = [replace(part, dimensions=tuple(d for d in part.dimensions if d.name == "r")) for part in space().methods]
    return SearchSpace(methods=tuple(methods))


def test_a_larger_rate_of_the_recommendation_is_trained_as_it_was_enqueued():
    study = optuna.create_study(direction="maximize")
    specs = [spec_of(ask(study, settings(), 3), settings()) for _ in range(3)]
    assert [spec.candidate for spec in specs[0:3:2]] == [candidate(), candidate(learning_rate=3e-3)]
    assert study.trials[2].params == {"method": "lora", "lora.learning_rate": 3e-3, "lora.r": 8}
    assert [trial.user_attrs["origin"] for trial in study.trials] == ["recommendation", "sampler", "recommendation"]


def test_warm_starts_take_turns_with_sampled_trials_as_they_are_and_once():
    study = optuna.create_study(direction="maximize")
    alone = settings(space=space_without_rates())
    specs = [spec_of(ask(study, alone, 2), alone) for _ in range(5)]
    assert [spec.candidate for spec in specs[0:3:2]] == list(settings().warm_starts)
    origins = [trial.user_attrs["origin"] for trial in study.trials]
    assert origins == ["recommendation", "sampler", "recommendation", "sampler", "sampler"]


def test_a_study_asked_for_fewer_warm_starts_tries_no_more_of_them():
    study = optuna.create_study(direction="maximize")
    for _ in range(4):
        spec_of(ask(study, settings(), 1), settings())
    assert [trial.user_attrs["origin"] for trial in study.trials] == ["recommendation"] + ["sampler"] * 3


def test_warm_starts_that_wait_in_the_queue_of_an_earlier_version_are_tried_first():
    study = optuna.create_study(direction="maximize")
    for index, one in enumerate(settings().warm_starts):
        attributes = {"origin": "recommendation", "warm_start": index}
        study.enqueue_trial(dict(parameters_of(one, settings().space)), user_attrs=attributes)
    specs = [spec_of(ask(study, settings(), 2), settings()) for _ in range(3)]
    assert [spec.candidate for spec in specs[:2]] == list(settings().warm_starts)
    assert len(study.trials) == 3


def test_a_running_trial_can_be_opened_again_and_reported_to():
    study = finished(1)
    asked = ask(study, settings(), 0)
    again = open_trial(study, study.trials[-1])
    assert spec_of(again, settings()) == spec_of(asked, settings())
    again.report(0.5, 3)
    assert study.trials[-1].intermediate_values == {3: 0.5}


def test_a_warm_start_outside_the_space_is_a_mistake_of_the_caller():
    study = optuna.create_study(direction="maximize")
    with pytest.raises(ValueError, match="outside the search space"):
        ask(study, settings(space=space("lora"), warm_starts=(candidate(learning_rate=5.0),)), 1)
