"""Frames put ids together exactly as the tokenizer itself would, also when it truncates."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from advisor.errors import DataError
from advisor.training.frames import frame_of, kept_of_pair, plain_ids

PIECES = st.sampled_from(["return", "x", "</s>", "int sum(int a)", "\n", "é"])
TEXTS = st.lists(PIECES, min_size=1, max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def tokenizers(base_folder: Callable[..., Path]) -> list[PreTrainedTokenizerBase]:
    made = [
        AutoTokenizer.from_pretrained(base_folder(architecture))
        for architecture in ("encoder-only", "decoder-only", "encoder-decoder")
    ]
    return [*made, bert_like()]


def bert_like() -> PreTrainedTokenizerFast:
    """A tokenizer with segment ids."""
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "value", "other", "return", "x", "int", "a"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
        model_input_names=names,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(first=TEXTS, second=TEXTS, limit=st.integers(6, 40))
def test_framed_and_cut_ids_are_those_of_the_tokenizer(
    tokenizers: list[PreTrainedTokenizerBase], first: str, second: str, limit: int
) -> None:
    for tokenizer in tokenizers:
        for texts in ([first], [first, second]):
            frame = frame_of(tokenizer, len(texts))
            ids = [plain_ids(tokenizer, [text])[0] for text in texts]
            room = limit - frame.size
            kept = [room] if len(texts) == 1 else kept_of_pair(len(ids[0]), len(ids[1]), room)
            found, types = frame.around([text[:n] for text, n in zip(ids, kept, strict=True)])
            wanted = tokenizer(*texts, truncation=True, max_length=limit, split_special_tokens=True)
            assert found.tolist() == wanted["input_ids"]
            assert (None if types is None else types.tolist()) == wanted.get("token_type_ids")


@given(first=st.integers(0, 300), second=st.integers(0, 300), room=st.integers(1, 200))
def test_the_shorter_of_a_pair_is_cut_only_when_it_takes_more_than_half(first: int, second: int, room: int) -> None:
    kept = kept_of_pair(first, second, room)
    assert sum(kept) == min(room, first + second)
    assert kept[0] <= first
    assert kept[1] <= second
    if 2 * min(first, second) <= room:
        assert min(first, second) in kept


def test_a_target_may_have_a_frame_of_its_own(tokenizers: list[PreTrainedTokenizerBase]) -> None:
    tokenizer = tokenizers[2]
    frame = frame_of(tokenizer, 1, as_target=True)
    ids, _ = frame.around(plain_ids(tokenizer, ["return x"]))
    assert ids.tolist() == tokenizer(text_target="return x")["input_ids"]


def test_a_tokenizer_that_changes_texts_in_its_frame_is_refused() -> None:
    class Odd:
        name_or_path = "odd"

        def __call__(self, *texts: object, **options: object) -> dict[str, list[object]]:
            return {"input_ids": [[7, 8]]} if "add_special_tokens" in options else {"input_ids": [1, 8, 7, 2]}

    with pytest.raises(DataError, match="odd"):
        frame_of(Odd(), 1)  # type: ignore[arg-type]


def test_plain_ids_have_no_special_tokens(tokenizers: list[PreTrainedTokenizerBase]) -> None:
    for tokenizer in tokenizers[:3]:
        (ids,) = plain_ids(tokenizer, ["a</s><pad>b"])
        assert not set(ids.tolist()) & set(tokenizer.all_special_ids)
        assert ids.dtype == np.int32
