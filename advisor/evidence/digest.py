"""What the evidence says about one task, ready to use: `knowledge/digests/<task>.json`.

`recommend` must answer at once, so the comparisons of all papers (`standings`, `settings`) are worked out beforehand
by `python -m advisor.evidence.build` and only read here. A test builds them anew and compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from advisor.catalog.files import read_object
from advisor.spec import Architecture

FOLDER = "digests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Direct contests of one method against one rival on the task itself.

    Attributes:
        rival: Slug of the other method.
        better: Set-ups won by more than noise.
        similar: Set-ups within noise.
        worse: Set-ups lost by more than noise.
        papers: Papers they come from.
        evidence: Ids of rows, at most three, of different papers first.
    """

    rival: str
    better: int
    similar: int
    worse: int
    papers: int
    evidence: tuple[str, ...]

    @property
    def setups(self) -> int:
        """Set-ups in all."""
        return self.better + self.similar + self.worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one method stands on a task for one architecture.

    Attributes:
        log_odds: Bradley-Terry strength (see `evidence.strength`).
        cautious: The same, less a margin for scarce evidence.
        support: Graded number of papers about this method on this task and architecture; decides the confidence.
        papers: Number of those papers.
        tallies: Direct contests on the task, most telling first.
        evidence: Ids of rows about the method on this task and architecture, at most three.
    """

    log_odds: float
    cautious: float
    support: float
    papers: int
    tallies: tuple[Tally, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One hyperparameter as used in the evidence.

    Attributes:
        value: Weighted median over papers.
        low: Weighted 10 % quantile.
        high: Weighted 90 % quantile.
        papers: Number of papers.
        on_task: How many of them worked on the task itself.
        evidence: Ids of rows, at most three, the weightiest first.
    """

    value: float
    low: float
    high: float
    papers: int
    on_task: int
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """All about one task and architecture.

    Attributes:
        standings: By method.
        settings: By method, then hyperparameter under its PEFT name.
        architecture_papers: Graded number of papers that tuned this architecture on this task.
    """

    standings: Mapping[str, Standing]
    settings: Mapping[str, Mapping[str, Setting]]
    architecture_papers: float


@cache
def read_digests(task: str) -> Mapping[Architecture, Digest]:
    """Return the digests of a task by architecture."""
    plain = read_object(f"{FOLDER}/{task}.json")
    return {architecture: _digest(part) for architecture, part in plain.items()}


def _digest(plain: Mapping[str, Any]) -> Digest:
    return Digest(
        standings={method: _standing(row) for method, row in plain["standings"].items()},
        settings={
            method: {name: Setting(**{**row, "evidence": tuple(row["evidence"])}) for name, row in rows.items()}
            for method, rows in plain["settings"].items()
        },
        architecture_papers=plain["architecture_papers"],
    )


def _standing(row: Mapping[str, Any]) -> Standing:
    tallies = tuple(Tally(**{**tally, "evidence": tuple(tally["evidence"])}) for tally in row["tallies"])
    return Standing(**{**row, "tallies": tallies, "evidence": tuple(row["evidence"])})
