"""Read and query what is published.

`rows` and `papers` are the records; `contests`, `standings`, `settings` and `base_model_rating` compare them inside
comparable set-ups; `build` keeps the outcome in `knowledge/`, where `digest` and `base_model_strength` read it. The
names below are loaded on first use: `recommend` needs the digests only.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advisor.evidence.papers import Paper, read_papers
    from advisor.evidence.rows import EvidenceRow, Source, find_rows, read_evidence

__all__ = ["EvidenceRow", "Paper", "Source", "find_rows", "read_evidence", "read_papers"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'advisor.evidence' has no attribute {name!r}")
    home = "papers" if name in ("Paper", "read_papers") else "rows"
    return getattr(import_module(f"advisor.evidence.{home}"), name)
