"""The coverage counts what `evidence.jsonl` holds, and its pages fit the terminal."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from advisor.catalog.files import read_lines
from advisor.catalog.not_offered import NOT_OFFERED
from advisor.catalog.tasks import TASKS
from advisor.catalog.taxonomy import read_taxonomy
from advisor.evidence import coverage
from advisor.evidence.coverage import NOT_STATED, count_cells, count_leaves
from advisor.evidence.coverage_text import render_coverage, render_taxonomy

PLAIN = [json.loads(line) for line in read_lines("evidence.jsonl")]


def test_the_leaves_count_the_rows_of_the_file():
    leaves = {(one.part, one.name): one for one in count_leaves()}
    by_task = Counter(row["task"] for row in PLAIN)
    assert all(leaves["task", task].rows == by_task[task] for task in TASKS)
    papers = {row["paper"] for row in PLAIN if row["task"] == "clone-detection"}
    assert leaves["task", "clone-detection"].papers == len(papers)
    by_architecture = Counter(row.get("architecture") for row in PLAIN)
    assert leaves["architecture", "decoder-only"].rows == by_architecture["decoder-only"]
    assert leaves["architecture", NOT_STATED].rows == by_architecture[None]
    assert sum(one.rows for one in leaves.values() if one.part == "architecture") == len(PLAIN)


def methods_of(row):
    """Return what a row names as methods, without those it is only compared with."""
    said = [outcome["method"] for outcome in row.get("outcomes") or ()]
    return {row.get("method"), *(row.get("methods") or ()), *said}


def test_a_row_counts_for_the_methods_it_lists_as_well():
    about = [row for row in PLAIN if "ia3" in methods_of(row)]
    assert next(one for one in count_leaves() if one.name == "ia3").rows == len(about)


def test_only_cells_with_rows_are_kept_and_they_add_up_to_the_methods():
    coverage = count_cells()
    assert all(cell.rows >= len(cell.papers) >= 1 for cell in coverage.cells)
    by_method = Counter({one.name: one.rows for one in count_leaves() if one.part in ("method", "other")})
    counted: Counter[str] = Counter()
    for cell in coverage.cells:
        counted[cell.method] += cell.rows
    assert counted == +by_method


def test_the_matrix_of_one_task_is_that_part_of_the_whole():
    one = count_cells("clone-detection")
    assert one.cells == tuple(cell for cell in count_cells().cells if cell.task == "clone-detection")
    assert one.cells


@pytest.mark.parametrize("task", [None, "clone-detection", "unit-test-update", "general"])
def test_the_matrix_fits_100_columns_and_shows_empty_cells(task):
    text = render_coverage(count_cells(task))
    assert max(map(len, text.splitlines())) <= 100
    assert "·" in text
    for name in TASKS if task is None else (task,):
        assert name in text.splitlines()


def test_every_row_of_a_task_is_in_its_line_of_the_matrix_of_all():
    lines = render_coverage(count_cells()).splitlines()
    at = lines.index("type-inference")
    assert lines[at + 1].split()[0] == "encoder-only"
    assert lines[at + 1].split()[-1] == "21/1"  # full fine-tuning is the last column
    assert set(lines[at + 2].split()[1:]) == {"·"}


def test_the_tree_names_every_leaf_and_marks_what_was_inferred():
    text = render_taxonomy(count_leaves())
    assert max(map(len, text.splitlines())) <= 100
    taxonomy = read_taxonomy()
    for name in [*(one.name for one in taxonomy.tasks), *(one.slug for one in (*taxonomy.methods, *taxonomy.others))]:
        assert f"    {name} " in text
    line = {row.split()[0]: row for row in text.splitlines() if row.startswith("    ")}
    assert "~" in line["dora"]
    assert "[offered]" in line["dora"]
    assert "~" not in line["prefix-tuning"]
    assert "[offered]" in line["adalora"]
    assert "[offered]" not in line["xlora"]
    assert "PEFT" not in line["mam"]
    assert '"Automated Program Repair"' in line["program-repair"]


def test_the_tree_gives_the_reason_under_every_method_that_is_not_offered():
    methods = [leaf for leaf in count_leaves() if leaf.part == "method"]
    assert {leaf.name for leaf in methods if not leaf.offered} == {leaf.name for leaf in methods if leaf.not_offered}
    lines = render_taxonomy(count_leaves()).splitlines()
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == ["xlora"])
    assert lines[at + 1].strip() == "not offered: it mixes LoRA adapters that were trained before"
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == ["dora"])
    assert "not offered" not in lines[at + 1]


def test_a_reason_is_found_by_another_name_of_the_method(monkeypatch):
    place = next(one for one in read_taxonomy().methods if one.slug == "advfusion")
    renamed = replace(place, slug="adversarial-fusion", evidence=("advfusion",))
    monkeypatch.setattr(coverage, "read_taxonomy", lambda: replace(read_taxonomy(), methods=(renamed,)))
    (leaf,) = [leaf for leaf in count_leaves() if leaf.part == "method"]
    assert leaf.not_offered == NOT_OFFERED["advfusion"]
