"""The taxonomy as a tree and the coverage as a matrix, as plain text of at most 100 columns."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from textwrap import wrap

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.taxonomy import read_taxonomy
from advisor.evidence.coverage import NOT_STATED, Coverage, Leaf

EMPTY = "·"
_WIDTH = 100  # columns
_UNDER = " " * 8  # before what is said under a leaf
_ABOUT = 45  # where the title of a leaf stands
_NOT_STATED = "not stated"
# Columns of the matrix of all tasks: head in two lines, and what it joins; what is not named stands in the last.
_COLUMNS: tuple[tuple[tuple[str, str], tuple[str, ...]], ...] = (
    (("", "LoRA"), ("lora", "ff-lora")),
    (("Q-", "LoRA"), ("qlora",)),
    (("Lo", "RA+"), ("lora-plus",)),
    (("rs", "LoRA"), ("rslora",)),
    (("", "DoRA"), ("dora",)),
    (("Ada", "LoRA"), ("adalora",)),
    (("", "(IA)3"), ("ia3",)),
    (("pro", "mpt"), ("prompt-tuning",)),
    (("pre", "fix"), ("prefix-tuning",)),
    (("P-tu", "ning"), ("p-tuning",)),
    (("Bit", "Fit"), ("bitfit",)),
    (("Lay", "Norm"), ("layernorm-tuning",)),
    (
        ("adap", "ters"),
        ("adapter", "adapter-houlsby", "adapter-pfeiffer", "adapter-parallel", "language-adapter", "task-adapter",
         "language-and-task-adapter", "adapter-fusion", "advfusion", "compacter", "mam", "ff-lora-adapter"),
    ),
    (("fro", "zen"), ("layer-freezing",)),
    (("other", "PEFT"), ()),
    (("", "full"), ("full",)),
)  # fmt: skip
_OTHER = 14
_LEGEND = (
    "Cells: rows of evidence / papers that they are from, one number where these are as many; · nothing.",
    "LoRA: also in feed-forward layers only; adapters: bottleneck adapters, alone or combined;",
    "frozen: lower layers; full: full fine-tuning. `--coverage --task TASK` shows every method by itself.",
)

_NOTES = (
    "Rows and papers of the evidence follow each name; · nothing. In quotes: the name in the review",
    "(haque2025slr), whose order this is. [offered]: `recommend` and `tune` know it. ~: family inferred.",
)


def render_taxonomy(leaves: Sequence[Leaf]) -> str:
    """Return the taxonomy as a tree, with rows and papers of each leaf."""
    taxonomy = read_taxonomy()
    parts: dict[tuple[str, str], list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        parts[leaf.part, leaf.group].append(leaf)
    lines = ["Tasks"]
    for kind, title in taxonomy.kinds.items():
        lines += [f"  {title}", *(_leaf(leaf, _about_task(leaf)) for leaf in parts["task", kind])]
    lines.append("Methods")
    for family, (title, about) in taxonomy.families.items():
        lines.append(f"  {title}: {about}")
        for leaf in parts["method", family]:
            lines += [_leaf(leaf, _about_method(leaf)), *_reason_against(leaf)]
    lines += ["  None of PEFT's families", *(_leaf(leaf, leaf.title) for leaf in parts["other", ""])]
    lines += ["Architectures", *(_leaf(leaf, "") for leaf in parts["architecture", ""])]
    return "\n".join((*lines, "", *_NOTES)) + "\n"


def render_coverage(coverage: Coverage) -> str:
    """Return the matrix: a line for every architecture of a task; of one task alone, a line for every method."""
    return _one_task(coverage) if len(coverage.tasks) == 1 else _all_tasks(coverage)


def _all_tasks(coverage: Coverage) -> str:
    rows: Counter[tuple[str, str, int]] = Counter()
    papers: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for cell in coverage.cells:
        place = (cell.task, cell.architecture, _column(cell.method))
        rows[place] += cell.rows
        papers[place] |= {*cell.papers}
    shown = {place: _said(n, len(papers[place])) for place, n in rows.items()}
    widths = [
        max(len(part) for part in (*head, *(said for place, said in shown.items() if place[2] == column)))
        for column, (head, _) in enumerate(_COLUMNS)
    ]
    label = max(map(len, coverage.architectures[:-1])) + 2
    lines = []
    for line in (0, 1):
        heads = (head[line].rjust(width) for (head, _), width in zip(_COLUMNS, widths, strict=True))
        lines.append((" " * label + " ".join(heads)).rstrip())
    for task in coverage.tasks:
        lines.append(task)
        for architecture in coverage.architectures:
            cells = [shown.get((task, architecture, column), EMPTY) for column in range(len(_COLUMNS))]
            if architecture != NOT_STATED or any(cell != EMPTY for cell in cells):
                name = _NOT_STATED if architecture == NOT_STATED else architecture
                row = " ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
                lines.append(f" {name:<{label - 1}}{row}")
    return "\n".join((*lines, "", *_LEGEND)) + "\n"


def _one_task(coverage: Coverage) -> str:
    found = {(cell.method, cell.architecture): f"{cell.rows} of {len(cell.papers)}" for cell in coverage.cells}
    names = [_NOT_STATED if one == NOT_STATED else one for one in coverage.architectures]
    size = max(map(len, (*names, *found.values())))
    width = max(map(len, coverage.methods))
    lines = [coverage.tasks[0], f"{'':<{width}}  {' '.join(name.rjust(size) for name in names)}"]
    for method in coverage.methods:
        cells = (found.get((method, architecture), EMPTY).rjust(size) for architecture in coverage.architectures)
        lines.append(f"{method:<{width}}  {' '.join(cells)}")
    return "\n".join((*lines, "", "Cells: rows of evidence and the papers they are from; · nothing.")) + "\n"


def _column(method: str) -> int:
    return next((column for column, (_, slugs) in enumerate(_COLUMNS) if method in slugs), _OTHER)


def _said(rows: int, papers: int) -> str:
    return str(rows) if rows == papers else f"{rows}/{papers}"


def _leaf(leaf: Leaf, about: str) -> str:
    counts = f"{leaf.rows:>5} {leaf.papers:>3}" if leaf.rows else f"{EMPTY:>5} {EMPTY:>3}"
    line = f"    {leaf.name:<28}{counts}  {about}".rstrip()
    return "\n".join(wrap(line, _WIDTH, subsequent_indent=" " * _ABOUT, break_on_hyphens=False))


def _about_task(leaf: Leaf) -> str:
    said = [f'"{leaf.review}"' if leaf.review else "", "" if leaf.offered else "not in the catalogue"]
    return ", ".join(part for part in said if part)


def _about_method(leaf: Leaf) -> str:
    return " ".join(_about(leaf))


def _reason_against(leaf: Leaf) -> list[str]:
    """Return lines under a method that say why it is not offered, none under the others."""
    if leaf.not_offered is None:
        return []
    return wrap(
        f"not offered: {leaf.not_offered}", _WIDTH, initial_indent=_UNDER, subsequent_indent=f"{_UNDER}             "
    )


def _about(leaf: Leaf) -> Iterator[str]:
    yield f"{'~' if leaf.inferred else ' '} {leaf.title}"
    if leaf.review and leaf.review.lower() != leaf.title.lower():
        yield f'"{leaf.review}"'
    if leaf.peft_type and leaf.peft_type not in OWN_PEFT_TYPES:
        yield f"PEFT {leaf.peft_type}"
    if leaf.offered:
        yield "[offered]"
