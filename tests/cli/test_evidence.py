"""`peft-advisor evidence` as a command."""

import json

import pytest

from advisor.catalog.tasks import TASKS
from advisor.recommendation import recommend
from advisor.spec import Budget, CodeTask
from tests.cli.test_cli import run


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
