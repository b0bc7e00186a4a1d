"""Contests between methods, read from the evidence.

Two rows meet only inside one set-up: same paper, task, data set, language, model, metric and conditions (number of
training samples, code representation, ...). `baseline_full` stands for full fine-tuning where no row of its own
does. Comparisons without numbers count through their `outcomes`. What does not count: methods that trained the
base model too, scores of outputs that mostly did not parse, and short search-stage scores.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from advisor.evidence.papers import Caveat, Paper
from advisor.evidence.rows import EvidenceRow, OutcomeName
from advisor.evidence.strength import outcome_of_gap

# Caveats of rows that meet no other.
EXCLUDED: frozenset[Caveat] = frozenset({"unfrozen-base", "unparsable-output", "search-stage"})
# Conditions of a set-up that are not part of the method.
CONDITIONS = ("train_samples", "training_samples", "training_data", "representation", "seq_length", "setting")
QUANTIZED_METHODS = {"qlora": "lora"}  # LoRA on a quantized base
_OUTCOMES: dict[OutcomeName, float] = {"better": 0.85, "similar": 0.5, "slightly worse": 0.35, "worse": 0.15}
# One learning rate for all methods decides partly by luck which method it suits.
ONE_RATE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodContest:
    """One method against another in one set-up of one paper.

    Attributes:
        method: The first method.
        rival: The second method.
        outcome: As in `strength.Contest`.
        weight: Trust in the source, shared out over the rivals met in the set-up (a table of 25 methods is one
            observation of each, not 24) and over the set-ups of the paper, whose n count as the root of n.
        task: Slug.
        task_kind: "generative", "non-generative" or "general".
        architecture: Of the model, None when several or not stated.
        paper: Key.
        evidence: Ids of the rows about the first method, then about the second.
    """

    method: str
    rival: str
    outcome: float
    weight: float
    task: str
    task_kind: str
    architecture: str | None
    paper: str
    evidence: tuple[tuple[str, ...], tuple[str, ...]]


def method_contests(rows: Iterable[EvidenceRow], papers: Mapping[str, Paper]) -> tuple[MethodContest, ...]:
    """Return every contest between methods in these rows."""
    setups: dict[tuple[object, ...], list[EvidenceRow]] = defaultdict(list)
    said: list[EvidenceRow] = []
    for row in rows:
        if row.outcomes:
            said.append(row)
        elif row.value is not None and row.method and row.metric and not EXCLUDED.intersection(row.caveats):
            setups[_setup_of(row)].append(row)
    found = [contest for setup in setups.values() for contest in _contests_of(setup)]
    found += [contest for row in said for contest in _said(row)]
    return _weighted(found, papers)


def method_of(row: EvidenceRow) -> str:
    """Return the method of a row, quantized variants counted with their parent."""
    method = row.method or ""
    return QUANTIZED_METHODS.get(method, method)


def points(value: float, metric: str, finding: str, largest: float) -> float:
    """Return a score on a scale of 100.

    Args:
        value: As reported.
        metric: Its name; "of 217 bugs" gives the total of a count ("mean of 1000 batches" does not).
        finding: Text of the row, searched for the total when the metric does not name it.
        largest: Greatest score of the set-up: at most 1 means fractions.
    """
    total = re.search(r"(?<!mean )\bof (\d+)\b", metric) or ("count" in metric and re.search(r"\bof (\d+)\b", finding))
    if total:
        return 100.0 * value / int(total.group(1))
    return 100.0 * value if largest <= 1.0 else value


def _setup_of(row: EvidenceRow) -> tuple[object, ...]:
    conditions = tuple(str(row.hyperparameters.get(name)) for name in CONDITIONS)
    return (row.paper, row.task, row.dataset, row.language, row.model, row.metric, conditions)


def _contests_of(setup: list[EvidenceRow]) -> list[MethodContest]:
    first = setup[0]
    largest = max(abs(row.value or 0.0) for row in setup)
    scores: dict[str, list[float]] = defaultdict(list)
    ids: dict[str, list[str]] = defaultdict(list)
    for row in setup:
        scores[method_of(row)].append(points(row.value or 0.0, first.metric or "", row.finding, largest))
        ids[method_of(row)].append(row.id)
    full = next((row for row in setup if row.baseline_full is not None), None)
    if full is not None and "full" not in scores:
        scores["full"].append(points(full.baseline_full or 0.0, first.metric or "", full.finding, largest))
        ids["full"].append(full.id)
    sign = 1.0 if first.higher_is_better else -1.0
    names = sorted(scores)
    return [
        MethodContest(
            method=one, rival=other, outcome=outcome_of_gap(sign * (_mean(scores[one]) - _mean(scores[other]))),
            weight=first.weight / (len(names) - 1), task=first.task, task_kind=first.task_kind,
            architecture=first.architecture, paper=first.paper, evidence=(tuple(ids[one]), tuple(ids[other])),
        )
        for i, one in enumerate(names) for other in names[i + 1:]
    ]  # fmt: skip


def _said(row: EvidenceRow) -> list[MethodContest]:
    return [
        MethodContest(
            method=QUANTIZED_METHODS.get(said.method, said.method), rival=said.versus,
            outcome=_OUTCOMES[said.outcome], weight=row.weight, task=row.task, task_kind=row.task_kind,
            architecture=row.architecture, paper=row.paper, evidence=((row.id,), (row.id,)),
        )
        for said in row.outcomes
    ]  # fmt: skip


def _weighted(contests: list[MethodContest], papers: Mapping[str, Paper]) -> tuple[MethodContest, ...]:
    """Share out a paper's weight: n contests of one pair of methods on one task count as the root of n."""
    count: dict[tuple[str, ...], int] = defaultdict(int)
    for contest in contests:
        count[_pair_of(contest)] += 1
    return tuple(
        MethodContest(
            method=one.method, rival=one.rival, outcome=one.outcome, task=one.task, task_kind=one.task_kind,
            architecture=one.architecture, paper=one.paper, evidence=one.evidence,
            weight=one.weight / math.sqrt(count[_pair_of(one)]) * _paper_weight(papers[one.paper]),
        )
        for one in contests
    )  # fmt: skip


def _pair_of(contest: MethodContest) -> tuple[str, ...]:
    return (contest.paper, contest.task, contest.architecture or "", *sorted((contest.method, contest.rival)))


def _paper_weight(paper: Paper) -> float:
    return ONE_RATE_WEIGHT if "one-learning-rate" in paper.caveats else 1.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
