"""Messages for users: nearest names, and text from outside made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.errors import DataError, InfeasibleBudgetError, UnknownNameError, nearest_names, printable

TASKS = ["clone-detection", "code-summarization", "defect-detection", "program-repair"]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("clone-detecton", "clone-detection"),
        ("Clone-Detection", "clone-detection"),
        ("summarization", "code-summarization"),
    ],
)
def test_a_slip_of_the_pen_finds_the_name_that_was_meant(asked, first):
    assert nearest_names(asked, TASKS)[0] == first


def test_an_unknown_name_says_the_nearest_or_all_when_few():
    assert "nearest: clone-detection" in str(UnknownNameError("task", "clone-detecton", TASKS))
    assert "known: clone-detection, code-summarization" in str(UnknownNameError("task", "zzzzzz", TASKS))


def test_exit_codes_are_two_for_bad_input_and_three_for_an_infeasible_budget():
    assert (DataError.exit_code, UnknownNameError.exit_code, InfeasibleBudgetError.exit_code) == (2, 2, 3)


@given(st.text())
def test_text_from_outside_never_reaches_the_terminal_raw(text):
    shown = printable(text)
    assert all(character.isprintable() for character in shown)
    assert len(shown) <= 80
