"""Both reports of a folder, written whole or not at all."""

import re
import subprocess
import sys

import pytest
from markdown_it import MarkdownIt

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


def test_the_drawings_stand_in_a_folder_beside_report_md_which_shows_each_of_them(tmp_path):
    _, markdown = write_report(fixtures.write_run(tmp_path))
    shown = re.findall(r"^!\[(.+)\]\(<(.+)>\)$", markdown.read_text(encoding="utf-8"), re.MULTILINE)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "report_files").iterdir())
    assert sorted(path for _, path in shown) == files
    assert files == [f"report_files/{name}.svg" for name in ("curves", "differences", "history", "memory")]
    assert all(len(alt) > 40 for alt, _ in shown)


def test_a_drawing_that_is_shown_no_more_is_removed_and_other_files_stay(tmp_path):
    write_report(fixtures.write_run(tmp_path))
    files = tmp_path / "report_files"
    for name in ("old.svg", "history.svg.part", "notes.txt"):
        (files / name).write_text("x")
    (tmp_path / "result.json").unlink()
    write_report(tmp_path)
    assert sorted(path.name for path in files.iterdir()) == ["curves.svg", "history.svg", "memory.svg", "notes.txt"]


def test_a_file_where_the_drawings_should_be_is_said_in_one_line(tmp_path):
    fixtures.write_run(tmp_path)
    (tmp_path / "report_files").write_text("mine")
    with pytest.raises(DataError, match="report_files: cannot be written"):
        write_report(tmp_path)
    assert not (tmp_path / "report.md").exists()


def test_the_text_of_a_drawing_can_end_no_image_in_report_md(tmp_path):
    run = fixtures.run_folder(result=fixtures.result([fixtures.difference("](x.png) <b> $a$", 0.1, 0.05)]))
    _, markdown = write_report(fixtures.write_run(tmp_path, run))
    tokens = MarkdownIt().parse(markdown.read_text(encoding="utf-8"))
    images = [child for token in tokens for child in token.children or () if child.type == "image"]
    assert {image.attrs["src"] for image in images} == {
        f"report_files/{name}.svg" for name in ("curves", "differences", "history", "memory")
    }
    assert any("](x.png) <b> $a$" in image.content.replace("\\", "") for image in images)


def test_importing_the_reports_loads_no_model_library():
    heavy = ("torch", "optuna", "transformers", "peft", "pandas", "sklearn")
    code = f"import sys, advisor.report; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
