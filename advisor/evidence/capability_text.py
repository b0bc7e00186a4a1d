"""Published benchmark figures of base models as plain text, by the comparable group that `recommend` names."""

from collections import defaultdict
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from advisor.catalog.files import read_rows

FILE = "capabilities.jsonl"
# What a reason adds to the name of a group whose figures are those of an instruction-tuned sibling.
_SIBLING = " (instruction-tuned sibling)"


def groups() -> frozenset[str]:
    """Return the names of all comparable groups."""
    return frozenset(row["comparable_group"] for row in read_rows(FILE))


def figures_of(name: str) -> list[dict[str, Any]]:
    """Return the figures of a comparable group as they stand in the file; none where there is no such group."""
    return [row for row in read_rows(FILE) if row["comparable_group"] == name.removesuffix(_SIBLING)]


def render_group(name: str, width: int = 88) -> str:
    """Return the figures of a group, one line per base model and regime under each benchmark, then the sources.

    Args:
        name: Of the comparable group.
        width: Columns to wrap at.
    """
    rows = figures_of(name)
    benchmarks: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        benchmarks[row["benchmark"], row["metric"]].append(row)
    lines = [f"{name}: {len(rows)} figures of base models, measured alike"]
    for (benchmark, metric), figures in sorted(benchmarks.items()):
        lines += ["", f"{benchmark} ({metric})"]
        lines += _figures(figures)
    lines += ["", "Sources", *_sources(rows, width)]
    return "\n".join(lines) + "\n"


def _figures(figures: list[dict[str, Any]]) -> Iterator[str]:
    ordered = sorted(figures, key=lambda row: row["value"] * (-1 if row["higher_is_better"] else 1))
    for row in ordered:
        sibling = f", measured on {row['variant']}" if row.get("variant") else ""
        yield f"  {row['value']:<8g} {row['hf_id']} ({row['regime']}{sibling})"


def _sources(rows: list[dict[str, Any]], width: int) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        source = row["source"]
        seen.setdefault((source.get("url") or source.get("repo_path"), source["locator"]), source.get("excerpt", ""))
    for (where, locator), excerpt in seen.items():
        text = f"{where}, {locator}" + (f': "{excerpt}"' if excerpt else "")
        yield from wrap(
            " ".join(text.split()), width=width, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
