"""Training batches: next token, masked tokens, corrupted spans; packed without padding where the text is plain."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer

from advisor.demo.functions import Function
from studies.demo_bases.pairs import FunctionPair
from studies.demo_bases.tokenizer import SENTINELS, SPECIAL_TOKENS

IGNORED = -100
_MAX_PAIR_TOKENS = 256
_BOS, _PAD, _EOS, _UNK, _MASK = range(len(SPECIAL_TOKENS))
_FIRST_SENTINEL = len(SPECIAL_TOKENS)
_FIRST_ORDINARY = len(SPECIAL_TOKENS) + len(SENTINELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors of one step, all of shape (rows, length); the labels' length is their own in an encoder-decoder.

    Attributes:
        kind: What the rows are made of, for losses by kind.
        input_ids: Token ids.
        attention_mask: None where no row is padded.
        labels: Token ids, `IGNORED` where nothing is to be predicted.
        token_type_ids: For pairs: 0 in the first function, 1 in the second.
        returning: For pairs: 1 where the token stands in the other function too, 0 where not, `IGNORED` elsewhere.
        related: Of shape (rows,), for pairs: 1 where one function is a rewrite of the other.
    """

    kind: str
    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    labels: torch.Tensor
    token_type_ids: torch.Tensor | None = None
    returning: torch.Tensor | None = None
    related: torch.Tensor | None = None


