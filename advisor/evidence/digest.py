"""What the evidence says about one task, ready to use: `knowledge/digests/<task>.json`.

`recommend` must answer at once, so the comparisons of all papers (`standings`, `settings`) are worked out beforehand
by `python -m advisor.evidence.build` and only read here. A test builds them anew and compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import exp, log
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
        contrary: Ids of rows where the method lost by more than noise, at most three, of different papers first.
    """

    rival: str
    better: int
    similar: int
    worse: int
    papers: int
    evidence: tuple[str, ...]
    contrary: tuple[str, ...]

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
    """One hyperparameter as used in the evidence; `lora_alpha` as its ratio to the rank.

    Attributes:
        value: Weighted median over papers.
        low: Weighted 10 % quantile.
        high: Weighted 90 % quantile.
        papers: Number of papers.
        on_task: How many of them worked on the task itself.
        evidence: Ids of rows whose excerpt holds the number, at most three, those of the weightiest papers.
        figures: That number of each of them; of `lora_alpha` the alpha itself.
        by_size: Weighted median when papers count the more the nearer the size of their model is: (parameters, value),
            smallest first; empty where size does not matter.
        cited_by_size: What stands for `evidence` and `figures` from so many parameters on: (parameters, ids, numbers),
            smallest first; empty where size does not matter.
    """

    value: float
    low: float
    high: float
    papers: int
    on_task: int
    evidence: tuple[str, ...]
    figures: tuple[float, ...]
    by_size: tuple[tuple[float, float], ...] = ()
    cited_by_size: tuple[tuple[float, tuple[str, ...], tuple[float, ...]], ...] = ()

    def cited_at(self, params: float) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Return ids of rows for a model of that size, and the number that each of them gives."""
        reached = [(ids, figures) for least, ids, figures in self.cited_by_size if least <= params and ids]
        return reached[-1] if reached else (self.evidence, self.figures)

    def at(self, params: float) -> float:
        """Return the value for a model of that size: straight lines between sizes, both on a scale of doublings."""
        if not self.by_size:
            return self.value
        below = [point for point in self.by_size if point[0] <= params] or [self.by_size[0]]
        above = [point for point in self.by_size if point[0] >= params] or [self.by_size[-1]]
        (left, low), (right, high) = below[-1], above[0]
        if left >= right:
            return low
        share = log(params / left) / log(right / left)
        return exp((1 - share) * log(low) + share * log(high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """Where the papers put LoRA's adapters.

    Attributes:
        value: What won: "all-linear", "attention" or "query and value".
        shares: Share of the weight of each.
        papers: Number of papers.
        on_task: How many of them worked on the task itself.
        evidence: Ids of rows for the winner, at most three, the weightiest first.
        others: Ids of rows for something else, at most three.
    """

    value: str
    shares: Mapping[str, float]
    papers: int
    on_task: int
    evidence: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """All about one task and architecture.

    Attributes:
        standings: By method.
        settings: By method, then hyperparameter under its PEFT name.
        architecture_papers: Graded number of papers that tuned this architecture on this task.
        placements: Where adapters go, by method of the LoRA family.
    """

    standings: Mapping[str, Standing]
    settings: Mapping[str, Mapping[str, Setting]]
    architecture_papers: float
    placements: Mapping[str, Vote] = field(default_factory=dict)


@cache
def read_digests(task: str) -> Mapping[Architecture, Digest]:
    """Return the digests of a task by architecture."""
    plain = read_object(f"{FOLDER}/{task}.json")
    return {architecture: _digest(part) for architecture, part in plain.items()}


def _digest(plain: Mapping[str, Any]) -> Digest:
    return Digest(
        standings={method: _standing(row) for method, row in plain["standings"].items()},
        settings={
            method: {name: _setting(row) for name, row in rows.items()} for method, rows in plain["settings"].items()
        },
        architecture_papers=plain["architecture_papers"],
        placements={
            method: Vote(**{**row, "evidence": tuple(row["evidence"]), "others": tuple(row["others"])})
            for method, row in plain["placements"].items()
        },
    )


def _setting(row: Mapping[str, Any]) -> Setting:
    by_size = tuple((params, value) for params, value in row.get("by_size", ()))
    cited = tuple((least, tuple(ids), tuple(figures)) for least, ids, figures in row.get("cited_by_size", ()))
    evidence, figures = tuple(row["evidence"]), tuple(row["figures"])
    found = {**row, "evidence": evidence, "figures": figures, "by_size": by_size, "cited_by_size": cited}
    return Setting(**found)


def _standing(row: Mapping[str, Any]) -> Standing:
    tallies = tuple(
        Tally(**{**tally, "evidence": tuple(tally["evidence"]), "contrary": tuple(tally["contrary"])})
        for tally in row["tallies"]
    )
    return Standing(**{**row, "tallies": tallies, "evidence": tuple(row["evidence"])})
