"""Rows of HumanEval and MBPP as programs, on small rows of our own and on the published reference solutions."""

import json
import sys
from pathlib import Path

import pytest

from advisor.errors import DataError
from advisor.execution import Limits, Program, humaneval_program, judge, mbpp_program, run_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="generated programs are not run on Windows")

DATA = Path(__file__).parents[3] / "shared" / "data" / "code-generation"
ROW = {
    "id": "X/1",
    "source": 'def double(n):\n    """Return twice n."""\n',
    "entry_point": "double",
    "test": "def check(candidate):\n    assert candidate(4) == 8\n",
}
# Reference solutions that fail their own tests in any Python: three use names that are defined nowhere (367, 601, 927),
# one counts the bytes of a tuple in an older Python (596), one expects an order of sets (341), and four contradict
# their tests (160, 607, 631, 642).
DEFECTIVE = {f"MBPP/{number}" for number in (160, 341, 367, 596, 601, 607, 631, 642, 927)}


def outcome(program: Program) -> str:
    return run_program(program, limits=Limits(cpu_s=2, wall_s=30.0), allow_execution=True).outcome


def test_a_humaneval_completion_goes_on_from_the_signature() -> None:
    assert outcome(humaneval_program(ROW, "    return 2 * n\n")) == "passed"
    assert outcome(humaneval_program(ROW, "    return n\n")) == "failed"
    assert outcome(humaneval_program(ROW, "return 2 * n\n")) == "failed"


def test_an_mbpp_completion_stands_alone() -> None:
    row = ROW | {"source": "Write a function that doubles a number."}
    assert outcome(mbpp_program(row, "def double(n): return 2 * n")) == "passed"
    assert outcome(mbpp_program(row, "def twice(n): return 2 * n")) == "failed"
    assert outcome(mbpp_program(row, "")) == "failed"


def test_a_candidate_may_be_called_check_itself() -> None:
    row = ROW | {"entry_point": "check"}
    assert outcome(mbpp_program(row, "def check(n): return 2 * n")) == "passed"
    assert outcome(mbpp_program(row, "def check(n): return n")) == "failed"


def test_a_candidate_may_be_called_like_a_builtin() -> None:
    row = ROW | {"entry_point": "sum"}
    assert outcome(mbpp_program(row, "def sum(n): return 2 * n")) == "passed"


@pytest.mark.parametrize("row", [{}, ROW | {"test": None}, ROW | {"entry_point": "f(); import os"}])
def test_a_row_of_another_form_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"test|entry_point"):
        mbpp_program(row, "pass")


def rows(name: str) -> list[dict[str, str]]:
    path = DATA / name / "test.jsonl"
    if not path.exists():
        pytest.skip(f"{name} is not beside this repository")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_reference_solutions_pass_and_bodies_without_content_do_not(name: str) -> None:
    build, empty = {"humaneval": (humaneval_program, "    pass\n"), "mbpp": (mbpp_program, "")}[name]
    found = rows(name)
    limits = Limits(cpu_s=60, wall_s=240.0)
    executions = judge([build(row, row["target"]) for row in found], limits=limits, allow_execution=True)
    failed = {row["id"] for row, one in zip(found, executions, strict=True) if not one.passed}
    assert failed == {row["id"] for row in found} & DEFECTIVE
    without = judge([build(row, empty) for row in found[:20]], limits=limits, allow_execution=True)
    assert {one.outcome for one in without} == {"failed"}
