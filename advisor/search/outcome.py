"""What a search has found: the best trial and the recommendation's, among the finished ones."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from advisor.candidates import Candidate
from advisor.errors import AdvisorError, printable
from advisor.records import to_plain
from advisor.search.pareto import trade_off
from advisor.trial import Objective, TradeOffs, TrialRecord

StopReason = Literal["trials", "time", "interrupted", "target"]

# Enough that the luck of one run does not decide, few enough that training them again costs less than the search.
N_FINALISTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOutcome:
    """How a search ended.

    Attributes:
        records: All finished trials, over all runs of the study.
        best: The winner on the validation split; its adapter is on disk.
        recommended: The trial of the recommendation, None when it was not finished.
        stopped: Why the search ended.
        duration_s: Seconds of search over all runs of the study.
        finalists: Trials worth training again with other seeds, best first; their adapters are on disk. None where
            no trial is complete.
        trade_offs: What quality costs in memory and time; the adapters of the front are on disk. None where no trial
            was measured.
    """

    records: tuple[TrialRecord, ...]
    best: TrialRecord
    recommended: TrialRecord | None
    stopped: StopReason
    duration_s: float
    finalists: tuple[TrialRecord, ...] = ()
    trade_offs: TradeOffs | None = None


def best_of(
    records: Sequence[TrialRecord],
    has_adapter: Callable[[int], bool],
    objectives: Sequence[Objective] = ("quality",),
) -> TrialRecord | None:
    """Return the complete trial with the highest value; the earlier one of equals.

    What is delivered has the highest quality whatever the objectives. Of equals the one that takes less comes first
    where a study looks for that too: the best trial is on the front.

    Where no trial is complete, a pruned one counts if its adapter was saved: that is how a search whose time
    ran out in its first trial still leaves a result.
    """
    eligible = [record for record in records if record.state == "complete"] or [
        record for record in records if record.state == "pruned" and has_adapter(record.number)
    ]
    return min(eligible, key=lambda record: _rank(record, records, objectives), default=None)


def finalists_of(
    records: Sequence[TrialRecord],
    recommended: TrialRecord | None,
    has_adapter: Callable[[int], bool],
    n: int = N_FINALISTS,
    objectives: Sequence[Objective] = ("quality",),
) -> tuple[TrialRecord, ...]:
    """Return the complete trials that one run each does not decide between, best first.

    These are the best `n` with different candidates whose adapters are there, and the recommendation where it is
    complete: a winner is to be measured against it. Of trials of the same candidate the recommendation's own counts,
    else the best one; of equal values that one is the better which `best_of` would take.
    """

    def rank(record: TrialRecord) -> tuple[float, ...]:
        return _rank(record, records, objectives)

    own = [] if recommended is None or recommended.state != "complete" else [recommended]
    others = (record for record in records if record.state == "complete" and has_adapter(record.number))
    distinct: dict[str, TrialRecord] = {}
    for record in (*own, *sorted(others, key=rank)):
        distinct.setdefault(json.dumps(to_plain(record.candidate), sort_keys=True), record)
    best = sorted(distinct.values(), key=rank)[:n]
    return tuple(sorted({record.number: record for record in (*best, *own)}.values(), key=rank))


def trial_of(candidate: Candidate, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the first finished trial of a candidate."""
    wanted = to_plain(candidate)
    return next((record for record in records if to_plain(record.candidate) == wanted), None)


def nothing_worked(records: Sequence[TrialRecord], stopped: StopReason, elapsed_s: float) -> AdvisorError:
    """Say in one line why there is no best trial."""
    if not records:
        ended = "was interrupted" if stopped == "interrupted" else "ran out of time"
        return AdvisorError(
            f"the search {ended} after {elapsed_s:.0f} s, before any trial reached its first rung; "
            "give more `--time` or fewer `--max-steps`"
        )
    failures = [record.failure for record in records if record.failure is not None]
    if not failures:
        return AdvisorError("the adapters of the finished trials are gone; begin anew with another `--output`")
    kind, n_times = Counter(failure.kind for failure in failures).most_common(1)[0]
    message = next(failure.message for failure in failures if failure.kind == kind)
    return AdvisorError(
        f"all {len(failures)} trials failed, {n_times} of them with {kind}: {printable(message, limit=200)}"
    )


def _rank(record: TrialRecord, records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Sort the highest value first; of equals what takes less, where that is an objective, then the earlier trial."""
    value = float("inf") if record.value is None else -record.value
    found = trade_off(record, records) if len(objectives) > 1 else None
    memory = found.memory_bytes if found and "memory" in objectives else 0.0
    latency = found.latency_s if found and "latency" in objectives else 0.0
    return value, memory, latency, record.number
