"""What trackers are told of a study, a trial and a final run: names, units, times, and nothing that is not a number."""

import math
from dataclasses import replace
from pathlib import Path

from advisor.trial import RungReport, TrialFailure
from advisor.tuning.trackers.facts import (
    candidate_params,
    point_of,
    study_ending,
    tracked_final,
    tracked_study,
    tracked_trial,
    trial_ending,
)
from tests.report import fixtures
from tests.search.fakes import inference, settings
from tests.tuning.fakes import finished

MIDNIGHT_S = 1767225600.0  # 2026-01-01T00:00:00Z, `date -u -d 2026-01-01 +%s`


def rung(**changes: object) -> RungReport:
    values = {
        "number": 3, "rung": 1, "step": 10, "metrics": {"f1": 0.5}, "train_loss": 0.25, "duration_s": 90.0,
        "peak_memory_bytes": 2048, **changes,
    }  # fmt: skip
    return RungReport(**values)


def test_a_rung_is_a_point_at_its_optimizer_step_and_time():
    point = point_of(rung(), MIDNIGHT_S, now_s=5.0)
    assert point is not None
    assert (point.step, point.at_s) == (10, MIDNIGHT_S + 90)
    assert point.values == {"validation/f1": 0.5, "train/loss": 0.25, "peak_memory_bytes": 2048.0}
    assert point_of(rung(), None, now_s=5.0).at_s == 5.0


def test_what_is_not_a_finite_number_or_not_known_is_left_out():
    point = point_of(
        rung(train_loss=math.nan, peak_memory_bytes=None, metrics={"f1": 0.5, "loss": math.inf}), None, 0.0
    )
    assert point.values == {"validation/f1": 0.5}
    assert point_of(rung(metrics={}, train_loss=None), None, 0.0) is None


def test_hyperparameters_stand_beside_model_precision_and_batch_size_and_lists_become_text():
    params = candidate_params(fixtures.candidate(2e-4, target_modules=["query", "value"]), "recommendation.")
    assert params["recommendation.learning_rate"] == 2e-4
    assert params["recommendation.target_modules"] == "query, value"
    assert params["recommendation.base_model"] == fixtures.BASE_MODEL
    assert params["recommendation.quantization"] == "none"
    assert "recommendation.micro_batch_size" not in params


def test_trials_and_finals_have_keys_of_their_own():
    one = fixtures.candidate()
    assert tracked_trial(3, one, 0).key == "trial-3"
    assert tracked_final(3, one, 1).key == "final-3-seed1"
    assert tracked_final(3, one, 1).params["seed"] == 1
    assert tracked_final(3, one, 1).params["trial"] == 3


def test_a_complete_trial_ends_with_what_its_predictions_take():
    record = replace(finished(4, 0.8), inference=inference(1000, 0.125))
    ending = trial_ending(record, now_s=0.0)
    assert ending.state == "finished"
    assert ending.facts == {"state": "complete", "origin": "sampler"}
    assert (ending.point.step, ending.point.at_s) == (20, MIDNIGHT_S + 20)
    assert ending.point.values == {
        "duration_s": 20.0, "inference/latency_s": 0.125, "inference/memory_bytes": 1000.0
    }  # fmt: skip


def test_a_failed_trial_ends_with_its_reason_and_a_pruned_one_as_finished():
    failed = replace(
        finished(4, 0.8), state="failed", value=None, failure=TrialFailure(kind="nan-loss", message="loss is NaN")
    )
    assert trial_ending(failed, 0.0).state == "failed"
    assert trial_ending(failed, 0.0).facts["failure"] == "nan-loss: loss is NaN"
    pruned = trial_ending(replace(finished(4, 0.8), state="pruned"), 0.0)
    assert (pruned.state, pruned.facts["state"]) == ("finished", "pruned")


def test_the_study_ends_with_the_comparison_and_the_files_that_are_there(tmp_path: Path):
    (tmp_path / "report.html").touch()
    result = replace(fixtures.result(), n_trials_finished=14, warnings=("3 rows were dropped",))
    ending = study_ending(result, tmp_path, now_s=0.0)
    assert ending.point.values["test/best trial/f1"] == 0.843
    assert ending.point.values["test/majority class/f1"] == 0.656
    assert ending.point.values["best_trial"] == 9.0
    assert ending.point.step == 14
    assert ending.point.at_s == MIDNIGHT_S + 28 * 3600  # 2026-01-02T04:00:00Z
    assert ending.facts["reload_check"] == "passed"
    assert ending.facts["version.peft"] == "0.21.2"
    assert ending.facts["warning.1"] == "3 rows were dropped"
    assert ending.files == (tmp_path / "report.html",)


def test_the_study_names_its_data_and_hides_secrets():
    from advisor.data.examples import ExampleFile

    file = ExampleFile(
        path="https://me:hunter2@example.org/a.jsonl", sha256="ab12", examples=(), label_counts={}, warnings=()
    )
    study = tracked_study(
        settings(),
        title="Clone detection: run",
        recommended=settings().warm_starts[0],
        files={"train": file},
        facts={"command": "peft-advisor tune --train https://me:hunter2@example.org/a.jsonl"},
    )
    assert study.params["data.train.sha256"] == "ab12"
    assert study.params["data.train.n_examples"] == 0
    assert study.params["methods"] == "lora, ia3"
    assert study.params["recommendation.learning_rate"] == 3e-4
    assert "hunter2" not in f"{study}"
    assert study.facts["data.train.path"] == "https://***@example.org/a.jsonl"
