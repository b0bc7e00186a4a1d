"""Rows that are the same: equal inputs but for white space, within a split and across splits.

How much white space stands between two words, and which, does not matter; whether any does, matters. The input is the
source, the code, or both texts of a pair; the two of a clone pair may change places, query and code of a search pair
may not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from advisor.catalog.tasks import Task
from advisor.data.examples import Example
from advisor.trial import Split

# (split that should be new, split that it must not repeat)
COMPARED: tuple[tuple[Split, Split], ...] = (("test", "train"), ("valid", "train"), ("test", "valid"))


def text_key(text: str) -> bytes:
    """Return 16 bytes that are equal for texts that are equal but for white space (128 bits: no chance collisions)."""
    return blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def input_key(example: Example, task: Task) -> bytes:
    """Return 16 bytes that are equal for examples with the same input."""
    if example.text_pair is None:
        return text_key(example.text)
    keys = [_key_of_pair(example.text), _key_of_pair(example.text_pair)]
    return blake2b(b"".join(sorted(keys) if task.form == "pair" else keys), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of all splits, each distinct one numbered in the order of train, valid, test.

    Attributes:
        numbers: For every row of a split, the number of its input.
        samples: For every number, the first example that has that input.
    """

    numbers: Mapping[Split, Sequence[int]]
    samples: Sequence[Example]

    @classmethod
    def of(cls, splits: Mapping[Split, Sequence[Example]], task: Task) -> "Inputs":
        """Number the inputs of some splits."""
        known: dict[bytes, int] = {}
        samples: list[Example] = []
        numbers: dict[Split, list[int]] = {}
        for split, examples in splits.items():
            numbers[split] = []
            for example in examples:
                number = known.setdefault(input_key(example, task), len(samples))
                if number == len(samples):
                    samples.append(example)
                numbers[split].append(number)
        return cls(numbers=numbers, samples=samples)

    def repeated(self, split: Split) -> list[int]:
        """Return the rows of a split whose input stood on an earlier row of it."""
        seen: set[int] = set()
        rows = []
        for row, number in enumerate(self.numbers[split]):
            if number in seen:
                rows.append(row)
            seen.add(number)
        return rows

    def shared(self, split: Split, against: Split) -> list[int]:
        """Return the rows of a split whose input stands in another one."""
        known = set(self.numbers[against])
        return [row for row, number in enumerate(self.numbers[split]) if number in known]


def answers_by_input(numbers: Sequence[int], examples: Sequence[Example]) -> dict[int, set[str]]:
    """Return the targets of each input of one split."""
    found: dict[int, set[str]] = {}
    for number, example in zip(numbers, examples, strict=True):
        found.setdefault(number, set()).add(example.target)
    return found


def known_pairs(pairs: Sequence[Example], against: Sequence[Example]) -> list[int]:
    """Return the rows of pairs whose two texts both stand somewhere in another split, together or not."""
    known = {_key_of_pair(text) for example in against for text in (example.text, example.text_pair or "")}
    return [
        row
        for row, example in enumerate(pairs)
        if _key_of_pair(example.text) in known and _key_of_pair(example.text_pair or "") in known
    ]


@lru_cache(maxsize=20_000)  # very many pairs are made of few functions
def _key_of_pair(text: str) -> bytes:
    return text_key(text)
