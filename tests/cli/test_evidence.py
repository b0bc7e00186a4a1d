"""`peft-advisor evidence` as a command."""

import json

import pytest

from advisor.catalog.tasks import TASKS
from advisor.evidence.capability_text import groups
from advisor.recommendation import recommend
from advisor.spec import Budget, CodeTask
from tests.cli.test_cli import run
from tests.report import fixtures


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    """Keep own results of whoever runs the tests out of them."""
    monkeypatch.setenv("PEFT_ADVISOR_DATA", str(tmp_path / "data"))


def test_tasks_are_listed_with_their_number_of_rows(capsys):
    code, out, _ = run(capsys, "evidence", "--tasks")
    assert code == 0
    assert all(task in out for task in TASKS)
    _, plain, _ = run(capsys, "evidence", "--tasks", "--json")
    assert sum(json.loads(plain).values()) == 1261


def test_every_id_that_a_recommendation_cites_can_be_opened(capsys):
    found = recommend(CodeTask(task="program-repair", budget=Budget(vram_gib=24)))
    ids = {id_ for line in found.candidates for reason in line.reasons for id_ in reason.evidence}
    code, out, _ = run(capsys, "evidence", *sorted(ids))
    assert code == 0
    assert all(id_ in out for id_ in ids)


def test_rows_as_json_carry_their_source_and_excerpt(capsys):
    code, out, _ = run(capsys, "evidence", "--task", "clone-detection", "--method", "lora", "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows
    assert all(row["source"]["url"].startswith("http") and row["source"]["excerpt"] for row in rows)


def test_no_evidence_is_said_plainly_and_is_no_mistake(capsys):
    code, out, err = run(capsys, "evidence", "--task", "clone-detection", "--method", "dora")
    assert (code, err) == (0, "")
    assert out == "no evidence: nothing published on clone-detection, dora has been collected\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [([], "--tasks lists the tasks"), (["hu2021lora-999"], "unknown evidence id"),
     (["hu2021lora-001", "--task", "clone-detection"], "not both"), (["--task", "cloning"], "unknown task"),
     (["--method", "lorra"], "nearest: lora"), (["--model", "codebort-base"], "nearest: codebert-base")],
)  # fmt: skip
def test_a_mistake_is_one_line(capsys, args, said):
    code, out, err = run(capsys, "evidence", *args)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


def test_a_task_may_be_named_in_words_and_what_was_understood_is_said(capsys):
    code, out, err = run(capsys, "evidence", "--task", "Code Clone Detection", "--method", "ia3", "--json")
    assert code == 0
    assert {row["task"] for row in json.loads(out)} == {"clone-detection"}
    assert err == "task taken: clone-detection (another name of it)\n"
    code, _, err = run(capsys, "evidence", "--task", "general", "--method", "dora")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("view", [("--taxonomy",), ("--coverage",), ("--coverage", "--task", "clone-detection")])
def test_taxonomy_and_coverage_are_shown_for_people_and_machines(capsys, view):
    code, out, err = run(capsys, "evidence", *view)
    assert (code, err) == (0, "")
    assert "clone-detection" in out
    code, plain, _ = run(capsys, "evidence", *view, "--json")
    assert code == 0
    assert "clone-detection" in json.dumps(json.loads(plain))


def test_why_a_method_is_not_offered_is_said_to_people_and_machines(capsys):
    _, out, _ = run(capsys, "evidence", "--taxonomy")
    assert "not offered: it mixes LoRA adapters that were trained before\n" in out
    _, plain, _ = run(capsys, "evidence", "--taxonomy", "--json")
    reasons = {leaf["name"]: leaf["not_offered"] for leaf in json.loads(plain)}
    assert (reasons["xlora"], reasons["lora"]) == ("it mixes LoRA adapters that were trained before", None)


@pytest.mark.parametrize(
    ("args", "said"),
    [(["--taxonomy", "--task", "clone-detection"], "leave --task out"), (["--coverage", "--tasks"], "leave --coverage"),
     (["--coverage", "hu2021lora-001"], "leave ids out"), (["--tasks", "--method", "lora"], "leave --method out"),
     (["add"], "DIR"), (["add", "nowhere"], "not a run folder"), (["remove-local"], "or --all"),
     (["remove-local", "x", "--all"], "or --all"), (["remove-local", "x"], "unknown local evidence"),
     (["local-clone-detection-1"], "unknown local evidence"), (["--task", "find things"], "nearest: ")],
)  # fmt: skip
def test_a_mistake_with_views_or_own_results_is_one_line(capsys, args, said):
    code, out, err = run(capsys, "evidence", *args)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


def test_a_study_is_added_shown_beside_published_rows_and_removed(capsys, tmp_path):
    folder = fixtures.write_run(tmp_path / "run")
    code, out, err = run(capsys, "evidence", "add", str(folder))
    ids = out.split()
    assert (code, len(ids)) == (0, 4)
    assert err.startswith("4 rows kept as study clone-detection-")
    _, again, err = run(capsys, "evidence", "add", str(folder))
    assert again == out
    assert "4 rows kept instead of 4" in err

    code, out, _ = run(capsys, "evidence", "hu2021lora-001", ids[-1])
    assert code == 0
    assert out.index("hu2021lora-001") < out.index("local | clone-detection | best trial")
    assert "f1: 0.843" in out
    _, out, _ = run(capsys, "evidence", "--task", "clone-detection", "--method", "lora", "--json")
    assert [row["id"] for row in json.loads(out) if row.get("local")] == ids[2:]
    code, out, _ = run(capsys, "evidence", "--model", fixtures.BASE_MODEL)
    assert code == 0
    assert out.count("local | ") == 3
    _, out, _ = run(capsys, "evidence", "list-local", "--json")
    assert [row["id"] for row in json.loads(out)] == ids

    assert run(capsys, "evidence", "remove-local", ids[0])[2] == "1 row removed\n"
    assert run(capsys, "evidence", "remove-local", "--all")[2] == "3 rows removed\n"
    assert run(capsys, "evidence", "list-local")[1].startswith("no local evidence: nothing was added to ")


def test_help_names_the_options_of_the_default_and_the_commands(capsys):
    _, out, _ = run(capsys, "evidence", "--help")
    assert all(word in out for word in ("--coverage", "--taxonomy", "add", "list-local", "remove-local"))


def test_a_table_of_base_models_that_a_reason_names_is_opened(capsys):
    code, out, _ = run(capsys, "evidence", "seed-coder-report")
    assert code == 0
    assert "ByteDance-Seed/Seed-Coder-8B-Base" in out
    assert "Sources" in out


@pytest.mark.parametrize("group", sorted(groups()))
def test_every_table_of_base_models_can_be_opened_by_its_name(capsys, group):
    """Some names end in a number, as ids of rows do."""
    code, out, err = run(capsys, "evidence", group)
    assert (code, err) == (0, "")
    assert out.startswith(f"{group}: ")


def test_a_table_as_json_has_its_figures_and_rows_follow(capsys):
    code, out, _ = run(capsys, "evidence", "hu2021lora-001", "aixcoder-table-2", "--json")
    *figures, row = json.loads(out)
    assert code == 0
    assert {one["comparable_group"] for one in figures} == {"aixcoder-table-2"}
    assert row["id"] == "hu2021lora-001"


def test_an_unknown_id_beside_a_table_prints_nothing(capsys):
    code, out, err = run(capsys, "evidence", "evalplus-board", "nobody2020-001")
    assert (code, out) == (2, "")
    assert "unknown evidence id 'nobody2020-001'" in err
