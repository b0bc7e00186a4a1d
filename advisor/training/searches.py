"""What a split of code search asks: its queries, the code that is searched, and which of it answers.

Every query is asked once, however many rows it stands on; a query without an answer is left out, since no metric is
defined for it. What is searched is the codebase of the dataset, or the code of all rows of the split where there is
none; code of the split that the codebase lacks is searched too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.errors import DataError
from advisor.training.answers import ranks_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Queries and what they are asked of.

    Attributes:
        queries: The first row of each query.
        codes: What is searched, as examples whose text is the code.
        relevant: For each query the positions of its answers in `codes`.
    """

    queries: tuple[Example, ...]
    codes: tuple[Example, ...]
    relevant: tuple[frozenset[int], ...]

    @property
    def expected(self) -> list[str]:
        """The best that can be said of each query, as `answers` writes it: its answers at the first ranks."""
        return [ranks_text(range(1, len(found) + 1)) for found in self.relevant]

    def only(self, numbers: Sequence[int]) -> "Search":
        """Return the search with some of the queries; all code is still searched."""
        return Search(
            queries=tuple(self.queries[number] for number in numbers),
            codes=self.codes,
            relevant=tuple(self.relevant[number] for number in numbers),
        )


def answers_of(examples: Iterable[Example]) -> tuple[Example, ...]:
    """Return the rows whose code answers the query: what is learned."""
    return tuple(example for example in examples if example.target == "1")


def search_of(examples: Sequence[Example], codebase: Sequence[Code] = ()) -> Search:
    """Return the search of a split.

    Args:
        examples: All rows of the split.
        codebase: Of the dataset; empty where it has none.

    Raises:
        DataError: No row is an answer.
    """
    places: dict[tuple[str, str], int] = {}  # ("id" or "text", which) -> position
    codes: list[Example] = []

    def place(code: str, code_id: str | None) -> int:
        key = ("text", code) if code_id is None else ("id", code_id)
        if key not in places:
            places[key] = len(codes)
            places.setdefault(("text", code), len(codes))
            codes.append(Example(example_id=code_id or str(len(codes)), text=code, text_pair=None, target=""))
        return places[key]

    for entry in codebase:
        place(entry.code, entry.code_id)
    first: dict[str, Example] = {}
    relevant: dict[str, set[int]] = {}
    for example in examples:
        number = place(example.text_pair or "", example.code_id)
        if example.target == "1":
            first.setdefault(example.text, example)
            relevant.setdefault(example.text, set()).add(number)
    if not first:
        raise DataError("code search: no row of a split is an answer (label 1): there is nothing to find")
    return Search(
        queries=tuple(first.values()),
        codes=tuple(codes),
        relevant=tuple(frozenset(relevant[query]) for query in first),
    )
