"""A finished study as rows of the user's own evidence."""

import shutil
from dataclasses import replace

import pytest

from advisor.errors import DataError
from advisor.evidence.local import local_ratio
from advisor.report.own_evidence import rows_of_study
from advisor.result import Contender
from tests.report import fixtures


def by_contender(folder):
    return {row.contender: row for row in rows_of_study(folder)}


def test_every_contender_becomes_a_row_with_its_value_seeds_and_distance_from_the_best(tmp_path):
    rows = by_contender(fixtures.write_run(tmp_path / "run", fixtures.run_folder(result=fixtures.seeded_result())))
    assert list(rows) == ["untuned base model", "majority class", "recommendation", "best trial"]
    assert {name: (row.method, row.n_seeds) for name, row in rows.items()} == {
        "untuned base model": ("zero-shot", 0), "majority class": ("other-baseline", 0), "recommendation": ("lora", 3),
        "best trial": ("lora", 3),
    }  # fmt: skip
    row = rows["recommendation"]
    assert (row.task, row.task_kind, row.metric, row.metric_width) == ("clone-detection", "non-generative", "f1", 1.0)
    assert (row.value, row.n_test, row.best_minus_this) == (0.812, 400, 0.031)
    assert (row.best_minus_this_low, row.best_minus_this_high) == pytest.approx((0.007, 0.055))
    assert row.hyperparameters["learning_rate"] == fixtures.candidate().hyperparameters["learning_rate"]
    assert rows["best trial"].best_minus_this is None
    assert rows["untuned base model"].base_model == fixtures.BASE_MODEL
    assert rows["majority class"].base_model is None
    assert row.finished_at == "2026-01-02T04:00:00+00:00"
    assert row.run_folder == str((tmp_path / "run").resolve())


def test_the_name_of_a_study_stays_when_it_is_moved_or_continued_and_differs_with_its_seed(tmp_path):
    run = fixtures.run_folder()
    first = rows_of_study(fixtures.write_run(tmp_path / "run", run))
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    assert [row.id for row in rows_of_study(tmp_path / "elsewhere")] == [row.id for row in first]
    longer = replace(run, result=replace(fixtures.result(), finished_at="2026-02-02T04:00:00+00:00"))
    assert rows_of_study(fixtures.write_run(tmp_path / "longer", longer))[0].study == first[0].study
    other = replace(run, result=replace(fixtures.result(), seed=8))
    assert rows_of_study(fixtures.write_run(tmp_path / "other", other))[0].study != first[0].study


def test_a_recommendation_that_is_the_best_trial_is_one_row(tmp_path):
    result = fixtures.result()
    best = next(row for row in result.contenders if row.name == "best trial")
    same = tuple(
        replace(best, name="recommendation") if row.name == "recommendation" else row for row in result.contenders
    )
    run = fixtures.run_folder(result=replace(result, contenders=same, differences=result.differences[1:]))
    assert list(by_contender(fixtures.write_run(tmp_path / "run", run))) == [
        "untuned base model", "majority class", "best trial",
    ]  # fmt: skip


def test_full_fine_tuning_gives_the_ratio_of_the_method(tmp_path):
    result = fixtures.result()
    full = Contender(
        name="full fine-tuning", trial=None, candidate=fixtures.candidate(2e-5, method="full"),
        evaluation=fixtures.evaluation(0.85),
    )  # fmt: skip
    lead = fixtures.difference("full fine-tuning", -0.007, 0.0196)
    run = replace(result, contenders=(*result.contenders, full), differences=(*result.differences, lead))
    rows = rows_of_study(fixtures.write_run(tmp_path / "run", fixtures.run_folder(result=run)))
    assert {row.contender: row.n_seeds for row in rows}["full fine-tuning"] == 1
    found = local_ratio(rows, "clone-detection", "lora")
    assert found is not None
    assert (found.against, found.n_studies) == ("full", 1)
    assert found.log_ratio == pytest.approx(-0.00827, abs=1e-5)  # ln(0.843 / 0.85)
    # Half a width of 0.0196 is a standard error of 0.01; one seed each adds 0.0055 twice.
    assert found.standard_error == pytest.approx((0.01**2 + 2 * 0.0055**2) ** 0.5 / (0.843 * 0.85) ** 0.5, rel=1e-3)


def test_a_study_that_is_not_finished_or_none_at_all_is_refused(tmp_path):
    running = fixtures.write_run(tmp_path / "run", fixtures.run_folder(result=None))
    with pytest.raises(DataError, match="not finished"):
        rows_of_study(running)
    with pytest.raises(DataError, match="not a run folder"):
        rows_of_study(tmp_path)


def test_a_result_without_its_deciding_metric_is_refused(tmp_path):
    plan = replace(fixtures.result().plan, primary_metric="mcc")
    run = fixtures.run_folder(result=replace(fixtures.result(), plan=plan))
    with pytest.raises(DataError, match="no value of 'mcc'"):
        rows_of_study(fixtures.write_run(tmp_path / "run", run))
