"""Pairs of functions for the encoder: a function beside a rewrite of it, or beside a rewrite of another one."""

import random
from dataclasses import dataclass

from advisor.demo.functions import Function
from advisor.demo.rewrites import rewritten

_RELATED_SHARE = 0.5
_SAME_FILE_SHARE = 0.5
_MAX_CHARACTERS = 420


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPair:
    """Two functions in source text, and whether the one is a rewrite of the other."""

    first: str
    second: str
    related: bool


def make_function_pairs(functions: tuple[Function, ...], *, n_rewrites: int, rng: random.Random) -> list[FunctionPair]:
    """Pair every function up several times.

    Args:
        functions: Functions of one split of the corpus; their `package` is the file they stand in.
        n_rewrites: Pairs that each function is the first of.
        rng: Source of all randomness.

    Returns:
        Pairs, half of them related; of the others half come from one file.
    """
    short = [item for item in functions if len(item.source) <= _MAX_CHARACTERS]
    by_file: dict[str, list[Function]] = {}
    for item in short:
        by_file.setdefault(item.package, []).append(item)
    pairs: list[FunctionPair] = []
    for item in short * n_rewrites:
        other = item
        if rng.random() >= _RELATED_SHARE:
            other = rng.choice(by_file[item.package] if rng.random() < _SAME_FILE_SHARE else short)
        sides = [_unnamed(item.source, item.name), _unnamed(rewritten(other.source, rng), other.name)]
        rng.shuffle(sides)
        pairs.append(FunctionPair(first=sides[0], second=sides[1], related=other is item))
    return pairs


def _unnamed(source: str, name: str) -> str:
    """The name alone would tell which pairs are related."""
    return source.replace(f"def {name}(", "def function(", 1)
