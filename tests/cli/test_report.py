"""`peft-advisor report DIR`."""

import json

from tests.cli.test_cli import run
from tests.report import fixtures
from tests.search.test_importance import searched


def test_it_rebuilds_both_reports_and_prints_their_paths(tmp_path, capsys):
    code, out, err = run(capsys, "report", str(fixtures.write_run(tmp_path)))
    assert (code, err) == (0, "")
    assert out.splitlines() == [str(tmp_path / "report.html"), str(tmp_path / "report.md")]
    assert (tmp_path / "report.html").exists()


def test_a_study_that_still_runs_can_be_reported(tmp_path, capsys):
    code, _, _ = run(capsys, "report", str(fixtures.write_run(tmp_path, fixtures.run_folder(result=None))))
    assert code == 0
    assert "not finished" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_folder_that_tune_did_not_write_ends_in_one_line(tmp_path, capsys):
    code, out, err = run(capsys, "report", str(tmp_path))
    assert (code, out) == (2, "")
    reason = "not a run folder (no recommendation.json in it); give the folder that `tune` wrote"
    assert err == f"error: {tmp_path}: {reason}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_ends_in_one_line(tmp_path, capsys):
    code, _, err = run(capsys, "report", str(tmp_path / "nothing"))
    assert code == 2
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_written_ends_in_one_line(tmp_path, capsys):
    (fixtures.write_run(tmp_path) / "report.html.part").mkdir()
    code, _, err = run(capsys, "report", str(tmp_path))
    assert code == 2
    assert "cannot be written" in err
    assert err.count("\n") == 1


def test_importance_is_made_from_the_study_when_it_is_not_there_yet(tmp_path, capsys):
    searched(tmp_path, 3)
    fixtures.write_lines(tmp_path / "recommendation.json", [fixtures.recommendation()])
    assert run(capsys, "report", str(tmp_path))[0] == 0
    assert json.loads((tmp_path / "importance.json").read_text(encoding="utf-8"))["n_finished"] == 3
    assert "3 trials can be compared" in (tmp_path / "report.md").read_text(encoding="utf-8")
