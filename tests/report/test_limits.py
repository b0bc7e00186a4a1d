"""Warnings on data and what the run does not show, from the records."""

from dataclasses import replace

from advisor.report.limits import data_warnings, limits
from tests.report import fixtures
from tests.report.fixtures import facts


def said(run):
    return "\n".join(limits(run))


def test_one_seed_is_named_as_a_limit_and_two_are_not():
    assert "one seed" in said(fixtures.run_folder())
    of = fixtures.candidate()
    both = (fixtures.trial(0, (0.5,), of=of), replace(fixtures.trial(1, (0.6,), of=of), seed=8))
    assert "one seed" not in said(fixtures.run_folder(trials=both))


def test_a_small_test_split_is_named_with_the_gap_that_cannot_be_seen():
    assert "400 examples. The interval against the recommendation (+0.007 to +0.055) is about ± 0.024 F1" in said(
        fixtures.run_folder()
    )


def test_pruned_and_failed_trials_are_counted():
    text = said(fixtures.run_folder())
    assert "2 trials of 14 stopped early" in text
    assert "2 trials failed (1 nan-loss and 1 out-of-memory)" in text


def test_a_validation_score_above_the_test_score_is_pointed_out():
    assert "0.870 on the validation split, which flatters it; only the 0.843" in said(fixtures.run_folder())


def test_a_search_that_ran_out_of_time_says_how_far_it_came():
    result = replace(fixtures.result(), stopped="time", plan=replace(fixtures.result().plan, n_trials=50))
    assert "ended after 14 of 50 planned trials because the time was up" in said(fixtures.run_folder(result=result))


def test_a_cpu_run_says_nothing_about_a_gpu():
    assert "Trained on a CPU" in said(fixtures.run_folder(result=replace(fixtures.result(), device="cpu")))
    assert "Trained on a CPU" not in said(fixtures.run_folder())


def test_an_unfinished_study_says_so_first():
    assert limits(fixtures.run_folder(result=None))[0].startswith("The study is not finished")


def test_clean_data_gives_no_warning():
    assert data_warnings(fixtures.result().data) == ()


def test_one_file_for_two_splits_is_a_warning():
    train = facts("train", 100, {"a": 50, "b": 50})
    assert "same file" in data_warnings({"train": train, "test": train})[0]


def test_one_label_a_rare_label_and_truncation_are_warnings():
    warnings = data_warnings(
        {
            "train": facts("train", 1000, {"bug": 40, "clean": 960}),
            "test": replace(facts("test", 100, {"clean": 100}), truncated=30),
        }
    )
    assert any("label bug is rare: 40 of 1,000" in w for w in warnings)
    assert any("Every example of the test split has the label clean" in w for w in warnings)
    assert any(w.startswith("30\u00a0% of the test split") for w in warnings)
