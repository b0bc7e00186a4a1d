"""The rows of `knowledge/evidence.jsonl` as records.

One row is one measured result, comparison, hyperparameter setting or resource figure, with the place where it was
read. Rows are not equally good: `Source.seen` grades them, and `caveats` name what is known to be wrong with them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from advisor.catalog.files import read_rows
from advisor.errors import UnknownNameError
from advisor.evidence.papers import Caveat

Kind = Literal["result", "comparison", "hyperparameters", "resources"]
Seen = Literal["full-text", "repository-file", "abstract", "secondary-summary"]
OutcomeName = Literal["better", "similar", "slightly worse", "worse"]

# How far a row is trusted, by what was seen of its source: the numbers themselves, what the authors say they found,
# or what somebody else says they found.
SEEN_WEIGHT: dict[Seen, float] = {
    "full-text": 1.0, "repository-file": 1.0, "abstract": 0.5, "secondary-summary": 0.3,
}  # fmt: skip

CAVEAT_NOTES: dict[Caveat, str] = {
    "one-learning-rate": "all methods shared one learning rate",
    "unfrozen-base": "the base model was trained too, so this is not parameter-efficient",
    "unparsable-output": "most outputs did not parse",
    "search-stage": "short search runs, not final scores",
    "out-of-distribution": "only on data unlike the training data",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a row was read.

    Attributes:
        url: Address.
        locator: Place inside it.
        seen: What was seen of the document.
        excerpt: The words or numbers read there.
    """

    url: str
    locator: str
    seen: Seen
    excerpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a comparison without numbers says: `method` against `versus`."""

    method: str
    versus: str
    outcome: OutcomeName


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One line of evidence; fields as described in knowledge/README.md."""

    id: str
    paper: str
    kind: Kind
    task: str
    task_kind: str
    finding: str
    source: Source
    method: str | None = None
    methods: tuple[str, ...] = ()
    versus: str | None = None
    dataset: str | None = None
    language: str | None = None
    model: str | None = None
    hf_id: str | None = None
    architecture: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    value: float | None = None
    baseline_full: float | None = None
    higher_is_better: bool = True
    caveats: tuple[Caveat, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

    @property
    def weight(self) -> float:
        """Trust by what was seen of the source."""
        return SEEN_WEIGHT[self.source.seen]


def read_evidence(tasks: Iterable[str] = ()) -> tuple[EvidenceRow, ...]:
    """Return the rows of these tasks, or all rows.

    Only the lines of these tasks are parsed, which keeps `recommend` fast.
    """
    wanted = tuple(f'"task": "{task}"' for task in tasks)
    return tuple(_row(row) for row in read_rows("evidence.jsonl", containing=wanted))


def find_rows(ids: Iterable[str]) -> tuple[EvidenceRow, ...]:
    """Return the rows of these ids, in the order asked.

    Raises:
        UnknownNameError: No row has one of the ids; the message has the nearest.
    """
    asked = tuple(dict.fromkeys(ids))
    found = {row["id"]: row for row in read_rows("evidence.jsonl", containing=tuple(f'"id": "{one}"' for one in asked))}
    for one in asked:
        if one not in found:
            known = [row["id"] for row in read_rows("evidence.jsonl")]
            raise UnknownNameError("evidence id", one, known)
    return tuple(_row(found[one]) for one in asked)


def _row(row: Mapping[str, Any]) -> EvidenceRow:
    source = row["source"]
    return EvidenceRow(
        id=row["id"], paper=row["paper"], kind=row["kind"], task=row["task"], task_kind=row["task_kind"],
        finding=row["finding"], source=Source(**source), method=row.get("method"),
        methods=tuple(row.get("methods") or ()), versus=row.get("versus"),
        dataset=row.get("dataset"), language=row.get("language"), model=row.get("model"), hf_id=row.get("hf_id"),
        architecture=row.get("architecture"), hyperparameters=row.get("hyperparameters") or {},
        metric=row.get("metric"), value=row.get("value"), baseline_full=row.get("baseline_full"),
        higher_is_better=row.get("higher_is_better", True), caveats=tuple(row.get("caveats") or ()),
        outcomes=tuple(Outcome(**outcome) for outcome in row.get("outcomes") or ()),
    )  # fmt: skip
