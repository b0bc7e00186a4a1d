"""Full fine-tuning as a baseline: what is trained, when there is room for it, and what is left of it."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.catalog.tasks import find_task
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.result import Plan
from advisor.search.outcome import SearchOutcome
from advisor.tuning.budget import Budget
from advisor.tuning.contest import BEST, FULL, Contest
from advisor.tuning.full_baseline import FOLDER_NAME, Room, compete, full_candidate, host_free_bytes
from tests.search.fakes import candidate
from tests.tuning.fakes import METRIC, RUNGS, SeededRunner, finished
from tests.tuning.test_contest import DATA, N_TEST, EvaluatingRunner, seeds, trial

CLONES = find_task("clone-detection")
RECOMMENDED = candidate(learning_rate=1e-3)
PLAN = Plan(
    n_trials=3, time_limit_s=None, rung_steps=RUNGS, sampler="TPESampler", pruner="none", device="cpu",
    primary_metric=METRIC,
)  # fmt: skip
ROOM = Room(
    estimates=None, n_params=1000, free_bytes=10**9, trial_s=10.0, evaluation_s=1.0, spent_s=1000.0, left_s=None
)


class Estimates:
    """Estimates by which so many examples of full fine-tuning fit at once."""

    def __init__(self, micro_batch_size: int) -> None:
        self.size = micro_batch_size

    def fitting_micro_batch(self, asked: object) -> int:
        return self.size


class TrainingRunner(SeededRunner):
    """Trains as `SeededRunner` and evaluates: the model of seed n is right for 20 + n test examples."""

    def evaluate(self, candidate, adapter, split, *, seed, predictions=None):
        assert adapter.is_dir()
        named = adapter.parent / str(20 + seed)
        return EvaluatingRunner().evaluate(candidate, named, split, seed=seed, predictions=predictions)


def contest(folder: Path, runner: TrainingRunner, known=()) -> Contest:
    return Contest(
        task=CLONES, data=DATA, runner=runner, folder=folder, seed=0, known=known, on_event=lambda event: None
    )


def result_of(folder: Path, runner: TrainingRunner, *, room: Room = ROOM, known=(), **changes):
    arguments = {"runner": runner, "plan": PLAN, "interrupted": lambda: False, **changes}
    return compete(contest(folder, runner, known), RECOMMENDED, (7, 8, 9), room, **arguments)


def runner(values=lambda rate, seed: seed / 10) -> TrainingRunner:
    return TrainingRunner(values=values)


def test_all_weights_of_the_recommended_base_model_are_trained_with_the_catalogue_s_defaults():
    quantized = replace(RECOMMENDED, quantization="4bit", batch_size=8, max_seq_length=77)
    found = full_candidate(CLONES, quantized)
    assert found is not None
    assert (found.base_model, found.method, found.quantization) == (quantized.base_model, "full", None)
    assert (found.batch_size, found.max_seq_length) == (8, 77)
    assert found.hyperparameters["learning_rate"] == 5e-5  # of encoders: CodeXGLUE, lu2021codexglue-004
    decoder = full_candidate(CLONES, replace(quantized, architecture="decoder-only"))
    assert decoder is not None
    assert decoder.hyperparameters["learning_rate"] == 2e-5


def test_all_weights_are_trained_without_the_adapters_that_the_recommendation_is_made_of():
    part = TrainedAdapter(folder="java", sha256="0", reduction_factor=16.0, non_linearity="silu", scaling=1.0)
    found = full_candidate(CLONES, replace(RECOMMENDED, method="adapter-stack", adapters=(part,)))
    assert found == full_candidate(CLONES, RECOMMENDED)


def test_where_full_fine_tuning_was_recommended_it_is_no_baseline(tmp_path, caplog):
    assert full_candidate(CLONES, replace(RECOMMENDED, method="full")) is None
    assert not caplog.records


def test_every_seed_is_trained_as_long_as_a_trial_and_the_row_has_their_mean(tmp_path):
    trains = runner()
    row = result_of(tmp_path, trains)
    assert row is not None
    assert (row.name, row.trial, row.candidate.method) == (FULL, None, "full")
    assert [(one.seed, one.validation) for one in row.seeds] == [(n, pytest.approx(n / 10)) for n in (7, 8, 9)]
    assert row.evaluation.metrics["f1"] == pytest.approx((27 + 28 + 29) / 3 / N_TEST)
    assert trains.started == [(5e-5, 7), (5e-5, 8), (5e-5, 9)]
    assert trains.now - SeededRunner(values=lambda rate, seed: None).now == 3 * RUNGS[-1]
    assert trains.live == {}
    assert "all weights" in row.note
    assert not (tmp_path / FOLDER_NAME).exists()


def test_the_best_trial_is_compared_with_it_over_the_seeds_of_both(tmp_path):
    trains = runner()
    held = contest(tmp_path, trains)
    row = result_of(tmp_path, trains)
    best = Contest.trial(
        replace(held, runner=EvaluatingRunner()), BEST, trial(3, 0.75), seeds(tmp_path, 36, 38, first=7)
    )
    (difference,) = held.differences(best, [row])
    assert (difference.against, difference.n_seeds, difference.n_seeds_against) == (FULL, 2, 3)
    assert difference.low > 0  # 37 of 40 right, against 28


def test_seeds_are_as_many_as_a_small_share_of_the_study_and_the_time_that_is_left_allow():
    run_s = 1.5 * 10 + 1
    for spent_s, left_s, expected in (
        (1000.0, None, 3),
        (2 * run_s / 0.15 + 1, None, 2),
        (1.0, None, 1),  # one seed is there in any case
        (1000.0, 3 * run_s, 3),
        (1000.0, run_s + 1, 1),
        (1000.0, run_s - 1, 0),
        (1000.0, -5.0, 0),
    ):
        room = replace(ROOM, spent_s=spent_s, left_s=left_s)
        assert room.seeds_in_time((7, 8, 9)) == (7, 8, 9)[:expected], (spent_s, left_s)


def test_what_is_left_is_the_time_before_the_final_evaluation_without_search_and_finals(tmp_path):
    outcome = SearchOutcome(
        records=(), best=finished(2, 0.8), recommended=finished(0, 0.7), stopped="trials", duration_s=30.0
    )
    budget = Budget(limit_s=100.0, so_far_s=5.0, evaluation_s=2.0, n_seeds=3)
    found = Room.after(tmp_path, budget, outcome, estimates=None, n_params=5)
    # 100 - 5 before, 7 evaluations of 2, and 3 to start a process.
    assert found.left_s == 100 - 5 - 14 - 3 - 30
    assert (found.spent_s, found.evaluation_s, found.n_params) == (30.0, 2.0, 5)
    assert found.trial_s == finished(0, 0.7).reports[-1].duration_s
    assert Room.after(tmp_path, replace(budget, limit_s=None), outcome, estimates=None, n_params=5).left_s is None


def test_without_room_in_memory_or_time_it_is_left_out_with_a_word(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    trains = runner()
    # 16 bytes for each of 1000 parameters, in half of the host's memory.
    for room, reason in (
        (replace(ROOM, free_bytes=31_999), "memory has no room"),
        (replace(ROOM, free_bytes=None), "memory has no room"),
        (replace(ROOM, estimates=Estimates(0)), "memory has no room"),
        (replace(ROOM, left_s=10.0), "time that is left is too short"),
    ):
        caplog.clear()
        assert result_of(tmp_path, trains, room=room) is None
        assert reason in caplog.text
    assert trains.started == []
    assert replace(ROOM, free_bytes=32_000).has_memory_for(RECOMMENDED)
    assert replace(ROOM, estimates=Estimates(1), free_bytes=None).has_memory_for(RECOMMENDED)


def test_a_training_that_fails_leaves_the_study_as_it_is(tmp_path, caplog):
    trains = runner(values=lambda rate, seed: None)
    assert result_of(tmp_path, trains) is None
    assert "the baseline is left out: full fine-tuning" in caplog.text
    assert trains.live == {}
    # With one seed that could be trained it is compared.
    row = result_of(tmp_path, runner(values=lambda rate, seed: 0.7 if seed == 7 else None))
    assert [one.seed for one in row.seeds] == [7]


def test_after_an_interruption_nothing_further_is_trained(tmp_path):
    trains = runner()
    assert result_of(tmp_path, trains, interrupted=lambda: trains.now > 1_700_000_000 + RUNGS[-1]) is not None
    assert trains.started == [(5e-5, 7), (5e-5, 8)] or trains.started == [(5e-5, 7)]
    assert trains.live == {}


def test_a_seed_that_a_killed_study_had_trained_is_not_trained_again(tmp_path, monkeypatch):
    killed = runner()

    def kill(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Contest, "full_fine_tuning", kill)
    with pytest.raises(KeyboardInterrupt):
        result_of(tmp_path, killed, room=replace(ROOM, spent_s=1.0))
    monkeypatch.undo()
    again = runner()
    row = result_of(tmp_path, again)
    assert again.started == [(5e-5, 8), (5e-5, 9)]
    assert [one.seed for one in row.seeds] == [7, 8, 9]


def test_what_an_earlier_run_of_the_study_evaluated_is_taken_from_there(tmp_path):
    first = result_of(tmp_path, runner())
    again = runner()
    found = result_of(tmp_path, again, known=(first,), room=replace(ROOM, left_s=0.0))
    assert found == first
    assert again.started == []
    (tmp_path / "predictions" / "seeds" / "full-fine-tuning-seed7.jsonl").unlink()
    (tmp_path / "predictions" / "seeds" / "full-fine-tuning-seed8.jsonl").unlink()
    (tmp_path / "predictions" / "seeds" / "full-fine-tuning-seed9.jsonl").unlink()
    result_of(tmp_path, again, known=(first,))
    assert len(again.started) == 3


def test_the_host_says_how_much_memory_is_free():
    found = host_free_bytes()
    assert found is not None
    assert 2**20 < found < 2**50