def packed_rows(documents: list[list[int]], *, length: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield rows of exactly `length` tokens for ever: documents shuffled, joined end to end, cut, shuffled again."""
    while True:
        order = list(range(len(documents)))
        rng.shuffle(order)
        stream = [token for index in order for token in documents[index]]
        rows = [stream[start : start + length] for start in range(0, len(stream) - length + 1, length)]
        rng.shuffle(rows)
        yield from rows


def causal_batches(
    texts: tuple[str, ...],
    functions: tuple[Function, ...],
    tokenizer: Tokenizer,
    *,
    rows: int,
    length: int,
    rng: random.Random,
) -> Iterator[Batch]:
    """Next-token batches from whole files and from functions followed by their docstring sentence as a comment."""
    documents = [[_BOS, *ids, _EOS] for ids in _encode(tokenizer, list(texts))]
    commented = [f"{item.source}\n# {item.summary}" for item in functions if item.summary]
    documents += [[_BOS, *ids, _EOS] for ids in _encode(tokenizer, commented)]
    source = packed_rows(documents, length=length, rng=rng)
    while True:
        ids = torch.tensor([next(source) for _ in range(rows)])
        yield Batch(kind="next token", input_ids=ids, attention_mask=None, labels=ids.clone())


def span_batches(
    texts: tuple[str, ...],
    functions: tuple[Function, ...],
    tokenizer: Tokenizer,
    *,
    rows: int,
    length: int,
    docstring_share: float,
    rng: random.Random,
) -> Iterator[Batch]:
    """Span-corruption batches; in a share of them the one corrupted span is the docstring's first sentence."""
    source = packed_rows([[*ids, _EOS] for ids in _encode(tokenizer, list(texts))], length=length, rng=rng)
    documented = [item for item in functions if item.summary]
    hidden = _encode(tokenizer, [_with_hidden_docstring(item.source) for item in documented])
    summaries = _encode(tokenizer, [item.summary for item in documented])
    by_length = sorted(range(len(documented)), key=lambda index: len(hidden[index]))
    while True:
        if documented and rng.random() < docstring_share:
            start = rng.randrange(max(1, len(by_length) - 4 * rows))
            chosen = by_length[start : start + 4 * rows]
            yield _padded(
                "docstring",
                [[*hidden[index], _EOS] for index in chosen],
                [[_FIRST_SENTINEL, *summaries[index], _EOS] for index in chosen],
            )
        else:
            pairs = [_corrupt_spans(next(source), rng) for _ in range(rows)]
            yield _padded("spans", [pair[0] for pair in pairs], [pair[1] for pair in pairs])


def masked_batches(
    texts: tuple[str, ...],
    pairs: list[FunctionPair],
    tokenizer: Tokenizer,
    *,
    rows: int,
    length: int,
    pair_share: float,
    rng: random.Random,
) -> Iterator[Batch]:
    """Masked-token batches; a share of them are pairs of functions, so that one half explains the other.

    Args:
        texts: Whole files, packed.
        pairs: Pairs of functions; may be empty.
        tokenizer: Shared vocabulary.
        rows: Rows of a packed batch; pair batches hold about as many tokens.
        length: Tokens of a packed row, its two frame tokens included.
        pair_share: Share of batches that are pairs.
        rng: Source of all randomness.

    Yields:
        Batches of kind "file" or "pair".
    """
    source = packed_rows([[*ids, _EOS] for ids in _encode(tokenizer, list(texts))], length=length - 2, rng=rng)
    first = _encode(tokenizer, [pair.first for pair in pairs])
    second = _encode(tokenizer, [pair.second for pair in pairs])
    rows_of_pairs = [_PairRow(a, b, int(pair.related)) for a, b, pair in zip(first, second, pairs, strict=True)]
    by_length = sorted((row for row in rows_of_pairs if len(row.ids) <= _MAX_PAIR_TOKENS), key=lambda row: len(row.ids))
    vocab_size = tokenizer.get_vocab_size()
    while True:
        if by_length and rng.random() < pair_share:
            start = rng.randrange(len(by_length))
            chosen = by_length[start : start + max(4, 2 * rows * length // len(by_length[start].ids))]
            masked = _masked("pair", [row.ids for row in chosen], probability=0.15, vocab_size=vocab_size, rng=rng)
            returning = _right_padded([row.returning for row in chosen], IGNORED)
            yield replace(
                masked,
                token_type_ids=_right_padded([row.types for row in chosen], 0),
                # A masked token cannot be looked up in the other function.
                returning=returning.masked_fill(masked.labels != IGNORED, IGNORED),
                related=torch.tensor([row.related for row in chosen]),
            )
        else:
            plain = [[_BOS, *next(source), _EOS] for _ in range(rows)]
            yield _masked("file", plain, probability=0.15, vocab_size=vocab_size, rng=rng)


class _PairRow:
    """Token ids of one pair with what the encoder is asked about it."""

    def __init__(self, first: list[int], second: list[int], related: int) -> None:
        self.ids = [_BOS, *first, _EOS, _EOS, *second, _EOS]
        self.types = [0] * (len(first) + 3) + [1] * (len(second) + 1)
        self.related = related
        in_first, in_second = set(first), set(second)
        self.returning = [
            IGNORED,
            *(int(token in in_second) for token in first),
            IGNORED,
            IGNORED,
            *(int(token in in_first) for token in second),
            IGNORED,
        ]


def _masked(kind: str, rows: list[list[int]], *, probability: float, vocab_size: int, rng: random.Random) -> Batch:
    inputs, labels = [], []
    for row in rows:
        masked, wanted = list(row), [IGNORED] * len(row)
        for position, token in enumerate(row):
            if token >= _FIRST_ORDINARY and rng.random() < probability:
                wanted[position] = token
                draw = rng.random()
                if draw < 0.8:
                    masked[position] = _MASK
                elif draw < 0.9:
                    masked[position] = rng.randrange(_FIRST_ORDINARY, vocab_size)
        inputs.append(masked)
        labels.append(wanted)
    return _padded(kind, inputs, labels)


def _corrupt_spans(row: list[int], rng: random.Random) -> tuple[list[int], list[int]]:
    """Replace 15 % of a row, in spans of three tokens on average, by sentinels (as in the T5 paper)."""
    n_noise = max(1, round(0.15 * len(row)))
    n_spans = max(1, min(len(SENTINELS), round(n_noise / 3)))
    noise = _split_into(n_noise, n_spans, rng)
    kept = _split_into(len(row) - n_noise, n_spans, rng)
    inputs: list[int] = []
    labels: list[int] = []
    position = 0
    for number, (n_kept, n_hidden) in enumerate(zip(kept, noise, strict=True)):
        inputs += [*row[position : position + n_kept], _FIRST_SENTINEL + number]
        position += n_kept
        labels += [_FIRST_SENTINEL + number, *row[position : position + n_hidden]]
        position += n_hidden
    return [*inputs, _EOS], [*labels, _EOS]


def _split_into(total: int, parts: int, rng: random.Random) -> list[int]:
    cuts = [0, *sorted(rng.sample(range(1, total), parts - 1)), total]
    return [after - before for before, after in itertools.pairwise(cuts)]


def _with_hidden_docstring(source: str) -> str:
    head, body = source.split("\n", 1)
    return f'{head}\n    """{SENTINELS[0]}"""\n{body}'


def _padded(kind: str, inputs: list[list[int]], labels: list[list[int]]) -> Batch:
    lengths = {len(row) for row in inputs}
    mask = None if len(lengths) == 1 else _right_padded([[1] * len(row) for row in inputs], 0)
    return Batch(
        kind=kind,
        input_ids=_right_padded(inputs, _PAD),
        attention_mask=mask,
        labels=_right_padded(labels, IGNORED),
    )


def _right_padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
