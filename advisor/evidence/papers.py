"""The papers and documentation sources of `knowledge/papers.jsonl` as records."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from advisor.catalog.files import read_rows

Caveat = Literal["one-learning-rate", "unfrozen-base", "unparsable-output", "search-stage", "out-of-distribution"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper or documentation source; `short` is what a citation shows, such as "Weyssow 2023"."""

    key: str
    short: str
    title: str
    authors: tuple[str, ...]
    year: int | None
    venue: str | None
    url: str
    in_slr: bool
    caveats: tuple[Caveat, ...] = ()


@cache
def read_papers() -> Mapping[str, Paper]:
    """Return all papers by key."""
    return {row["key"]: _paper(row) for row in read_rows("papers.jsonl")}


def _paper(row: Mapping[str, Any]) -> Paper:
    return Paper(
        key=row["key"], short=row["short"], title=row["title"], authors=tuple(row.get("authors") or ()),
        year=row.get("year"), venue=row.get("venue"), url=row.get("url") or "", in_slr=row["in_slr"] is True,
        caveats=tuple(row["caveats"]),
    )  # fmt: skip
