"""What the evidence covers: rows and papers for each place of the taxonomy, and for each task, method, architecture.

A row counts for every method that it is about: its own, those it lists, and those that its outcomes name; full
fine-tuning counts where it has a row of its own, not where it is merely what another method is compared with. Rows on
general language tasks stand beside the tasks under "general".
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from advisor.catalog.not_offered import NOT_OFFERED
from advisor.catalog.taxonomy import MethodPlace, OtherPlace, Taxonomy, read_taxonomy
from advisor.evidence.query import GENERAL
from advisor.evidence.rows import EvidenceRow, read_evidence

NOT_STATED = "several or not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A place of the taxonomy with what is published on it.

    Attributes:
        part: Which part of the taxonomy.
        group: Kind of a task, family of a method; empty for other parts.
        name: Slug, or the review's name of a task that has none.
        title: Name for people.
        review: The review's name, None for what it does not know.
        inferred: The group of a method is our reading, not that of a source.
        peft_type: Of a method that PEFT has, else None.
        offered: In the catalogue: `recommend` and `tune` know it.
        not_offered: Why a method is not in the catalogue; None for what is, and for what is no method.
        rows: Rows of evidence about it.
        papers: Papers and documentation sources that they are from.
    """

    part: Literal["task", "method", "other", "architecture"]
    group: str
    name: str
    title: str
    review: str | None = None
    inferred: bool = False
    peft_type: str | None = None
    offered: bool = False
    not_offered: str | None = None
    rows: int
    papers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is published on one task, method and architecture; only cells with rows exist.

    Attributes:
        task: Slug, or "general".
        method: Slug of the taxonomy.
        architecture: As in the axis of `Coverage`.
        rows: How many rows are about it.
        papers: Keys of the papers that they are from.
    """

    task: str
    method: str
    architecture: str
    rows: int
    papers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The matrix of tasks, methods and architectures.

    Attributes:
        tasks: Its first axis, in the order of the taxonomy.
        methods: Its second axis: slugs of the taxonomy, PEFT methods before others.
        architectures: Its third axis; the last holds rows on several or on none that is stated.
        cells: Those that are not empty.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    architectures: tuple[str, ...]
    cells: tuple[Cell, ...]


def count_leaves() -> tuple[Leaf, ...]:
    """Return every place of the taxonomy with its rows, in the order they are shown."""
    rows, taxonomy = read_evidence(), read_taxonomy()
    by_task, by_architecture, by_method = _papers_by(rows, taxonomy)
    found = [
        Leaf(
            part="task", group=one.kind, name=one.name, title=one.review or one.name, review=one.review,
            offered=one.task is not None, rows=len(papers := by_task[one.task or ""]), papers=len({*papers}),
        )
        for one in taxonomy.tasks
    ]  # fmt: skip
    found += [
        Leaf(
            part="method", group=one.family, name=one.slug, title=one.title, review=one.review,
            inferred=one.family_basis == "inferred", peft_type=one.peft_type, offered=one.offered_as is not None,
            not_offered=None if one.offered_as else _reason_against(one),
            rows=len(papers := by_method[one.slug]), papers=len({*papers}),
        )
        for one in taxonomy.methods
    ]  # fmt: skip
    others: list[tuple[Literal["other", "architecture"], str, str, list[str]]] = [
        *(("other", one.slug, one.title, by_method[one.slug]) for one in taxonomy.others),
        *(("architecture", slug, title, by_architecture[slug]) for slug, title in taxonomy.architectures.items()),
        ("architecture", NOT_STATED, "", by_architecture[""]),
    ]
    return (
        *found,
        *(
            Leaf(part=part, group="", name=name, title=title, rows=len(papers), papers=len({*papers}))
            for part, name, title, papers in others
        ),
    )


def count_cells(task: str | None = None) -> Coverage:
    """Return the matrix of all tasks, or of one.

    Args:
        task: Slug, or "general"; None for every task.
    """
    taxonomy = read_taxonomy()
    papers: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in read_evidence((task,) if task is not None else ()):
        for method in _methods_of(row, taxonomy):
            papers[row.task, method, row.architecture or NOT_STATED].append(row.paper)
    places: Sequence[MethodPlace | OtherPlace] = (*taxonomy.methods, *taxonomy.others)
    named = tuple(one.task for one in taxonomy.tasks if one.task is not None)
    return Coverage(
        tasks=(task,) if task is not None else (*named, GENERAL),
        methods=tuple(one.slug for one in places),
        architectures=(*taxonomy.architectures, NOT_STATED),
        cells=tuple(
            Cell(task=of, method=method, architecture=architecture, rows=len(keys), papers=tuple(sorted({*keys})))
            for (of, method, architecture), keys in sorted(papers.items())
        ),
    )


def _reason_against(method: MethodPlace) -> str | None:
    """Return why a method is not offered, by its slug or a name that it has in the evidence."""
    return next((NOT_OFFERED[name] for name in (method.slug, *method.evidence) if name in NOT_OFFERED), None)


_Papers = defaultdict[str, list[str]]


def _papers_by(rows: Iterable[EvidenceRow], taxonomy: Taxonomy) -> tuple[_Papers, _Papers, _Papers]:
    """Return the papers of the rows, one for each row, by task, by architecture and by method."""
    by_task: _Papers = defaultdict(list)
    by_architecture: _Papers = defaultdict(list)
    by_method: _Papers = defaultdict(list)
    for row in rows:
        by_task[row.task].append(row.paper)
        by_architecture[row.architecture or ""].append(row.paper)
        for method in _methods_of(row, taxonomy):
            by_method[method].append(row.paper)
    return by_task, by_architecture, by_method


def _methods_of(row: EvidenceRow, taxonomy: Taxonomy) -> Iterator[str]:
    """Yield the slugs of the places of the methods that a row is about, each once."""
    names = {row.method, *row.methods, *(said.method for said in row.outcomes)}
    places: tuple[MethodPlace | OtherPlace, ...] = (*taxonomy.methods, *taxonomy.others)
    for place in places:
        if not names.isdisjoint(place.evidence):
            yield place.slug
