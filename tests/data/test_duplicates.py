"""Inputs are the same but for white space, and known by their texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.data.duplicates import Inputs, answers_by_input, input_key, known_pairs, text_key
from tests.data.rows import CLONES, DEFECTS, SEARCH, pair, single


@given(words=st.lists(st.text("ab(", min_size=1), min_size=1), blanks=st.lists(st.text(" \t\n\u2003", min_size=1)))
def test_which_white_space_stands_between_words_does_not_matter(words: list[str], blanks: list[str]) -> None:
    blanks = (blanks or [" "]) * len(words)
    spaced = "".join(f"{word}{blank}" for word, blank in zip(words, blanks, strict=False))
    assert text_key(spaced) == text_key(" ".join(words))


@pytest.mark.parametrize(("first", "second"), [("a b", "ab"), ("A", "a"), ("f(x)", "f (x)"), ("", "a")])
def test_whether_any_does_and_every_other_character_matters(first: str, second: str) -> None:
    assert text_key(first) != text_key(second)


def test_a_pair_is_not_the_text_of_both_together() -> None:
    keys = {
        input_key(pair("a", "b"), SEARCH), input_key(pair("b", "a"), SEARCH), input_key(single("a b"), DEFECTS),
        input_key(pair("a b", "c"), SEARCH), input_key(pair("a", "b c"), SEARCH),
    }  # fmt: skip
    assert len(keys) == 5
    assert input_key(pair("a", "b"), CLONES) == input_key(pair("b", "a"), CLONES)


def test_inputs_are_numbered_once_over_all_splits() -> None:
    inputs = Inputs.of(
        {"train": [single("a"), single("b"), single(" a ")], "test": [single("b"), single("c")]}, DEFECTS
    )
    assert inputs.numbers == {"train": [0, 1, 0], "test": [1, 2]}
    assert [sample.text for sample in inputs.samples] == ["a", "b", "c"]
    assert inputs.repeated("train") == [2]
    assert inputs.shared("test", "train") == [0]
    assert answers_by_input([0, 0], [single("a", "x"), single("a", "y")]) == {0: {"x", "y"}}


def test_both_texts_of_a_known_pair_stand_somewhere() -> None:
    against = [pair("a", "b"), pair("c", "d")]
    assert known_pairs([pair("d", "a"), pair("a", "x"), pair("c", " d")], against) == [0, 2]
