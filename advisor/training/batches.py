"""Rows into batches: in which order, of similar length, and padded."""

import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from advisor.modeling.base import ModelHead
from advisor.training.frames import Ids
from advisor.training.tokens import IGNORED, TokenRow

Batch = dict[str, torch.Tensor]
# Rows are sorted by length within windows of about this many, so that batches need little padding while the
# order stays random on the larger scale.
_WINDOW = 256


def steps_per_epoch(n_examples: int, batch_size: int) -> int:
    """Return the optimizer steps of one pass over the data."""
    return -(-n_examples // batch_size)


def training_batches(lengths: Sequence[int], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield row numbers of training batches, epoch after epoch without end.

    Every row stands in exactly one batch of an epoch. The order depends on `seed`, lengths and batch size
    only, so all trials of a study with one batch size see the same batches.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows per batch; the last of an epoch may have fewer.
        seed: Of the study.
    """
    rng = random.Random(seed)
    window = batch_size * max(1, _WINDOW // batch_size)
    while True:
        order = list(range(len(lengths)))
        rng.shuffle(order)
        batches: list[list[int]] = []
        for start in range(0, len(order), window):
            rows = sorted(order[start : start + window], key=lambda row: lengths[row])
            batches.extend(rows[first : first + batch_size] for first in range(0, len(rows), batch_size))
        rng.shuffle(batches)
        yield from batches


def evaluation_batches(lengths: Sequence[int], batch_size: int, *, same_length: bool = False) -> list[list[int]]:
    """Return row numbers in batches of similar length, the longest first (memory runs out at once or never).

    Args:
        lengths: Tokens of each row.
        batch_size: Most rows per batch.
        same_length: Put only rows of one length together, so that nothing is padded.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    groups = [list(rows) for _, rows in groupby(order, key=lengths.__getitem__)] if same_length else [order]
    return [rows[first : first + batch_size] for rows in groups for first in range(0, len(rows), batch_size)]


def collate(
    rows: Sequence[TokenRow],
    tokenizer: PreTrainedTokenizerBase,
    head: ModelHead,
    *,
    side: Literal["left", "right"],
    is_multi_label: bool = False,
) -> Batch:
    """Pad rows to one batch for a forward pass with loss.

    Args:
        rows: Rows of the batch.
        tokenizer: Gives the ids to pad with.
        head: Whether labels are classes or sequences.
        side: Where the input is padded. Labels of an encoder-decoder are always padded on the right.
        is_multi_label: Whether labels are sets of classes.

    Returns:
        `input_ids` and `attention_mask` of shape (batch, length), `labels` of shape (batch,) for classes,
        (batch, classes) and floating point for sets of them, and (batch, length) else, `token_type_ids` where the rows
        have them; on the host.
    """
    batch = collate_inputs(rows, tokenizer, side=side)
    labels = [row.labels for row in rows]
    if is_multi_label:
        batch["labels"] = torch.as_tensor(np.stack(labels), dtype=torch.float32)
    elif head == "sequence-classification":
        batch["labels"] = torch.tensor([int(own[0]) for own in labels])
    else:
        batch["labels"] = _padded(labels, IGNORED, side if head == "causal-lm" else "right")
    return batch


def collate_inputs(
    rows: Sequence[TokenRow],
    tokenizer: PreTrainedTokenizerBase,
    *,
    side: Literal["left", "right"],
    prompts: bool = False,
) -> Batch:
    """Pad the inputs of rows, without labels; with `prompts` only what stands before the target."""
    ids = [row.input_ids[: row.prompt_length] if prompts else row.input_ids for row in rows]
    batch = {
        "input_ids": _padded(ids, int(tokenizer.pad_token_id or 0), side),
        "attention_mask": _padded([np.ones(len(row), np.int32) for row in ids], 0, side),
    }
    types = [row.token_type_ids for row in rows if row.token_type_ids is not None]
    if types:
        batch["token_type_ids"] = _padded(types, tokenizer.pad_token_type_id, side)
    return batch


def _padded(rows: Sequence[Ids], value: int, side: Literal["left", "right"]) -> torch.Tensor:
    width = max(len(row) for row in rows)
    padded = torch.full((len(rows), width), value, dtype=torch.long)
    for number, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        padded[number, start : start + len(row)] = torch.as_tensor(row, dtype=torch.long)
    return padded
