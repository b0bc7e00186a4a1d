"""Programs are run when the user allows it, all rows have tests, and the sandbox and the references work."""

import sys
from dataclasses import replace

import pytest

from advisor import execution
from advisor.catalog.tasks import find_task
from advisor.data.examples import Example
from advisor.errors import DataError, InputError
from advisor.execution import ProgramTests, SandboxError
from advisor.tuning.programs import task_as_measured
from tests.data.rows import files_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="generated programs are not run on Windows")
TASK = find_task("code-generation")
GOOD = Example(
    example_id="good",
    text="Double a number.",
    text_pair=None,
    target="def double(n): return 2 * n",
    tests=ProgramTests(code="assert double(2) == 4"),
)
BAD = replace(GOOD, example_id="bad", target="def double(n): return n")
BARE = replace(GOOD, tests=None)


def files(*, train=(BARE,), valid=(GOOD,), test=(GOOD,)):
    return files_of({"train": train, "valid": valid, "test": test}, TASK)


def test_with_permission_and_tests_pass_at_1_decides_and_what_is_not_protected_is_said():
    task, (said,) = task_as_measured(TASK, files(), allow_execution=True)
    assert task.metrics == ("pass@1", *TASK.metrics)
    assert said.startswith("generated programs are run in a sandbox that does not protect from ")
    assert "faults of the kernel" in said


def test_without_permission_nothing_is_run_and_one_line_offers_it(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("something was run")

    monkeypatch.setattr(execution, "protection", refused, raising=False)
    monkeypatch.setattr("advisor.training.programs.judge", refused)
    task, (said,) = task_as_measured(TASK, files(), allow_execution=False)
    assert task == TASK
    assert "--allow-execution" in said
    assert "does not protect from faults of the kernel" in said
    assert task_as_measured(TASK, files(valid=(BARE,)), allow_execution=False) == (TASK, ())
    prose = find_task("code-summarization")
    assert task_as_measured(prose, files(), allow_execution=False) == (prose, ())


def test_rows_without_tests_leave_the_metrics_of_texts_to_decide():
    task, (said,) = task_as_measured(TASK, files(valid=(GOOD, BARE, BARE)), allow_execution=True)
    assert task == TASK
    assert said == "no program is run: 2 of 3 valid rows have no tests, so pass@1 cannot decide"


@pytest.mark.parametrize(
    ("task", "valid", "said"),
    [
        ("code-generation", BARE, "no valid or test row has tests; expected `test` with `entry_point`"),
        ("clone-detection", GOOD, "answers of clone-detection are no programs; it is for code-generation"),
    ],
)
def test_permission_for_what_cannot_be_run_is_a_mistake(task, valid, said):
    with pytest.raises(InputError, match=said):
        task_as_measured(find_task(task), files(valid=(valid,), test=(valid,)), allow_execution=True)


def test_a_machine_without_a_sandbox_stops_the_study_before_it_begins(monkeypatch):
    def no_sandbox():
        raise SandboxError("the sandbox could not be made: no room")

    monkeypatch.setattr(execution, "protection", no_sandbox, raising=False)
    with pytest.raises(InputError, match="could not be made: no room; leave it out to tune") as caught:
        task_as_measured(TASK, files(), allow_execution=True)
    assert caught.value.exit_code == 2


def test_references_that_fail_their_tests_are_named_and_refused_when_none_passes():
    task, (_, said) = task_as_measured(TASK, files(valid=(GOOD, BAD)), allow_execution=True)
    assert task.primary_metric == "pass@1"
    assert said == "1 of 3 references that were tried do not pass their own tests ('bad': 'AssertionError')"
    with pytest.raises(DataError, match=r"not one of 2 references passes its own tests \('bad': 'AssertionError'"):
        task_as_measured(TASK, files(valid=(BAD,), test=(BAD,)), allow_execution=True)


@pytest.mark.slow
def test_a_reference_that_never_ends_is_one_that_fails():
    endless = replace(GOOD, example_id="endless", tests=ProgramTests(code="while True: pass"))
    _, (_, said) = task_as_measured(TASK, files(test=(endless,)), allow_execution=True)
    assert "'endless': 'used more than 3 s of processor time'" in said
