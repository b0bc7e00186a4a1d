"""Reading the records of a run folder."""

import json

import pytest

from advisor import records
from advisor.errors import DataError
from advisor.importance import Importance
from advisor.report.run_folder import predictions_name, read_run_folder, seed_name
from tests.report import fixtures


def test_every_record_is_read(tmp_path):
    run = read_run_folder(fixtures.write_run(tmp_path))
    assert run.trials == fixtures.trials()
    assert run.recommendation == fixtures.recommendation()
    assert run.result == fixtures.result()
    assert run.predictions_of("best trial") == fixtures.predictions(5)


@pytest.mark.parametrize(
    ("which", "said"), [(0, "'best trial' has no value"), (2, "'best trial' with seed 8 has no value")]
)
def test_a_result_without_its_primary_metric_is_one_line(tmp_path, which, said):
    path = fixtures.write_run(tmp_path, fixtures.run_folder(result=fixtures.seeded_result())) / "result.json"
    plain = json.loads(path.read_text())
    best = next(row for row in plain["contenders"] if row["name"] == "best trial")
    del [best, *best["seeds"]][which]["evaluation"]["metrics"]["f1"]
    path.write_text(json.dumps(plain))
    with pytest.raises(
        DataError, match=rf"result\.json: {said} of 'f1', the study's primary metric; .*run `tune` again"
    ) as caught:
        read_run_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_was_found_in_the_data_is_read_where_it_is_kept(tmp_path):
    found = fixtures.data_report()
    assert read_run_folder(
        fixtures.write_run(tmp_path / "new", fixtures.run_folder(data_report=found))
    ).data_report == (found)
    assert read_run_folder(fixtures.write_run(tmp_path / "old")).data_report is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"schema_version": 1', '"schema_version": 9', "schema_version 9 is not 1"),
        ('"share_over": 0.03', '"share_over": 3.0', r"share_over 3.0 is not between 0 and 1"),
        ('"severity": "error"', '"severity": "fatal"', "severity: 'fatal' is not one of error, warning, note"),
        ('"n_repeated": 6', '"n_repeated": "6"', r"splits.train.n_repeated: expected int"),
    ],
)
def test_a_broken_report_on_the_data_is_named(tmp_path, old, new, said):
    path = fixtures.write_run(tmp_path, fixtures.run_folder(data_report=fixtures.data_report())) / "data_report.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"data_report\.json: .*{said}"):
        read_run_folder(tmp_path)


def test_predictions_of_single_seeds_are_read_by_trial_and_seed(tmp_path):
    folder = fixtures.write_run(tmp_path)
    (folder / "predictions" / "seeds").mkdir()
    fixtures.write_lines(folder / "predictions" / "seeds" / "9-seed7.jsonl", fixtures.predictions(3))
    run = read_run_folder(folder)
    assert run.seed_predictions == {seed_name(9, 7): fixtures.predictions(3)}
    assert "9-seed7" not in run.predictions


def test_a_last_line_that_was_cut_is_left_out(tmp_path):
    path = fixtures.write_run(tmp_path) / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-40] + "é".encode()[:1])
    assert read_run_folder(tmp_path).trials == fixtures.trials()[:-1]


def test_a_whole_last_line_without_line_end_is_kept(tmp_path):
    path = fixtures.write_run(tmp_path) / "trials.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read_run_folder(tmp_path).trials == fixtures.trials()


def test_line_separators_inside_text_do_not_end_a_line(tmp_path):
    example = fixtures.predictions(5)[0]
    path = fixtures.write_run(tmp_path) / "predictions" / "best-trial.jsonl"
    path.write_text(
        '{"example_id": "a\u2028b", "source": "x\u0085y", "expected": "1", "predicted": "1"}\n', encoding="utf-8"
    )
    (read,) = read_run_folder(tmp_path).predictions_of("best trial")
    assert (read.example_id, read.source) == ("a\u2028b", "x\u0085y")
    assert read != example


def test_a_broken_line_is_named(tmp_path):
    path = fixtures.write_run(tmp_path) / "trials.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], "{oops", *lines[2:]]))
    with pytest.raises(DataError, match=r"trials\.jsonl:2: not valid JSON"):
        read_run_folder(tmp_path)


def test_a_field_of_the_wrong_type_is_named(tmp_path):
    path = fixtures.write_run(tmp_path) / "trials.jsonl"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": "7"', 1))
    with pytest.raises(DataError, match=r"trials\.jsonl:1: seed: expected int"):
        read_run_folder(tmp_path)


@pytest.mark.parametrize("missing", ["recommendation.json", "trials.jsonl"])
def test_a_folder_that_tune_did_not_write_is_refused(tmp_path, missing):
    (fixtures.write_run(tmp_path) / missing).unlink()
    with pytest.raises(DataError, match=missing):
        read_run_folder(tmp_path)


def test_a_study_without_result_is_not_finished(tmp_path):
    (fixtures.write_run(tmp_path) / "result.json").unlink()
    assert read_run_folder(tmp_path).result is None


def test_without_saved_predictions_the_few_in_the_result_are_used():
    few = fixtures.predictions(2)[:3]
    run = fixtures.run_folder(result=fixtures.result(examples=few))
    assert run.predictions_of("best trial") == few
    assert run.predictions_of("untuned base model") == ()


def test_a_contender_s_predictions_have_a_file_name_without_blanks():
    assert predictions_name("untuned base model") == "untuned-base-model"


def test_what_finalists_reported_is_read_and_lines_that_are_none_are_left_out(tmp_path):
    folder = fixtures.write_run(tmp_path)
    reports = [records.to_plain(one) for one in fixtures.trials()[0].reports]
    lines = [json.dumps({"trial": 0, "seed": 8, "reports": reports}), json.dumps({"trial": 9}), '{"trial": 9, "rep']
    (folder / "finals.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read_run_folder(folder).final_reports == (fixtures.trials()[0].reports,)


def test_importance_is_read_and_one_of_another_version_is_as_good_as_none(tmp_path):
    folder = fixtures.write_run(tmp_path)
    assert read_run_folder(folder).importance is None
    kept = Importance(
        n_finished=14, n_counted=3, n_pruned=0, n_best=1, n_needed=20, n_shuffles=99, parameters=()
    )  # fmt: skip
    records.write(kept, folder / "importance.json")
    assert read_run_folder(folder).importance == kept
    (folder / "importance.json").write_text('{"schema_version": 9}', encoding="utf-8")
    assert read_run_folder(folder).importance is None
