"""Finalists with other seeds: round by round, each run once, in time, and nothing lost by a kill."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.trial import TrialRecord
from advisor.tuning.events import FinalRunFinished, FinalRungReached, FinalRunStarted, FinalsStarted
from advisor.tuning.final_runs import checkpoint_at, final_adapter, final_checkpoint
from advisor.tuning.finals import FinalTraining, final_seeds
from tests.tuning.fakes import METRIC, RUNGS, SEED, SeededRunner, finished

FINALISTS = (finished(4, 0.9), finished(2, 0.8), finished(0, 0.7))
SEEDS = (7, 8, 9)


def training(folder: Path, runner: SeededRunner, finalists: tuple[TrialRecord, ...] = FINALISTS, **changes):
    arguments = {
        "folder": folder,
        "runner": runner,
        "finalists": finalists,
        "seeds": SEEDS,
        "rung_steps": RUNGS,
        "metric": METRIC,
        "clock": runner.clock,
        "deadline_s": None,
        "on_event": lambda event: None,
        "interrupted": lambda: False,
        **changes,
    }
    return FinalTraining(**arguments)


def steady(learning_rate: float, seed: int) -> float:
    return learning_rate + seed / 1000


@pytest.fixture
def runner():
    return SeededRunner(values=steady)


def test_the_first_seed_is_the_study_s_and_the_others_follow_it():
    assert final_seeds(5, 3) == (5, 6, 7)
    assert final_seeds(5, 1) == (5,)
    assert final_seeds(2**32 - 1, 2) == (2**32 - 1, 0)


def test_all_finalists_are_trained_with_one_seed_before_the_next(tmp_path, runner):
    assert training(tmp_path, runner).train() == "all"
    assert runner.started == [(0.05, 8), (0.03, 8), (0.01, 8), (0.05, 9), (0.03, 9), (0.01, 9)]
    assert runner.live == {}


def test_finalists_of_one_base_model_are_trained_one_after_the_other(tmp_path, runner):
    first, second, third = FINALISTS
    other = replace(second, candidate=replace(second.candidate, quantization="4bit"))
    training(tmp_path, runner, (first, other, third)).train()
    assert runner.started == [(0.05, 8), (0.01, 8), (0.03, 8), (0.05, 9), (0.01, 9), (0.03, 9)]


def test_a_run_is_a_whole_training_with_its_seed_and_leaves_line_and_adapter(tmp_path, runner):
    held = training(tmp_path, runner)
    held.train()
    run = held.runs[2, 9]
    assert run.value == pytest.approx(steady(0.03, 9))
    assert [one.step for one in run.reports] == list(RUNGS)
    assert run.candidate == FINALISTS[1].candidate
    lines = [json.loads(line) for line in (tmp_path / "finals.jsonl").read_text().splitlines()]
    assert [(line["trial"], line["seed"]) for line in lines] == [(4, 8), (2, 8), (0, 8), (4, 9), (2, 9), (0, 9)]
    assert all(line["schema_version"] == 1 for line in lines)
    assert (final_adapter(tmp_path, (2, 9)) / "adapter_config.json").read_text() == "0.03 9"
    assert [path.name for path in (tmp_path / "finals" / "2-seed9").iterdir()] == ["adapter"]


def test_one_seed_trains_nothing_again(tmp_path, runner):
    assert training(tmp_path, runner, seeds=(SEED,)).train() == "all"
    assert runner.started == []
    assert not (tmp_path / "finals.jsonl").exists()


@pytest.mark.parametrize(("slots", "n_seconds"), [(1, 120.0), (2, 60.0), (3, 40.0), (6, 20.0)])
def test_all_slots_are_used(tmp_path, slots, n_seconds):
    runner = SeededRunner(values=steady, slots=slots)
    began = runner.now
    training(tmp_path, runner).train()
    assert runner.now - began == n_seconds
    assert len(runner.started) == 6


def test_a_finished_run_is_not_repeated(tmp_path, runner):
    training(tmp_path, runner).train()
    before = (tmp_path / "finals.jsonl").read_bytes()
    again = SeededRunner(values=steady)
    assert training(tmp_path, again).train() == "all"
    assert again.started == []
    assert (tmp_path / "finals.jsonl").read_bytes() == before


def test_a_killed_run_goes_on_at_its_last_rung_and_the_finished_ones_stay(tmp_path, runner):
    calls = iter(range(100))

    def kill() -> bool:
        if next(calls) == 4:  # one run and a rung of the next
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path, runner, interrupted=kill).train()
    assert final_checkpoint(tmp_path, (2, 8)) == checkpoint_at(tmp_path, (2, 8), 5)
    with (tmp_path / "finals.jsonl").open("ab") as file:
        file.write(b'{"schema_version": 1, "trial": 2, "se')
    again = SeededRunner(values=steady)
    held = training(tmp_path, again)
    held.train()
    assert again.started[0] == (0.03, 8)
    assert again.resumed_at == [1]
    assert len(again.started) == 5
    assert len(held.runs) == 6
    assert len((tmp_path / "finals.jsonl").read_text().splitlines()) == 6


def test_a_broken_checkpoint_costs_its_steps_and_nothing_else(tmp_path, runner):
    broken = checkpoint_at(tmp_path, (4, 8), 5)
    broken.mkdir(parents=True)
    (broken / "rung").write_text("?")
    held = training(tmp_path, runner)
    assert held.train() == "all"
    assert [one.step for one in held.runs[4, 8].reports] == list(RUNGS)


def test_a_failure_is_recorded_and_the_others_go_on(tmp_path):
    runner = SeededRunner(values=lambda learning_rate, seed: None if (learning_rate, seed) == (0.03, 8) else 0.5)
    held = training(tmp_path, runner)
    assert held.train() == "all"
    failed = held.runs[2, 8]
    assert failed.state == "failed"
    assert failed.failure is not None
    assert failed.failure.kind == "nan-loss"
    assert sum(run.state == "complete" for run in held.runs.values()) == 5
    again = SeededRunner(values=steady)
    training(tmp_path, again).train()
    assert again.started == []


def test_a_metric_that_is_not_a_number_is_a_failure(tmp_path):
    held = training(tmp_path, SeededRunner(values=lambda learning_rate, seed: float("nan")), FINALISTS[:1])
    held.train()
    assert {run.state for run in held.runs.values()} == {"failed"}


def test_no_round_is_begun_that_cannot_be_finished_in_time(tmp_path, runner):
    # A round of three takes 60 s: there is time for one and a half.
    assert training(tmp_path, runner, deadline_s=runner.now + 90).train() == "time"
    assert runner.started == [(0.05, 8), (0.03, 8), (0.01, 8)]
    later = SeededRunner(values=steady)
    assert training(tmp_path, later, deadline_s=later.now + 60).train() == "all"
    assert len(later.started) == 3


def test_finals_for_which_there_is_no_time_are_not_announced(tmp_path, runner):
    events = []
    assert training(tmp_path, runner, deadline_s=runner.now + 59, on_event=events.append).train() == "time"
    assert events == []


def test_a_run_that_takes_longer_than_its_trial_ends_at_a_rung_when_the_time_is_up(tmp_path):
    runner = SeededRunner(values=steady, second_per_step=10.0)
    assert training(tmp_path, runner, deadline_s=runner.now + 70).train() == "time"
    assert runner.started == [(0.05, 8)]
    assert runner.live == {}
    assert final_checkpoint(tmp_path, (4, 8)) == checkpoint_at(tmp_path, (4, 8), 10)
    assert not checkpoint_at(tmp_path, (4, 8), 5).exists()


def test_an_interruption_ends_the_finals_at_a_rung(tmp_path, runner):
    calls = iter(range(100))
    held = training(tmp_path, runner, interrupted=lambda: next(calls) >= 4)
    assert held.train() == "interrupted"
    assert set(held.runs) == {(4, 8)}
    assert runner.live == {}


def test_runs_of_trials_that_are_no_finalists_any_more_leave_the_disk_but_not_the_record(tmp_path, runner):
    training(tmp_path, runner).train()
    held = training(tmp_path, runner, FINALISTS[:1])
    held.train()
    assert {path.name for path in (tmp_path / "finals").iterdir()} == {"4-seed8", "4-seed9"}
    assert len(held.runs) == 6


def test_adapters_that_are_gone_are_made_again_where_they_are_needed(tmp_path, runner):
    held = training(tmp_path, runner)
    held.train()
    for key in ((2, 8), (4, 9)):
        (final_adapter(tmp_path, key) / "adapter_config.json").unlink()
        final_adapter(tmp_path, key).rmdir()
    n_before = len(runner.started)
    assert held.restore(FINALISTS[:1], SEEDS) == "all"
    assert runner.started[n_before:] == [(0.05, 9)]
    assert final_adapter(tmp_path, (4, 9)).is_dir()
    assert len(training(tmp_path, runner).runs) == 6


def test_a_full_disk_is_one_line(tmp_path, runner):
    def refuse(number: int, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    runner.save = refuse
    with pytest.raises(AdvisorError, match="No space left on device"):
        training(tmp_path, runner).train()
    assert runner.live == {}


def test_what_happens_is_told(tmp_path, runner):
    events = []
    training(tmp_path, runner, FINALISTS[:1], on_event=events.append).train()
    assert events.pop(0) == FinalsStarted(finalists=(4,), seeds=SEEDS, n_finished=0, n_runs=2)
    kinds = [type(event) for event in events]
    assert kinds == [FinalRunStarted, FinalRungReached, FinalRungReached, FinalRunFinished] * 2
    assert (events[0].trial, events[0].spec.seed) == (4, 8)
    assert [(event.n_finished, event.n_runs) for event in events if isinstance(event, FinalRunFinished)] == [
        (1, 2),
        (2, 2),
    ]
