"""What people type and the task they mean."""

import json
from pathlib import Path

import pytest

from advisor.catalog.task_names import find_task_by_text
from advisor.catalog.tasks import TASKS
from advisor.catalog.taxonomy import read_taxonomy
from advisor.errors import UnknownNameError

# Descriptions that were written before the words of `taxonomy.json`; a third of them was never looked at for these.
DESCRIPTIONS = [
    json.loads(line)
    for line in (Path(__file__).parent / "task_descriptions.jsonl").read_text(encoding="utf-8").splitlines()
]


def understood(text: str) -> str | None:
    """Return the task that a text is taken for, None when it is refused."""
    try:
        return find_task_by_text(text).task
    except UnknownNameError:
        return None


@pytest.mark.parametrize(("held_out", "at_least"), [(False, 0.95), (True, 0.85)])
def test_most_free_descriptions_are_understood(held_out, at_least):
    asked = [row for row in DESCRIPTIONS if row["held_out"] == held_out]
    right = [row for row in asked if understood(row["text"]) == row["task"]]
    assert len(asked) >= 30
    assert len(right) >= at_least * len(asked)


def test_every_task_of_the_catalogue_has_descriptions_of_both_sorts():
    for held_out in (False, True):
        assert {row["task"] for row in DESCRIPTIONS if row["held_out"] == held_out} == {*TASKS, None}


def test_a_slug_is_taken_as_it_is_and_nothing_is_said_about_it():
    for slug in TASKS:
        found = find_task_by_text(slug)
        assert (found.task, found.how, found.note) == (slug, "slug", "")


@pytest.mark.parametrize(
    ("text", "task"),
    [("Code Clone Detection", "clone-detection"), ("code_clone_detection", "clone-detection"),
     ("clone detection", "clone-detection"), ("vulnerability detection", "vulnerability-detection"),
     ("Automated Program Repair", "program-repair"), ("APR", "program-repair"), ("CSum", "code-summarization"),
     ("Just-in-time Comment Update", "jit-comment-update"), ("SATD", "satd-identification"),
     ("code summarisation", "code-summarization"), ("bigCode/Code-Search", None)],
)  # fmt: skip
def test_other_names_are_taken_whatever_their_case_and_hyphens(text, task):
    if task is None:
        assert understood(text) == "code-search"  # as a description: it is no name
    else:
        found = find_task_by_text(text)
        assert (found.task, found.how) == (task, "alias")
        assert found.note == f"task taken: {task} (another name of it)"


def test_every_name_of_the_review_and_every_alias_finds_its_own_task():
    for place in read_taxonomy().tasks:
        if place.task is not None:
            for name in (place.review, place.abbreviation, *place.aliases):
                assert name is None or understood(name) == place.task


def test_a_slip_of_the_pen_is_forgiven_and_said():
    found = find_task_by_text("clone-detecton")
    assert (found.task, found.how) == ("clone-detection", "near name")
    assert found.note == "task taken: clone-detection (nearest name: clone detection)"


@pytest.mark.parametrize("text", ["vulnerability generation", "code clone generation", "commit generation"])
def test_another_word_is_no_slip_of_the_pen(text):
    assert understood(text) is None


@pytest.mark.parametrize("text", ["clonedetection", "clone detektion", "clone-detect"])
def test_words_run_together_or_cut_short_are_slips(text):
    found = find_task_by_text(text)
    assert (found.task, found.how) == ("clone-detection", "near name")


def test_a_description_says_which_words_decided():
    found = find_task_by_text("detect duplicated functions in Java")
    assert (found.task, found.how) == ("clone-detection", "description")
    assert found.words == ("duplicated", "functions")
    assert "words that decided: duplicated, functions" in found.note


@pytest.mark.parametrize(
    ("text", "said"),
    [("cloning", "nearest: clone-detection"), ("clone", "nearest: clone-detection"),
     ("find things", "nearest: "), ("code", "nearest: "), ("bake a cake", "evidence --tasks"), ("", "evidence --tasks"),
     ("vérifier le code", "nearest: "), ("克隆检测", "evidence --tasks")],
)  # fmt: skip
def test_what_says_too_little_is_refused_with_the_nearest_three(text, said):
    with pytest.raises(UnknownNameError) as caught:
        find_task_by_text(text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert message.count(", ") <= 2


@pytest.mark.parametrize(
    "text", ["make the code faster", "make my code run faster", "make methods shorter", "program optimization"]
)
def test_changing_code_is_not_taken_for_writing_it(text):
    with pytest.raises(UnknownNameError, match=r"nearest: .*code-generation"):
        find_task_by_text(text)


@pytest.mark.parametrize(
    ("text", "task"),
    [("make unit tests", "unit-test-generation"), ("make docstrings for functions", "code-summarization"),
     ("make code from a description", "code-generation"), ("make commit messages", "commit-message-generation"),
     ("write code", "code-generation"), ("make the code secure", "secure-code-generation")],
)  # fmt: skip
def test_making_something_new_is_writing_it(text, task):
    assert understood(text) == task


def test_two_tasks_that_fit_equally_well_are_not_chosen_between():
    with pytest.raises(UnknownNameError, match="nearest: ") as caught:
        find_task_by_text("find flaky tests and code smells")
    assert "code-smell-detection" in str(caught.value)
    assert "flaky-test-classification" in str(caught.value)


@pytest.mark.parametrize("text", ["clone\x1b[31m-detection", "find\nclones", "clone " * 10_000])
def test_control_characters_and_endless_text_are_refused_and_escaped(text):
    with pytest.raises(UnknownNameError) as caught:
        find_task_by_text(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
