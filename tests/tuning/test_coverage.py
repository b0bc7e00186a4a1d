"""When is a study finished? What was asked then and now decides."""

from dataclasses import replace

import pytest

from advisor.result import Finalist, Finals, SeedValue, TuningResult
from advisor.tuning.coverage import covers
from advisor.tuning.request import TuningRequest
from tests.report import fixtures

TRIALS = fixtures.trials()


def earlier(stopped="trials", finals_stopped="all", *, limit_s=None, target=None, **changes) -> TuningResult:
    finals = Finals(
        seeds=(7, 8, 9),
        counted=(7,),
        finalists=(Finalist(trial=9, values=(SeedValue(seed=7, value=0.5),)),),
        recommendation=None,
        stopped=finals_stopped,
    )
    done = fixtures.result()
    plan = replace(done.plan, time_limit_s=limit_s, target=target, final_seeds=3)
    return replace(done, plan=plan, stopped=stopped, **{"finals": finals, "n_trials_finished": len(TRIALS), **changes})


def asked(tmp_path, **changes) -> TuningRequest:
    paths = {split: tmp_path / f"{split}.jsonl" for split in ("train", "valid", "test")}
    return TuningRequest(task="clone-detection", **paths, **{"n_trials": 14, **changes})


@pytest.mark.parametrize(
    ("before", "now", "done"),
    [
        (earlier(), {}, True),
        (earlier(), {"n_trials": 10}, True),
        (earlier(), {"n_trials": 20}, False),
        (earlier("interrupted"), {}, False),
        (earlier(finals_stopped="interrupted"), {}, False),
        (earlier(), {"final_seeds": 1}, True),
        (earlier(), {"final_seeds": 5}, False),
        # The time was over: the same time or less gives nothing more.
        (earlier("time", limit_s=600.0), {"n_trials": 20, "time_limit_s": 600.0}, True),
        (earlier("time", limit_s=600.0), {"n_trials": 20, "time_limit_s": 601.0}, False),
        (earlier("time", limit_s=600.0), {"n_trials": 20, "gpu_hours": 0.1}, True),
        (earlier("time", limit_s=600.0), {"n_trials": 20}, False),
        (earlier(finals_stopped="time", limit_s=600.0), {"time_limit_s": 600.0}, True),
        (earlier(finals_stopped="time", limit_s=600.0), {"time_limit_s": 900.0}, False),
        (earlier(finals_stopped="time", limit_s=600.0), {}, False),
        # The target was reached: a higher one, or none, goes on.
        (earlier("target", target=0.8), {"n_trials": 20, "target": 0.8}, True),
        (earlier("target", target=0.8), {"n_trials": 20, "target": 0.9}, False),
        (earlier("target", target=0.8), {"n_trials": 20}, False),
        # A killed run left more trials than the result is of.
        (earlier(n_trials_finished=13), {}, False),
    ],
)
def test_a_result_covers_what_cannot_get_better(tmp_path, before, now, done):
    assert covers(before, TRIALS, asked(tmp_path, **now)) is done


def test_a_result_of_version_1_covers_a_study_of_one_seed_with_the_same_best_trial(tmp_path):
    old = replace(earlier(), schema_version=1, finals=None, n_trials_finished=None)
    old = replace(old, plan=replace(old.plan, final_seeds=1))
    assert covers(old, TRIALS, asked(tmp_path, final_seeds=1))
    assert not covers(old, TRIALS, asked(tmp_path))
    assert not covers(replace(old, best_trial=0), TRIALS, asked(tmp_path, final_seeds=1))
