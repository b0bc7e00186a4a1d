"""Lengths by a base model's tokenizer are those of its tokens."""

import pytest

from advisor.demo import base_model_path
from advisor.errors import DataError
from advisor.modeling.token_counter import token_counter


def test_lengths_are_those_of_the_tokenizer_without_special_tokens() -> None:
    from transformers import AutoTokenizer

    folder = str(base_model_path("encoder-only"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["def add(a, b): return a + b", "", "</s> is text"]
    expected = [
        len(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]) for text in texts
    ]
    counter = token_counter(folder)
    assert list(counter.count(texts)) == expected
    assert counter.count(["</s>"])[0] > 1  # not the control token
    assert counter.max_length is None or counter.max_length <= 10**6


def test_a_model_without_tokenizer_is_refused_in_one_line(tmp_path) -> None:
    with pytest.raises(DataError, match="its tokenizer cannot be loaded") as caught:
        token_counter(str(tmp_path))
    assert "\n" not in str(caught.value)
