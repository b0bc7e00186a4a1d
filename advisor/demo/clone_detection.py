"""Pairs of functions for clone detection: does the second do the same as the first?

A positive pair is a function and a rewrite of it. A negative pair is a function and a rewrite of *another* function of
the same package that looks much like it. Both second sides are rewritten in the same way and all functions carry the
same name, so that neither the rewriting nor the name says anything about the label.

Not covered: clones written independently of each other, and clones across programming languages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from advisor.demo.functions import Function
from advisor.demo.rewrites import rewritten

MAX_PAIR_CHARACTERS = 420
_NEUTRAL_NAME = "function"
_N_CANDIDATES = 200
_N_CLOSEST = 1
_MIN_PACKAGE_FUNCTIONS = 4
_TOO_ALIKE = 0.9
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonePair:
    """Two functions in source text, and 1 where they do the same, 0 otherwise."""

    code1: str
    code2: str
    label: int


def make_pairs(functions: Sequence[Function], *, n_pairs: int, rng: Random) -> list[ClonePair]:
    """Pair functions up, half of the pairs positive.

    Args:
        functions: Functions of one split, no two alike; each is the first of at most one pair.
        n_pairs: Number of pairs wanted.
        rng: Source of all randomness.

    Returns:
        An even number of pairs in random order, `n_pairs` or as many as the functions yield.
    """
    by_package: dict[str, list[_Side]] = {}
    for function in functions:
        side = _side(function)
        if side is not None:
            by_package.setdefault(function.package, []).append(side)
    anchors = [side for sides in by_package.values() if len(sides) >= _MIN_PACKAGE_FUNCTIONS for side in sides]
    rng.shuffle(anchors)
    made: dict[int, list[ClonePair]] = {0: [], 1: []}
    for anchor in anchors:
        # Whichever label lags behind comes next; when one fails for this function the other may still work.
        label = 0 if len(made[0]) < len(made[1]) else 1
        if len(made[label]) >= n_pairs // 2:
            break
        other = anchor if label else _lookalike(anchor, by_package[anchor.package], rng)
        if other is not None:
            made[label] += _pair(anchor, other, label, rng)
    n_each = min(len(made[0]), len(made[1]))
    pairs = made[0][:n_each] + made[1][:n_each]
    rng.shuffle(pairs)
    return pairs


def word_overlap(first: str, second: str) -> float:
    """Jaccard overlap of the words (identifiers, keywords, numbers) of two texts, from 0 to 1."""
    return _overlap(frozenset(_WORD.findall(first)), frozenset(_WORD.findall(second)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    package: str
    source: str
    words: frozenset[str]
    canonical_words: frozenset[str]


def _side(function: Function) -> _Side | None:
    head = f"def {function.name}("
    rest = function.source.removeprefix(head)
    if rest == function.source or re.search(rf"(?<![\w.]){function.name}\b", rest):
        return None  # A function that calls itself cannot take the neutral name without a closer look.
    source = f"def {_NEUTRAL_NAME}({rest}"
    return _Side(
        package=function.package,
        source=source,
        words=frozenset(_WORD.findall(source)),
        canonical_words=frozenset(_WORD.findall(function.normalised)),
    )


def _lookalike(anchor: _Side, others: list[_Side], rng: Random) -> _Side | None:
    candidates = [
        other
        for other in rng.sample(others, min(_N_CANDIDATES, len(others)))
        if other is not anchor
        and 0.6 < len(other.source) / len(anchor.source) < 1.67
        and _overlap(other.canonical_words, anchor.canonical_words) < _TOO_ALIKE
    ]
    closest = sorted(candidates, key=lambda other: _overlap(other.words, anchor.words), reverse=True)[:_N_CLOSEST]
    return rng.choice(closest) if closest else None


def _pair(anchor: _Side, other: _Side, label: int, rng: Random) -> list[ClonePair]:
    second = rewritten(other.source, rng)
    if second == other.source:
        return []
    codes = [anchor.source, second]
    if rng.random() < 0.5:
        codes.reverse()
    return [ClonePair(code1=codes[0], code2=codes[1], label=label)]


def _overlap(first: frozenset[str], second: frozenset[str]) -> float:
    union = len(first | second)
    return len(first & second) / union if union else 1.0
