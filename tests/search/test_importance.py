"""Importance of what was searched: as Optuna computes it, over the trials that count, with what chance would give."""

import math
import sqlite3

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from advisor import records
from advisor.importance import FILE_NAME, Importance, is_wanted
from advisor.search import run_search
from advisor.search.importance import N_NEEDED, importance_of, keep_importance, split_parameter
from advisor.trial import RungReport, TrialRecord
from tests.report.fixtures import candidate
from tests.search.fakes import FakeRunner, plan, settings


def decided_by_learning_rate(trial, rng):
    method = trial.suggest_categorical("method", ["lora", "ia3"])
    rate = trial.suggest_float(f"{method}.learning_rate", 1e-5, 1e-1, log=True)
    trial.suggest_float(f"{method}.dropout", 0.0, 0.3)
    return -abs(math.log10(rate) + 3) + rng.normal(0, 0.01)


def noise(trial, rng):
    trial.suggest_float("lora.learning_rate", 1e-5, 1e-1, log=True)
    trial.suggest_float("lora.dropout", 0.0, 0.3)
    return rng.normal()


def study_of(objective, n, seed=0):
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=seed))
    study.optimize(lambda trial: objective(trial, rng), n_trials=n)
    return study


def record(number, state="complete", value=0.5):
    report = RungReport(number=number, rung=0, step=10, metrics={"f1": value}, train_loss=None, duration_s=1.0)
    return TrialRecord(
        number=number, state=state, candidate=candidate(), seed=0, origin="sampler", value=value, reports=(report,),
        started_at="2026-01-02T03:00:00+00:00",
    )  # fmt: skip


def searched(folder, n_trials):
    runner = FakeRunner()
    run_search(
        folder, settings(), plan(n_trials), runner, clock=runner.clock, on_event=lambda event: None,
        interrupted=lambda: False,
    )  # fmt: skip


def all_complete(study):
    return [record(trial.number) for trial in study.trials]


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_the_choice_that_decides_leads_and_stands_out_from_chance():
    study = study_of(decided_by_learning_rate, 60)
    found = importance_of(study.trials, all_complete(study), n_shuffles=39)
    rates = [part for part in found.parameters if part.name == "learning_rate"]
    assert {part.name for part in found.parameters[:2]} == {"learning_rate"}
    assert sum(part.share for part in rates) > 0.5
    assert max(part.by_chance for part in rates) <= 0.05
    assert min(part.by_chance for part in found.parameters if part.name == "dropout") > 0.05
    assert {part.method for part in rates} == {"lora", "ia3"}
    assert sum(part.n_trials for part in rates) == 60


def test_shares_are_those_of_optuna_for_complete_trials():
    study = study_of(decided_by_learning_rate, 24)
    found = importance_of(study.trials, all_complete(study), n_shuffles=1)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
    wanted = get_param_importances(study, evaluator=evaluator)
    mine = {f"{part.method}.{part.name}" if part.method else part.name: part.share for part in found.parameters}
    assert mine == pytest.approx(wanted)
    assert sum(mine.values()) == pytest.approx(1)
    assert (found.n_counted, found.n_best) == (24, 6)


def test_noise_stands_out_about_as_often_as_chance_says():
    shown = [
        part.by_chance <= 0.05
        for seed in range(6)
        for study in (study_of(noise, 20, seed),)
        for part in importance_of(study.trials, all_complete(study), n_shuffles=19).parameters
    ]
    assert len(shown) == 12
    assert sum(shown) <= 3  # with one in twenty by chance, four or more of twelve come once in 500 times


def test_fewer_than_twenty_trials_are_too_few():
    study = study_of(noise, N_NEEDED)
    enough, too_few = (importance_of(study.trials, all_complete(study)[:n], n_shuffles=1) for n in (20, 19))
    assert N_NEEDED == enough.n_needed == 20
    assert enough.n_best == 5
    assert len(enough.parameters) == 2
    assert too_few.n_counted == 19
    assert too_few.parameters == ()


