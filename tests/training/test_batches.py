"""Batches: every row once per epoch, the same order for all, little padding, nothing lost in padding."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from advisor.training.batches import collate, evaluation_batches, steps_per_epoch, training_batches
from advisor.training.tokens import IGNORED, TokenRow

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=700)


def row(*ids: int, labels: tuple[int, ...] = (1,), prompt_length: int | None = None) -> TokenRow:
    return TokenRow(
        input_ids=np.array(ids, np.int32),
        labels=np.array(labels, np.int32),
        prompt_length=len(ids) if prompt_length is None else prompt_length,
    )


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, batch_size=st.integers(1, 300), seed=st.integers(0, 5))
def test_every_epoch_has_every_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    per_epoch = steps_per_epoch(len(lengths), batch_size)
    batches = list(islice(training_batches(lengths, batch_size, seed), 2 * per_epoch))
    for epoch in (batches[:per_epoch], batches[per_epoch:]):
        assert sorted(number for batch in epoch for number in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    assert batches == list(islice(training_batches(lengths, batch_size, seed), 2 * per_epoch))


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, batch_size=st.integers(1, 64))
def test_evaluation_takes_every_row_once_the_longest_first(lengths: list[int], batch_size: int) -> None:
    batches = evaluation_batches(lengths, batch_size)
    taken = [number for batch in batches for number in batch]
    assert sorted(taken) == list(range(len(lengths)))
    assert [lengths[number] for number in taken] == sorted(lengths, reverse=True)


@given(lengths=LENGTHS, batch_size=st.integers(1, 64))
def test_rows_of_one_length_can_be_kept_together(lengths: list[int], batch_size: int) -> None:
    batches = evaluation_batches(lengths, batch_size, same_length=True)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    assert all(len({lengths[number] for number in batch}) == 1 for batch in batches)
    assert max(map(len, batches)) <= batch_size


def test_sets_of_labels_become_rows_of_zeros_and_ones(base_folder: Callable[..., Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_folder("encoder-only"))
    rows = [row(5, 6, labels=(0, 1, 1)), row(7, labels=(0, 0, 0))]
    batch = collate(rows, tokenizer, "sequence-classification", side="right", is_multi_label=True)
    torch.testing.assert_close(batch["labels"], torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))


def test_training_batches_waste_little_on_padding_and_differ_between_epochs_and_seeds() -> None:
    lengths = [10 + 37 * number % 290 for number in range(1000)]
    batches = list(islice(training_batches(lengths, 16, 0), 63))
    padded = sum(max(lengths[number] for number in batch) * len(batch) for batch in batches)
    assert padded < 1.15 * sum(lengths)
    assert batches != list(islice(training_batches(lengths, 16, 0), 63, 126))
    assert batches != list(islice(training_batches(lengths, 16, 1), 63))


@pytest.fixture(scope="module")
def tokenizer(base_folder: Callable[..., Path]) -> object:
    return AutoTokenizer.from_pretrained(base_folder("decoder-only"))


def test_rows_are_padded_on_the_side_asked_for(tokenizer: object) -> None:
    rows = [row(5, 6, 7), row(8, labels=(0,))]
    right = collate(rows, tokenizer, "sequence-classification", side="right")  # type: ignore[arg-type]
    left = collate(rows, tokenizer, "sequence-classification", side="left")  # type: ignore[arg-type]
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["input_ids"].tolist() == [[5, 6, 7], [1, 1, 8]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert right["labels"].tolist() == [1, 0]
    assert {tensor.dtype for tensor in right.values()} == {torch.long}


def test_padded_labels_take_no_part_in_the_loss(tokenizer: object) -> None:
    rows = [row(5, 6, labels=(IGNORED, 6)), row(5, 6, 7, labels=(IGNORED, 6, 7))]
    causal = collate(rows, tokenizer, "causal-lm", side="left")  # type: ignore[arg-type]
    seq2seq = collate(rows, tokenizer, "seq2seq-lm", side="right")  # type: ignore[arg-type]
    assert causal["labels"].tolist() == [[IGNORED, IGNORED, 6], [IGNORED, 6, 7]]
    assert seq2seq["labels"].tolist() == [[IGNORED, 6, IGNORED], [IGNORED, 6, 7]]
