"""Examples as token ids: tokenized once per split, cut to the lengths that a candidate asks for.

Text from a dataset is text: strings such as "</s>" or "<|endoftext|>" inside it do not become control tokens.

- Classification: the tokenizer's own frame around one text or a pair; the longer of a pair is cut first.
  Decoders, whose tokenizers put nothing between the two, get a blank line there.
- Causal language models: prompt, source, mark, target, end token; the loss is taken on target and end token.
  A long source loses its beginning; a target longer than the task allows loses its end (and the end token).
- Encoder-decoders: source and target, each in the tokenizer's own frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from advisor.catalog.tasks import Head, Task
from advisor.errors import InputError
from advisor.modeling.quiet import quiet_libraries
from advisor.training.examples import Example
from advisor.training.prompts import prompt_of

Ids = NDArray[np.int32]
IGNORED = -100  # label that PyTorch's cross entropy leaves out
_LEAST_SOURCE_TOKENS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How many tokens are kept.

    Attributes:
        source: Most tokens of the source (pair), special tokens included for encoders and classifiers.
        target: Most tokens of the target, 0 for classification.
    """

    source: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """One example ready for a batch.

    Attributes:
        input_ids: What the model reads; for a causal language model prompt and target together.
        labels: Class id (one element), target ids, or for a causal language model `IGNORED` over the prompt.
        prompt_length: Tokens before the target in `input_ids`; all of them where the target stands apart.
        token_type_ids: Segment ids for tokenizers that have them (BERT), else None.
    """

    input_ids: Ids
    labels: Ids
    prompt_length: int
    token_type_ids: Ids | None = None

    @property
    def units(self) -> int:
        """What the model's mean loss is a mean over: target tokens, or 1 for a class."""
        return int((self.labels != IGNORED).sum())


@dataclass(slots=True, kw_only=True)
class TokenizedSplit:
    """Rows of one split at certain lengths, and how long the sources were before they were cut."""

    rows: list[TokenRow]
    source_lengths: list[int]
    limit: int

    @property
    def truncated(self) -> int:
        """Rows whose source was cut."""
        return sum(length > self.limit for length in self.source_lengths)

    @property
    def median_tokens(self) -> float:
        """Median length of the sources before they were cut, in tokens."""
        return float(np.median(self.source_lengths))


def lengths_for(
    task: Task, head: Head, *, max_seq_length: int, max_positions: int | None, virtual_tokens: int, frame: int
) -> Lengths:
    """Return the lengths that fit into a model.

    Args:
        task: Gives the length of targets.
        head: A causal language model has source and target in one row.
        max_seq_length: Source tokens that the candidate wants.
        max_positions: Positions that the model has, None for no limit.
        virtual_tokens: Positions that the adapter takes.
        frame: Tokens around the source in a causal language model's row, end token included.

    Raises:
        InputError: Not even a few source tokens would fit.
    """
    source, target = max_seq_length, task.max_target_length
    if max_positions is not None:
        room = max_positions - virtual_tokens
        if head == "causal-lm":
            room -= target + frame
        source = min(source, room)
    if source < _LEAST_SOURCE_TOKENS:
        raise InputError(
            f"only {source} source tokens would fit: the model has {max_positions} positions, of which the adapter"
            f" takes {virtual_tokens} and a target of {task.slug} up to {target}"
        )
    return Lengths(source=source, target=target)