def with_stopped(complete, stopped, failed=()):
    """Return a study and its records: values of complete trials, and last values of others at the step 10 of 20."""
    study = optuna.create_study(direction="maximize")
    rows = [("complete", value) for value in complete] + [("pruned", value) for value in stopped]
    rows += [("failed", value) for value in failed]
    rng = np.random.default_rng(0)
    for state, value in rows:
        done = state == "complete"
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if done else TrialState.PRUNED,
                value=value if done else None,
                params={"lora.dropout": rng.random()},
                distributions={"lora.dropout": FloatDistribution(0, 1)},
                intermediate_values={10: value},
            )
        )
    return study.trials, [record(i, state, value) for i, (state, value) in enumerate(rows)]


def test_trials_that_lay_behind_count_and_those_stopped_in_time_or_failed_do_not():
    # The median of the complete ones at the step is 0.55: 0.4 lies behind it, 0.9 was stopped for another reason.
    trials, finished = with_stopped([0.1 * i for i in range(1, 11)], [0.4] * 12 + [0.9] * 3, failed=[0.2] * 2)
    found = importance_of(trials, finished, n_shuffles=1)
    assert (found.n_finished, found.n_counted, found.n_pruned, found.n_best) == (27, 22, 12, 6)
    assert [(part.method, part.name, part.n_trials) for part in found.parameters] == [("lora", "dropout", 22)]


def test_the_best_must_be_trained_to_their_end():
    trials, finished = with_stopped([0.5, 0.6, 0.7], [0.1] * 30)
    found = importance_of(trials, finished, n_shuffles=1)
    assert (found.n_counted, found.n_best) == (33, 9)
    assert found.parameters == ()


def test_a_value_that_is_no_number_does_not_count():
    trials, finished = with_stopped([0.5] * 20, [])
    trials[3].values = [math.nan]
    assert importance_of(trials, finished, n_shuffles=1).n_counted == 19


@pytest.mark.parametrize(
    ("parameter", "parts"),
    [
        ("method", ("method", None, None)),
        ("base", ("base_model", None, None)),
        ("prefix-tuning.num_virtual_tokens", ("num_virtual_tokens", "prefix-tuning", None)),
        ("lora.learning_rate@org/model-v1.5", ("learning_rate", "lora", "org/model-v1.5")),
        ("method@org/model (4bit)", ("method", None, "org/model (4bit)")),
    ],
)
def test_a_parameter_of_a_study_is_taken_apart(parameter, parts):
    assert split_parameter(parameter) == parts


def test_it_is_kept_beside_the_study_and_made_anew_when_trials_were_added(tmp_path):
    assert not is_wanted(tmp_path)
    searched(tmp_path, 3)
    assert is_wanted(tmp_path)
    keep_importance(tmp_path)
    kept = records.read(Importance, tmp_path / FILE_NAME)
    assert (kept.n_finished, kept.parameters) == (3, ())
    assert not is_wanted(tmp_path)
    searched(tmp_path, 4)
    assert is_wanted(tmp_path)
    keep_importance(tmp_path)
    assert records.read(Importance, tmp_path / FILE_NAME).n_finished == 4


def test_a_record_that_cannot_be_read_is_made_anew(tmp_path):
    searched(tmp_path, 3)
    (tmp_path / FILE_NAME).write_text('{"schema_version": 99}', encoding="utf-8")
    keep_importance(tmp_path)
    assert records.read(Importance, tmp_path / FILE_NAME).n_finished == 3


def test_a_damaged_study_is_let_be(tmp_path):
    searched(tmp_path, 3)
    (tmp_path / "study.db").write_bytes(b"no database")
    keep_importance(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    (tmp_path / "study.db").unlink()
    sqlite3.connect(tmp_path / "study.db").close()  # an empty one
    keep_importance(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
