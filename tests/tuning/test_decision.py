"""Who wins: means over seeds that all have, the recommendation in doubt; the numbers are computed by hand."""

import pytest

from advisor.trial import TrialFailure
from advisor.tuning.decision import decide, run_finals
from advisor.tuning.events import FinalsDecided, FinalsStarted
from advisor.tuning.final_runs import FinalRun, final_adapter
from tests.tuning.fakes import METRIC, RUNGS, SeededRunner, finished, with_adapter

SEEDS = (7, 8, 9)


def runs(**values: tuple[float | None, ...]) -> dict[tuple[int, int], FinalRun]:
    """Return runs of trials "t4" and so on with the seeds after the first."""
    made = {}
    for name, of_seeds in values.items():
        trial = int(name[1:])
        for seed, value in zip(SEEDS[1:], of_seeds, strict=False):
            failure = TrialFailure(kind="nan-loss", message="x") if value is None else None
            made[trial, seed] = FinalRun(
                trial=trial,
                seed=seed,
                state="failed" if value is None else "complete",
                candidate=finished(trial, 0.5).candidate,
                value=value,
                reports=(),
                started_at="2026-01-01T00:00:00+00:00",
                failure=failure,
            )
    return made


def test_the_highest_mean_wins_though_another_was_ahead_with_the_first_seed():
    # Means: 0.8 of (0.9, 0.8, 0.7), 0.85 of (0.8, 0.9, 0.85).
    finals = decide((finished(4, 0.9), finished(2, 0.8)), runs(t4=(0.8, 0.7), t2=(0.9, 0.85)), SEEDS, None, "all")
    assert finals.winner == 2
    assert [one.trial for one in finals.finalists] == [2, 4]
    assert finals.counted == SEEDS
    assert finals.finalists[1].complete(finals.counted) == (0.9, 0.8, 0.7)


@pytest.mark.parametrize(("recommended", "winner"), [((0.75, 0.75), 0), ((0.75, 0.8), 0), ((0.75, 0.7), 4)])
def test_a_tie_or_the_recommendation_ahead_keeps_the_recommendation(recommended, winner):
    # The challenger has (0.75, 0.5, 1.0), a mean of 0.75.
    finals = decide((finished(4, 0.75), finished(0, 0.75)), runs(t4=(0.5, 1.0), t0=recommended), SEEDS, 0, "all")
    assert finals.winner == winner
    assert finals.recommendation == 0


def test_a_tie_of_two_others_goes_to_the_earlier_trial():
    finals = decide((finished(4, 0.5), finished(2, 0.5)), {}, (7,), None, "all")
    assert finals.winner == 2


def test_only_seeds_that_all_finalists_were_trained_with_count():
    # Seed 9 would have made trial 4 the winner.
    finals = decide((finished(4, 0.8), finished(2, 0.9)), runs(t4=(0.8, 1.0), t2=(0.8,)), SEEDS, None, "time")
    assert finals.counted == (7, 8)
    assert finals.winner == 2
    assert [one.seed for one in finals.finalists[1].values] == [7, 8, 9]


def test_a_configuration_that_failed_with_a_seed_comes_after_those_that_did_not():
    finals = decide((finished(4, 0.9), finished(2, 0.6)), runs(t4=(None, 0.9), t2=(0.6, 0.6)), SEEDS, None, "all")
    assert finals.winner == 2
    assert finals.counted == SEEDS
    assert finals.finalists[1].n_failed(finals.counted) == 1
    assert finals.finalists[1].complete(finals.counted) == (0.9, 0.9)


def test_a_recommendation_that_is_no_finalist_is_not_named():
    assert decide((finished(4, 0.9),), {}, (7,), 0, "all").recommendation is None


def go(folder, runner, finalists, **changes):
    events = []
    arguments = {
        "folder": folder,
        "runner": runner,
        "finalists": finalists,
        "recommendation": 0,
        "seeds": SEEDS,
        "rung_steps": RUNGS,
        "metric": METRIC,
        "clock": runner.clock,
        "left_s": None,
        "on_event": events.append,
        "interrupted": lambda: False,
        **changes,
    }
    return run_finals(**arguments), events


@pytest.fixture
def finalists(tmp_path):
    return tuple(with_adapter(tmp_path, finished(number, value)) for number, value in ((4, 0.9), (2, 0.8), (0, 0.7)))


def test_adapters_of_winner_and_recommendation_stay_and_the_others_go(tmp_path, finalists):
    # By learning rate: trial 4 falls to 0.05, trial 2 stays at 0.8.
    runner = SeededRunner(values=lambda learning_rate, seed: {0.05: 0.05, 0.03: 0.8, 0.01: 0.7}[learning_rate])
    finals, events = go(tmp_path, runner, finalists)
    assert finals.winner == 2
    assert {path.name for path in (tmp_path / "finals").iterdir()} == {"2-seed8", "2-seed9", "0-seed8", "0-seed9"}
    assert events[0] == FinalsStarted(finalists=(4, 2, 0), seeds=SEEDS, n_finished=0, n_runs=6)
    assert events[-1] == FinalsDecided(finals=finals)


def test_a_finished_study_is_decided_again_without_training(tmp_path, finalists):
    runner = SeededRunner(values=lambda learning_rate, seed: learning_rate)
    first, _ = go(tmp_path, runner, finalists)
    again = SeededRunner(values=lambda learning_rate, seed: learning_rate)
    second, events = go(tmp_path, again, finalists)
    assert second == first
    assert again.started == []
    assert not any(isinstance(event, FinalsStarted) for event in events)


def test_a_loser_that_becomes_the_winner_gets_its_adapters_back(tmp_path, finalists):
    # With seeds 7 and 8 trial 4 is ahead of trial 2 (means 0.9, 0.85); with seed 9 trial 2 (0.7, 0.9).
    values = {(0.05, 8): 0.9, (0.05, 9): 0.3, (0.03, 8): 0.9, (0.03, 9): 1.0}
    runner = SeededRunner(values=lambda learning_rate, seed: values.get((learning_rate, seed), 0.1))
    first, _ = go(tmp_path, runner, finalists, seeds=(7, 8))
    assert first.winner == 4
    assert not final_adapter(tmp_path, (2, 8)).exists()
    second, _ = go(tmp_path, runner, finalists)
    assert second.winner == 2
    assert final_adapter(tmp_path, (2, 8)).is_dir()
    assert runner.started.count((0.03, 8)) == 2


def test_time_that_earlier_runs_of_the_study_took_counts(tmp_path, finalists):
    runner = SeededRunner(values=lambda learning_rate, seed: learning_rate)
    first, _ = go(tmp_path, runner, finalists, left_s=60.0)
    assert (first.stopped, first.counted) == ("time", (7, 8))
    n_before = len(runner.started)
    assert go(tmp_path, runner, finalists, left_s=60.0)[0].stopped == "time"
    assert len(runner.started) == n_before
    second, _ = go(tmp_path, runner, finalists, left_s=120.0)
    assert (second.stopped, second.counted) == ("all", SEEDS)


def test_an_interrupted_search_has_no_finals_but_a_decision(tmp_path, finalists):
    runner = SeededRunner(values=lambda learning_rate, seed: learning_rate)
    finals, events = go(tmp_path, runner, finalists, interrupted=lambda: True)
    assert (finals.stopped, finals.counted, finals.winner) == ("interrupted", (7,), 4)
    assert runner.started == []
    assert events == []
