"""Examples in context: which, where they stand, how many fit, and what the model answers to them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from advisor.candidates import Candidate
from advisor.data.examples import Example
from advisor.errors import InputError
from advisor.training.few_shot import _words, in_context, most_similar, prompt_rows
from advisor.training.predictions import read_predictions
from advisor.training.runner import DeviceRunner
from tests.prompt_tokenizers import ONE_TURN
from tests.training.toy import SUMMARIES as WITH_INSTRUCTION
from tests.training.toy import candidate

pytestmark = pytest.mark.slow

TRAIN = ("def add(a, b): return a + b", "print(numbers)", "for i in range(10): print(i)")
TARGETS = ("Adds.", "Prints.", "Loops.")
SUMMARIES = replace(WITH_INSTRUCTION, instruction="")  # the toy model has 128 positions
BLOCK = "%s\n# "


def example(text: str, target: str) -> Example:
    return Example(example_id=text, text=text, text_pair=None, target=target)


def runner(*sources: str, train: tuple[str, ...] = TRAIN) -> DeviceRunner:
    known = tuple(map(example, train, TARGETS))
    asked = tuple(example(source, "Sums.") for source in sources)
    return DeviceRunner(SUMMARIES, {"train": known, "valid": known, "test": asked}, seed=0, device="cpu")


@pytest.fixture
def chosen(base_folder: Callable[..., Path]) -> Candidate:
    return candidate(base_folder("decoder-only"), "decoder-only")


def read(held: DeviceRunner, chosen: Candidate, **changes: object) -> list[str]:
    """Return the prompts as text."""
    attached = held.attach_saved(chosen, None, seed=0)
    rows, _ = prompt_rows(held, SUMMARIES, chosen, attached, **changes)  # type: ignore[arg-type]
    held.data.give_back(attached)
    assert all(row.prompt_length == len(row.input_ids) for row in rows)
    return [attached.base.tokenizer.decode(row.input_ids) for row in rows]


def test_the_first_examples_are_the_same_for_all_and_stand_in_their_order(chosen: Candidate) -> None:
    found = read(runner("x", "yy"), chosen, choice="first", n_examples=2)
    shown = f"<s>{BLOCK % TRAIN[0]}Adds.\n\n{BLOCK % TRAIN[1]}Prints.\n\n"
    assert found == [shown + BLOCK % "x", shown + BLOCK % "yy"]


def test_retrieved_examples_are_the_source_s_own_and_the_most_similar_stands_last(chosen: Candidate) -> None:
    held = runner("for x in range(7): print(x)", "def sub(a, b): return a - b")
    loop, add = read(held, chosen, choice="similar", n_examples=2)
    assert loop.index("Prints.") < loop.index("Loops.") < loop.index("range(7)")
    assert "Adds." not in loop
    assert add.rindex("Adds.") > max(add.find("Prints."), add.find("Loops."))


def test_as_many_are_shown_as_there_is_room_for(chosen: Candidate) -> None:
    (all_of_them,) = read(runner("x"), chosen, choice="first", n_examples=8)
    assert [target in all_of_them for target in TARGETS] == [True, True, True]
    # Cut to 48 tokens it still does not fit beside another that long.
    long = "for i in range(10): print(i) ; " * 10
    (skipped,) = read(runner("x " * 60, train=(TRAIN[0], long, TRAIN[1])), chosen, choice="first", n_examples=3)
    assert "Adds." in skipped
    assert "Loops." in skipped  # the third
    assert "Prints." not in skipped


def test_how_many_examples_were_shown_is_noted(chosen: Candidate) -> None:
    long = "for i in range(10): print(i) ; " * 10
    held = runner("x", "x " * 60, train=(TRAIN[0], long, TRAIN[1]))
    found = in_context(held, SUMMARIES, chosen, choice="similar", n_examples=3)
    attached = held.attach_saved(chosen, None, seed=0)
    _, shown = prompt_rows(held, SUMMARIES, chosen, attached, choice="similar", n_examples=3)
    held.data.give_back(attached)
    assert len(set(shown)) == 2  # the longer source leaves less room
    said = f"{min(shown)} to {max(shown)} (mean {sum(shown) / 2:.1f}) of the most similar of 3 training examples"
    assert found.note == f"untuned model, shown {said} in each prompt"


def test_no_prompt_with_its_answer_is_longer_than_the_context(chosen: Candidate) -> None:
    held = runner("x " * 30, "y", "print(z)")
    attached = held.attach_saved(chosen, None, seed=0)
    assert attached.base.max_positions == 128
    for choice in ("first", "similar"):
        rows, _ = prompt_rows(held, SUMMARIES, chosen, attached, choice=choice, n_examples=8)  # type: ignore[arg-type]
        assert max(len(row.input_ids) for row in rows) + SUMMARIES.max_target_length <= 128
    held.data.give_back(attached)


def test_a_context_without_room_for_an_example_is_refused(chosen: Candidate) -> None:
    long = "for i in range(10): print(i) ; " * 10
    with pytest.raises(InputError, match="no room for an example"):
        in_context(
            runner("x " * 90, train=(long,)),
            SUMMARIES,
            replace(chosen, max_seq_length=64),
            choice="first",
            n_examples=1,
        )


def test_a_template_of_one_turn_is_refused(chosen: Candidate) -> None:
    held = runner("x")
    held.data.base_model(chosen).tokenizer.chat_template = ONE_TURN
    with pytest.raises(InputError, match="no place for examples"):
        in_context(held, SUMMARIES, chosen, choice="first", n_examples=1)


def test_the_answers_are_what_the_model_says_to_the_whole_prompt(chosen: Candidate, tmp_path: Path) -> None:
    held = runner("x", "def f(y): return y")
    found = in_context(
        held, SUMMARIES, chosen, choice="first", n_examples=1, predictions=tmp_path / "made.jsonl"
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(chosen.base_model)
    model = AutoModelForCausalLM.from_pretrained(chosen.base_model).eval()
    made = read_predictions(tmp_path / "made.jsonl")
    assert (found.n_examples, len(made)) == (2, 2)
    assert found.note == "untuned model, shown 1 of the first training examples in each prompt"
    for item in made:
        parts = (BLOCK % TRAIN[0] + "Adds.\n\n", BLOCK % item.source)
        attached_ids = tokenizer("".join(parts), return_tensors="pt")
        output = model.generate(**attached_ids, do_sample=False, max_new_tokens=SUMMARIES.max_target_length)
        text = tokenizer.decode(output[0, attached_ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert item.predicted == text.strip()


def test_similarity_is_that_of_words_and_signs_not_of_their_case_or_order() -> None:
    texts = ["alpha beta", "gamma ( delta )", "BETA alpha", "epsilon"]
    assert most_similar(["beta  ALPHA"], texts, 2) == [[0, 2]]  # equal ones in their order
    assert most_similar(["(", "epsilon zeta"], texts, 1) == [[1], [3]]
    assert [len(found) for found in most_similar(["x"], texts, 9)] == [4]


def test_identifiers_are_the_words_that_they_are_made_of() -> None:
    assert _words("readHTTPBody(my_file2) # Größe") == [
        "read", "http", "body", "(", "my", "file", "2", ")", "#", "größe",
    ]  # fmt: skip
    assert most_similar(["read the file"], ["writeFile", "parse", "read_file"], 1) == [[2]]


def test_many_texts_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(50)]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(40)]
    whole = most_similar(texts, texts, 3)
    monkeypatch.setattr("advisor.training.few_shot._MOST_SCORES", 100)
    assert most_similar(texts, texts, 3) == whole
    assert sum(first[0] == number for number, first in enumerate(whole)) >= 38  # each is most similar to itself
