"""The study of mistakes: its cheap cases are run, and its judge finds every kind of fault."""

from dataclasses import replace

import pytest

from studies.mistakes.cases import MISTAKES, Mistake
from studies.mistakes.run import Answer, answer_to, faults, tree
from studies.mistakes.world import make_world

CHEAP = [one for one in MISTAKES if one.is_quick and not one.needs_run and one.situation == "alone"]
WRONG = Mistake(name="a wrong word", arguments=("x",), says=("unknown word 'x'", "say y"))
GOOD = Answer(exit_code=2, stdout="", stderr="error: unknown word 'x'; say y\n", changed=())


def test_there_are_mistakes_of_every_kind():
    assert len(MISTAKES) >= 24
    assert len({one.name for one in MISTAKES}) == len(MISTAKES)
    assert {one.situation for one in MISTAKES} == {"alone", "beside", "interrupted"}
    assert len(CHEAP) >= 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes") / "world"
    make_world(folder, with_run=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("mistake", CHEAP, ids=lambda one: one.name)
def test_a_mistake_is_one_line_that_says_what_where_and_what_to_do_and_leaves_nothing(world, mistake):
    assert faults(mistake, answer_to(mistake, world)) == []


def test_a_good_answer_has_no_fault():
    assert faults(WRONG, GOOD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exit_code": 1}, "exit code 1 instead of 2"),
        ({"stdout": "half a table"}, "stdout holds 'half a table'"),
        ({"stderr": "error: unknown word 'x'\n"}, "does not say 'say y'"),
        ({"stderr": f"warning: odd\n{GOOD.stderr}"}, "2 lines on stderr instead of one"),
        ({"stderr": f"{GOOD.stderr}{GOOD.stderr}"}, "the last line, and only that, must begin with 'error: '"),
        ({"stderr": "Traceback (most recent call last):\n" + GOOD.stderr}, "a traceback"),
        ({"stderr": "error: unknown word 'x'; say y \x1b[31m\n"}, "characters that command a terminal"),
        ({"changed": ("new/study.db",)}, "left behind or changed: new/study.db"),
    ],
)
def test_every_kind_of_fault_is_found(change, said):
    assert said in faults(WRONG, replace(GOOD, **change))


def test_progress_may_stand_above_the_message_of_what_takes_long():
    late = replace(WRONG, is_quick=False)
    assert faults(late, replace(GOOD, stderr=f"Loading PyTorch ...\n{GOOD.stderr}")) == []


def test_the_tree_shows_a_new_folder_and_a_changed_byte(tmp_path):
    (tmp_path / "a").write_text("1")
    before = tree(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("2")
    after = tree(tmp_path)
    assert set(after) - set(before) == {"b"}
    assert before["a"] != after["a"]
