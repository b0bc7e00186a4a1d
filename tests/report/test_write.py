"""Both reports of a folder, written whole or not at all."""

import subprocess
import sys

import pytest

from advisor.errors import DataError
from advisor.report import write_report
from tests.report import fixtures


def test_both_reports_stand_beside_the_records(tmp_path):
    html, markdown = write_report(fixtures.write_run(tmp_path))
    assert (html, markdown) == (tmp_path / "report.html", tmp_path / "report.md")
    assert html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert markdown.read_text(encoding="utf-8").startswith("# Better than")
    assert not list(tmp_path.glob("*.part"))


def test_a_broken_record_leaves_the_old_reports(tmp_path):
    write_report(fixtures.write_run(tmp_path))
    before = (tmp_path / "report.md").read_bytes()
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(DataError, match=r"result\.json"):
        write_report(tmp_path)
    assert (tmp_path / "report.md").read_bytes() == before


def test_a_folder_with_hostile_texts_can_be_written(tmp_path):
    html, markdown = write_report(fixtures.write_run(tmp_path, fixtures.hostile_run()))
    assert html.stat().st_size > markdown.stat().st_size > 1000


def test_importing_the_reports_loads_no_model_library():
    heavy = ("torch", "optuna", "transformers", "peft", "pandas", "sklearn")
    code = f"import sys, advisor.report; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
