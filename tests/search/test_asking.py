"""New trials appear in the study whole, and the same ones whenever they are asked for."""

import optuna
import pytest
from optuna.trial import TrialState

from advisor.search.asking import ask, enqueue_warm_starts, open_trial, spec_of
from advisor.search.study import make_sampler, quiet_optuna
from tests.search.fakes import candidate, settings, space


@pytest.fixture(autouse=True)
def _quiet():
    with quiet_optuna():
        yield


def finished(n_trials: int, study: optuna.Study | None = None) -> optuna.Study:
    """Return a study with trials whose value is the learning rate."""
    study = study or optuna.create_study(direction="maximize")
    for _ in range(n_trials):
        spec = spec_of(ask(study, settings()), settings())
        study.tell(spec.number, float(spec.candidate.hyperparameters["learning_rate"]))
    return study


def test_a_sampled_trial_is_there_with_all_its_parameters_and_running():
    study = finished(3)
    trial = ask(study, settings())
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
    first, second = (ask(finished(n_before), settings()) for _ in range(2))
    assert first.params == second.params
    assert first.params != ask(finished(n_before), settings(seed=5)).params


def test_the_sampler_is_optunas_own_with_the_seed_of_the_study():
    study, other = finished(8), finished(8)
    other.sampler = make_sampler(settings().seed, 8)
    direct = other.ask()
    direct.suggest_categorical("method", ["lora", "ia3"])
    assert direct.params["method"] == ask(study, settings()).params["method"]


def test_warm_starts_come_first_as_they_are_and_are_queued_once():
    study = optuna.create_study(direction="maximize")
    for _ in range(2):
        enqueue_warm_starts(study, settings(), 2)
    specs = [spec_of(ask(study, settings()), settings()) for _ in range(3)]
    assert [spec.candidate for spec in specs[:2]] == list(settings().warm_starts)
    assert [trial.user_attrs["origin"] for trial in study.trials] == ["recommendation"] * 2 + ["sampler"]
    enqueue_warm_starts(study, settings(), 2)
    assert len(study.trials) == 3


def test_a_running_trial_can_be_opened_again_and_reported_to():
    study = finished(1)
    asked = ask(study, settings())
    again = open_trial(study, study.trials[-1])
    assert spec_of(again, settings()) == spec_of(asked, settings())
    again.report(0.5, 3)
    assert study.trials[-1].intermediate_values == {3: 0.5}


def test_a_warm_start_outside_the_space_is_a_mistake_of_the_caller():
    study = optuna.create_study(direction="maximize")
    with pytest.raises(ValueError, match="outside the search space"):
        enqueue_warm_starts(study, settings(space=space("lora"), warm_starts=(candidate(learning_rate=5.0),)), 1)
