"""Functions with the first sentence of their docstring, for code summarization.

Not covered: whole docstrings, and sentences that need the rest of the file to be written.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from advisor.demo.functions import Function


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryExample:
    """A function without its docstring, and the sentence that described it."""

    source: str
    target: str


def make_examples(functions: Iterable[Function], *, n_examples: int, seen: set[str]) -> list[SummaryExample]:
    """Keep functions whose docstring opens with a usable sentence.

    Args:
        functions: Functions of one split; no more are drawn than it takes.
        n_examples: Number of examples wanted.
        seen: Sentences that were met already, in lower case; grows, so that no sentence comes twice.

    Returns:
        `n_examples` examples, or as many as the functions yield.
    """
    examples: list[SummaryExample] = []
    if n_examples <= 0:
        return examples
    for function in functions:
        sentence = function.summary.lower()
        if not sentence or sentence in seen:
            continue
        seen.add(sentence)
        examples.append(SummaryExample(source=function.source, target=function.summary))
        if len(examples) == n_examples:
            break
    return examples
