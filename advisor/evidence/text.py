"""Rows of evidence as plain text."""

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap

from advisor.catalog.tasks import TASKS
from advisor.evidence.papers import Paper, read_papers
from advisor.evidence.rows import CAVEAT_NOTES, EvidenceRow


def render_rows(rows: Iterable[EvidenceRow], width: int = 88) -> str:
    """Return each row with finding, value, source and what is wrong with it."""
    papers = read_papers()
    return "\n".join("\n".join(_row(row, papers[row.paper], width)) + "\n" for row in rows)


def render_tasks(counts: Mapping[str, int]) -> str:
    """Return one line per task: slug, number of rows, title, whether `tune` offers it."""
    size = max(len(slug) for slug in counts)
    lines = []
    for slug, count in counts.items():
        task = TASKS.get(slug)
        title = task.title if task else "Language tasks and tools' own advice"
        note = "" if task is None or task.tunable else " (not tunable yet)"
        lines.append(f"{slug:<{size}}  {count or 'no':>4} {'row' if count == 1 else 'rows'}  {title}{note}")
    return "\n".join(lines) + "\n"


def _row(row: EvidenceRow, paper: Paper, width: int) -> Iterator[str]:
    about = [row.task, row.kind, row.method, row.model or row.hf_id, row.dataset, row.language]
    yield row.id
    yield from _wrapped(" | ".join(part for part in about if part), width)
    yield from _wrapped(row.finding, width)
    if row.value is not None and row.metric:
        full = f", full fine-tuning {row.baseline_full:g}" if row.baseline_full is not None else ""
        better = "" if row.higher_is_better else ", lower is better"
        yield from _wrapped(f"{row.metric}: {row.value:g}{full}{better}", width)
    if row.hyperparameters:
        yield from _wrapped(", ".join(f"{name} {_said(value)}" for name, value in row.hyperparameters.items()), width)
    for caveat in dict.fromkeys((*row.caveats, *paper.caveats)):
        yield from _wrapped(f"caution: {CAVEAT_NOTES[caveat]}", width)
    where = f"{paper.short}, {paper.title}" + (f", {paper.venue}" if paper.venue else "")
    yield from _wrapped(f"{where} (seen: {row.source.seen})", width)
    yield from _wrapped(f"{row.source.url} at {row.source.locator}", width)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(
        " ".join(text.split()), width=width, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