@dataclass(slots=True)
class Tokenizing:
    """Tokenizes the examples of one split for one tokenizer and head; remembers what it did.

    Attributes:
        tokenizer: Of the base model.
        task: Of the examples.
        head: Decides how a row is put together.
        label_names: Classes in the order of their ids; empty for generation.
    """

    tokenizer: PreTrainedTokenizerBase
    task: Task
    head: Head
    label_names: tuple[str, ...]
    _whole: dict[str, list[Ids]] = field(default_factory=dict)
    _cut: dict[tuple[str, Lengths], TokenizedSplit] = field(default_factory=dict)

    @property
    def frame(self) -> int:
        """Tokens around source and target in a causal language model's row."""
        return sum(map(len, self._prompt_parts())) + 1

    def split(self, name: str, examples: Sequence[Example], lengths: Lengths) -> TokenizedSplit:
        """Return the rows of a split, tokenized at most once per length.

        Args:
            name: Key under which the examples are remembered.
            examples: All examples of that split.
            lengths: How many tokens to keep.
        """
        key = name, lengths
        if key not in self._cut:
            with quiet_libraries():  # tokenizers warn of every row that is longer than the model
                build = {
                    "sequence-classification": self._classification,
                    "causal-lm": self._causal,
                    "seq2seq-lm": self._seq2seq,
                }[self.head]
                self._cut[key] = build(name, examples, lengths)
        return self._cut[key]

    def _classification(self, name: str, examples: Sequence[Example], lengths: Lengths) -> TokenizedSplit:
        texts = [example.text for example in examples]
        pairs = None
        if examples and examples[0].text_pair is not None:
            between = "" if self._separates_pairs() else "\n\n"
            pairs = [f"{between}{example.text_pair}" for example in examples]
        whole = self.tokenizer(texts, pairs, split_special_tokens=True)
        too_long = [number for number, ids in enumerate(whole["input_ids"]) if len(ids) > lengths.source]
        source_lengths = [len(ids) for ids in whole["input_ids"]]
        if too_long:
            cut = self.tokenizer(
                [texts[number] for number in too_long],
                [pairs[number] for number in too_long] if pairs else None,
                truncation="longest_first" if pairs else "only_first",
                max_length=lengths.source,
                split_special_tokens=True,
            )
            for column in whole:
                for number, ids in zip(too_long, cut[column], strict=True):
                    whole[column][number] = ids
        class_ids = {label: number for number, label in enumerate(self.label_names)}
        types = whole.get("token_type_ids")
        rows = [
            TokenRow(
                input_ids=_ids(ids),
                labels=_ids([class_ids[example.target]]),
                prompt_length=len(ids),
                token_type_ids=_ids(types[number]) if types else None,
            )
            for number, (ids, example) in enumerate(zip(whole["input_ids"], examples, strict=True))
        ]
        return TokenizedSplit(rows=rows, source_lengths=source_lengths, limit=lengths.source)

    def _causal(self, name: str, examples: Sequence[Example], lengths: Lengths) -> TokenizedSplit:
        before, after = self._prompt_parts()
        sources = self._plain(f"{name} sources", [example.text for example in examples])
        targets = self._plain(f"{name} targets", [example.target for example in examples])
        end = self.tokenizer.eos_token_id
        rows = []
        for source, target in zip(sources, targets, strict=True):
            prompt = np.concatenate([before, source[max(0, len(source) - lengths.source) :], after])
            kept = target[: lengths.target]
            answer = kept if len(target) > lengths.target or end is None else np.append(kept, np.int32(end))
            rows.append(
                TokenRow(
                    input_ids=np.concatenate([prompt, answer]),
                    labels=np.concatenate([np.full(len(prompt), IGNORED, np.int32), answer]),
                    prompt_length=len(prompt),
                )
            )
        return TokenizedSplit(rows=rows, source_lengths=[len(source) for source in sources], limit=lengths.source)

    def _seq2seq(self, name: str, examples: Sequence[Example], lengths: Lengths) -> TokenizedSplit:
        texts = [example.text for example in examples]
        targets = [example.target for example in examples]
        limits = {"truncation": True, "split_special_tokens": True, "padding": False}
        sources = self.tokenizer(texts, max_length=lengths.source, **limits)["input_ids"]
        labels = self.tokenizer(text_target=targets, max_length=lengths.target, **limits)["input_ids"]
        long = [number for number, ids in enumerate(sources) if len(ids) >= lengths.source]
        source_lengths = [len(ids) for ids in sources]
        for number in long:
            source_lengths[number] = len(self.tokenizer(texts[number], split_special_tokens=True)["input_ids"])
        rows = [
            TokenRow(input_ids=_ids(source), labels=_ids(target), prompt_length=len(source))
            for source, target in zip(sources, labels, strict=True)
        ]
        return TokenizedSplit(rows=rows, source_lengths=source_lengths, limit=lengths.source)

    def _plain(self, key: str, texts: list[str]) -> list[Ids]:
        """Return ids without any special token; remembered, since lengths are cut afterwards."""
        if key not in self._whole:
            ids = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            self._whole[key] = [_ids(row) for row in ids]
        return self._whole[key]

    def _prompt_parts(self) -> tuple[Ids, Ids]:
        """Return ids before and after the source, with the token that the tokenizer starts every text with."""
        prompt = prompt_of(self.task)
        ends = (self.tokenizer.eos_token_id, self.tokenizer.sep_token_id)
        start = [number for number in self.tokenizer("")["input_ids"] if number not in ends]
        before = self.tokenizer(prompt.before, add_special_tokens=False)["input_ids"] if prompt.before else []
        after = self.tokenizer(prompt.after, add_special_tokens=False)["input_ids"]
        return _ids([*start, *before]), _ids(after)

    def _separates_pairs(self) -> bool:
        tokenizer = self.tokenizer
        return tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add(pair=False)


def _ids(values: Sequence[int]) -> Ids:
    return np.asarray(values, dtype=np.int32)
