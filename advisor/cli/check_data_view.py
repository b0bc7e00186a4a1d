"""How `check-data` shows a report to people: a table of the splits, then what was found, the worst first."""
# ruff: noqa: TID253

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from advisor.data.findings import DataReport, Finding, Overlap, Severity, SplitFacts
from advisor.errors import printable

_WORDS: dict[Severity, tuple[str, str]] = {
    "error": ("error", "red"),
    "warning": ("warning", "yellow"),
    "note": ("note", "cyan"),
}
_MAX_LABELS = 4


def show_report(report: DataReport) -> None:
    """Print a report on stdout."""
    if report.splits:
        Console(highlight=False).print(_table(report))
    for line in report.changes:
        click.echo(f"done     {_visible(line)}")
    for finding in report.findings:
        _show(finding)
    for line in report.not_done:
        click.echo(f"not done {_visible(line)}")
    click.echo(f"\n{', '.join(_counted(len(report.messages(severity)), severity) for severity in _WORDS)}")


def _counted(n: int, severity: Severity) -> str:
    return f"{n} {severity}{'' if n == 1 else 's'}"


def _table(report: DataReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("split")
    for title in ("rows", "repeated", "near", "in train", "near train", "tokens", "cut"):
        table.add_column(title, justify="right")
    table.add_column("labels")
    overlaps = {overlap.split: overlap for overlap in report.overlaps if overlap.against == "train"}
    for split, facts in report.splits.items():
        cells = _cells(split, facts, overlaps.get(split))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _cells(split: str, facts: SplitFacts, overlap: Overlap | None) -> tuple[str, ...]:
    source = next((lengths for lengths in facts.token_lengths if lengths.text == "source"), None)
    return (
        split,
        str(facts.n_examples),
        str(facts.n_repeated),
        _count(facts.n_near),
        _count(overlap.n_exact if overlap else None),
        _count(overlap.n_near if overlap else None),
        f"{source.p50} / {source.p95}" if source else "-",
        f"{source.share_over:.1%}" if source else "-",
        _labels(facts),
    )


def _count(n: int | None) -> str:
    return "-" if n is None else str(n)


def _labels(facts: SplitFacts) -> str:
    if not facts.label_counts:
        return "-"
    most = sorted(facts.label_counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{printable(name, 20)} {n}" for name, n in most[:_MAX_LABELS])
    return f"{shown}, ... ({len(most)})" if len(most) > _MAX_LABELS else shown


def _show(finding: Finding) -> None:
    word, colour = _WORDS[finding.severity]
    places = f" [{', '.join(finding.places)}]" if finding.places else ""
    click.echo(click.style(f"{word:<8}", fg=colour) + f" {_visible(finding.message + places)}")


def _visible(text: str) -> str:
    """Escape what a terminal would act on; paths may hold anything."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
