"""The text that `recommend` prints."""

import re

import pytest

from advisor.catalog.tasks import TASKS
from advisor.recommendation import recommend
from advisor.recommendation.text import render
from advisor.spec import Budget, CodeTask


def shown(task: str = "clone-detection", vram: float | None = 24, width: int = 88, **more: object) -> str:
    return render(recommend(CodeTask(task=task, budget=Budget(vram_gib=vram), **more)), width)


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 88, 120])
@pytest.mark.parametrize("task", TASKS)
def test_lines_keep_to_the_width_and_hold_no_escape_codes(task, width):
    text = shown(task, width=width)
    assert "\x1b" not in text
    # Addresses of files and lists of options cannot be broken.
    long_lines = [line for line in text.splitlines() if len(line) > width and "peft-advisor" not in line]
    assert [line for line in long_lines if line.startswith(("   ", "  "))] == []


def test_the_first_lines_say_what_to_do_and_that_memory_is_an_estimate():
    text = shown()
    head = text[: text.index("Why")]
    assert "1. LoRA on microsoft/unixcoder-base    confidence: medium" in head
    assert "learning rate 0.0004" in head
    assert "(from dry runs, not measured)" in " ".join(head.split())


def test_reasons_cite_ids_with_their_source():
    assert "[liu2023empirical-004 (Liu 2023)," in " ".join(shown().split())


def test_the_next_command_is_named():
    text = shown()
    assert "peft-advisor evidence liu2023empirical-004" in text
    assert "peft-advisor tune recommendation.json --train TRAIN" in text
    assert "code1, code2, label" in text


def test_the_fields_of_an_example_are_named_for_every_kind_of_task():
    assert "one JSON object per line with code, label" in " ".join(shown("cloze-test").split())
    assert "one JSON object per line with source, target" in " ".join(shown("program-repair").split())


def test_what_was_left_out_is_summed_up():
    text = " ".join(shown("code-generation", 8).split())
    assert "GiB with one example at once" in text
    assert "more that do not fit (listed by --json)" in text
    assert "runs its own code when loaded" in text


def test_no_evidence_is_said_in_words():
    text = shown("type-inference")
    assert "confidence: no evidence" in text
    assert "no evidence for LoRA on type inference" in " ".join(text.split())


def test_one_candidate_has_no_table_of_alternatives():
    assert "Alternatives" not in shown(top=1)


def test_a_cited_number_comes_with_what_it_takes_to_read_it():
    text = " ".join(shown("flaky-test-classification").split())
    assert "tinker2026cookbook-001: 5e-05 times 10]" in text  # the row: lr_base 5e-5, LoRA multiplier 10
    assert "hu2021lora-001: 0.0004 for roberta-base" in text
    text = " ".join(shown("code-generation").split())
    assert "biderman2024lora-001: 2r" in text
    assert "esmaeili2024r-126: 16 at r 8" in text


def test_a_number_is_not_parted_from_its_unit():
    for task in ("program-repair", "clone-detection"):
        for width in (60, 75, 88):
            text = shown(task, width=width)
            assert not re.search(r"\d\n +(%|GiB|epochs?|papers?|million)", text)


def test_the_table_says_how_many_examples_the_memory_is_for():
    text = shown("code-generation")
    assert "n: examples at once" in text
    narrow = shown("code-generation", width=60)
    assert "n: examples at once" not in narrow
    assert max(len(line) for line in narrow.splitlines() if line[:2] in ("2.", "3.", "4.", "5.")) <= 60


def test_what_is_forecast_better_but_ranked_lower_is_explained():
    assert "Forecast higher than 1, but ranked below it because fewer papers stand behind them: 3, 5" in " ".join(
        shown("defect-detection").split()
    )


def test_without_a_gpu_nothing_is_said_about_time():
    assert "memory and time" not in shown("clone-detection")


def test_billions_of_parameters_are_told_as_such():
    assert "3.1 billion parameters trained" in " ".join(shown("code-generation", 80, method="full").split())


def test_one_row_for_and_one_against_are_named_to_read():
    assert "peft-advisor evidence hajipour2022simscood-001 zhuo2024astraios-007" in shown("code-generation")


def test_what_is_known_to_limit_a_row_is_said_where_it_is_cited():
    words = " ".join(shown("code-generation").split())
    assert "hajipour2022simscood-001 (Hajipour 2024; only on data unlike the training data)" in words
    assert "esmaeili2024r-003 (Esmaeili 2024)" in words  # no caveat of its own
