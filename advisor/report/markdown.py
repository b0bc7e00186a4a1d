"""The Markdown report: the same content as the HTML page in text and tables, without any HTML.

Text from outside is escaped so that it can become neither markup, nor a link, nor the end of a table or code block.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from advisor.report.cost import Cost
from advisor.report.data_section import DataSection, ShownFinding
from advisor.report.examples import Example, Examples
from advisor.report.formatting import NONE, visible
from advisor.report.memory import Memory
from advisor.report.page import Page, Recommended
from advisor.report.reasons import Citation
from advisor.report.tables import Fact, Table
from advisor.report.trade_offs import TradeOffsPart

_ACTIVE = re.compile(r"([\\`*_\[\]<>#|~&$@])")
# A list item, a rule, or the underline of a heading.
_STARTS_BLOCK = re.compile(r"^([-+](?= |$)|[-=](?=[-= ]*$)|\d+(?=[.)]( |$)))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A drawing that stands in a file beside the page.

    Attributes:
        path: As seen from the page.
        alt: What it shows.
    """

    path: str
    alt: str


def render_markdown(page: Page, images: Mapping[str, Image] | None = None) -> str:
    """Return the report as Markdown (CommonMark with tables).

    Args:
        page: What it says.
        images: Drawings by what they show: "differences", "memory", or the name of a chart of the page.
    """
    blocks = [block for part in _parts(page, images or {}) for block in part]
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Escape text for a line of Markdown: nothing in it is markup, a link or an address that is linked by itself."""
    line = " ".join(visible(text).split())
    line = _ACTIVE.sub(r"\\\1", line)
    line = re.sub(r"(?i)(https?|ftp|mailto|javascript|data|www)([:.])", r"\1\\\2", line)
    return _STARTS_BLOCK.sub(lambda m: f"{m[1]}\\" if m[1].isdigit() else f"\\{m[1]}", line)


def code_span(text: str) -> str:
    """Return text as inline code, fenced longer than any backticks in it."""
    line = " ".join(visible(text).split())
    if not line:
        return NONE
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def code_block(text: str, language: str = "") -> str:
    """Return text as a fenced block, fenced longer than any backticks in it."""
    shown = visible(text)
    longest = max((len(run) for run in re.findall("`{3,}", shown)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def link(text: str, url: str) -> str:
    """Return a link to a source; the address is percent-encoded where Markdown would end it."""
    safe = re.sub(r"[\s<>()\[\]\\`|]", lambda m: f"%{ord(m[0]):02X}", visible(url))
    return f"[{escaped(text)}](<{safe}>)"


def markdown_table(table: Table) -> str:
    """Return a table, its caption in italics above it."""
    kinds = [column.kind for column in table.columns]
    rule = ["---:" if kind in ("number", "interval") else "---" for kind in kinds]
    lines = [_row(escaped(column.title) for column in table.columns), _row(rule)]
    for row in table.rows:
        cells = [_cell(text, kind) for text, kind in zip(row.cells, kinds, strict=True)]
        lines.append(_row(f"**{c}**" if row.strong and i == 0 and c else c for i, c in enumerate(cells)))
    return f"*{escaped(table.caption)}*\n\n" + "\n".join(lines)


def _cell(text: str, kind: str) -> str:
    # Renderers disagree on how to write a pipe inside code inside a table.
    return code_span(text) if kind == "code" and text != NONE and "|" not in text else escaped(text)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def fact_list(facts: Iterable[Fact]) -> str:
    """Return names and values as a list."""
    return _bullets(f"{escaped(f.name)}: {code_span(f.value) if f.code else escaped(f.value)}" for f in facts)


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _parts(page: Page, images: Mapping[str, Image]) -> Iterator[list[str]]:
    yield [
        f"# {escaped(page.verdict.headline)}",
        f"*{escaped(page.task)}*",
        escaped(page.verdict.sentence),
        escaped(page.verdict.advice),
        escaped(page.stamp),
    ]
    yield ["## What to run now", escaped(page.next.text), code_block(page.next.command, "sh")] if page.next else []
    yield _result(page, images)
    yield _trade_offs(page.trade_offs)
    yield ["## What was asked", fact_list(page.asked)]
    yield _data(page.data)
    yield ["## What was recommended, and why", *_recommended(page.recommended)]
    yield ["## Memory", *_memory(page.memory, images)]
    yield _tried(page, images)
    yield _importance(page)
    yield _cost(page.cost)
    yield _examples(page.examples)
    yield ["## Reload check", escaped(page.reload_check)] if page.reload_check else []
    yield ["## What this run does not show", _bullets(escaped(limit) for limit in page.limits)]
    yield _again(page)


def _image(images: Mapping[str, Image], name: str) -> list[str]:
    """Return a drawing as a block, nothing where there is none."""
    return [f"![{escaped(images[name].alt)}](<{images[name].path}>)"] if name in images else []


def _result(page: Page, images: Mapping[str, Image]) -> list[str]:
    blocks = ["## Result on the test split", markdown_table(page.comparison)] if page.comparison else []
    blocks += _image(images, "differences")
    blocks += [fact_list(page.baselines)] if page.baselines else []
    blocks += [escaped(page.interval_note)] if page.interval_note else []
    blocks += [markdown_table(page.metrics)] if page.metrics else []
    blocks += [escaped(page.metrics_note)] if page.metrics_note else []
    blocks += [markdown_table(page.test_seeds)] if page.test_seeds else []
    if page.loading:
        blocks += ["## Load the adapter", *([escaped(page.adapter_note)] if page.adapter_note else [])]
        blocks.append(code_block(page.loading, "python"))
    return blocks


def _trade_offs(part: TradeOffsPart | None) -> list[str]:
    if part is None:
        return []
    return ["## Trade-offs", escaped(part.summary), markdown_table(part.table), *map(escaped, part.notes)]


def _data(data: DataSection) -> list[str]:
    blocks = ["## Data", escaped(data.summary)]
    blocks += [_bullets(map(_finding, data.findings))] if data.findings else []
    blocks += ["Warnings:", _bullets(map(escaped, data.warnings))] if data.warnings else []
    blocks += [markdown_table(table) for table in (data.splits, data.lengths, data.repetition) if table]
    blocks += ["Done to the rows before:", _bullets(map(escaped, data.changes))] if data.changes else []
    return blocks + (["Not checked:", _bullets(map(escaped, data.not_done))] if data.not_done else [])


def _finding(finding: ShownFinding) -> str:
    places = f" (such as {escaped(finding.places)})" if finding.places else ""
    return f"**{finding.severity}**: {escaped(finding.message)}{places}"


def _recommended(recommended: Recommended | None) -> list[str]:
    if recommended is None:
        return ["The recommendation holds no candidate."]
    blocks = [escaped(recommended.summary), f"Confidence: **{escaped(recommended.confidence)}**"]
    for reason in recommended.reasons:
        blocks += [f"### {escaped(reason.choice)}", escaped(reason.text)]
        blocks.append(_bullets(_citation(c) for c in reason.citations) or "No published evidence stands behind this.")
        if reason.contrary:
            blocks += ["Against it:", _bullets(_citation(c) for c in reason.contrary)]
    blocks += ["### Recommended configuration", fact_list(recommended.configuration)]
    blocks += [markdown_table(table) for table in (recommended.runners_up, recommended.rejected) if table]
    return blocks


def _citation(citation: Citation) -> str:
    paper = link(citation.paper, citation.url) if citation.url else escaped(citation.paper)
    said = [escaped(citation.finding), code_span(citation.figure) if citation.figure else ""]
    source = [paper, escaped(citation.locator)]
    source += [f"{name}: {escaped(text)}" for name, text in _notes(citation) if text]
    excerpt = f" — {escaped(citation.excerpt)}" if citation.excerpt else ""
    return f"{' '.join(filter(None, said))} ({', '.join(filter(None, source))}; {code_span(citation.id)}){excerpt}"


def _notes(citation: Citation) -> list[tuple[str, str]]:
    return [("seen", citation.seen), ("with", citation.setting), ("caution", citation.caveats)]


def _memory(memory: Memory, images: Mapping[str, Image]) -> list[str]:
    blocks = [escaped(note) for note in memory.notes]
    if memory.budget is not None:
        blocks.append(f"Budget: {escaped(memory.budget)}.")
    blocks += _image(images, "memory")
    return blocks + ([markdown_table(memory.table)] if memory.table else [])


def _tried(page: Page, images: Mapping[str, Image]) -> list[str]:
    blocks = ["## What was tried", escaped(page.tried)]
    blocks += [escaped(page.finals)] if page.finals else []
    blocks += [markdown_table(table) for table in (page.finalists, page.trials) if table]
    for chart in page.charts:
        shown = _image(images, chart.name) + ([markdown_table(chart.table)] if chart.table else [])
        blocks += [f"### {escaped(chart.title)}", *shown] if shown else []
    return blocks + ([f"### {escaped(page.best_title)}", fact_list(page.best)] if page.best else [])


def _importance(page: Page) -> list[str]:
    part = page.importance
    if part is None:
        return []
    table = [markdown_table(part.table)] if part.table else []
    return ["## What decided", escaped(part.summary), *table, *map(escaped, part.notes)]


def _cost(cost: Cost | None) -> list[str]:
    return ["## What it cost", markdown_table(cost.table), *map(escaped, cost.notes)] if cost else []


def _examples(examples: Examples | None) -> list[str]:
    if examples is None:
        return []
    blocks = ["## Predictions", escaped(examples.rule)]
    blocks += [markdown_table(examples.changed)] if examples.changed else []
    for example in examples.shown:
        blocks += _example(example)
    return blocks


def _example(example: Example) -> list[str]:
    answers = [("Expected", example.expected), ("Best trial", example.best)]
    answers += [("Ended by", example.ended)] if example.ended else []
    answers += [("Untuned", example.untuned)] if example.untuned is not None else []
    return [
        f"### {example.mark}: {code_span(example.example_id)}",
        code_block(example.source),
        _bullets(f"{name}: {code_span(text)}" for name, text in answers),
    ]


def _again(page: Page) -> list[str]:
    blocks = ["## Run it again"]
    blocks += [code_block(page.command)] if page.command else []
    if page.reproduction:
        return [*blocks, fact_list(page.reproduction)]
    return [*blocks, "Command, versions and data hashes are recorded when the study is finished."]
