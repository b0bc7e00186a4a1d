"""Time: how much of the limit the search may take, so that finals and final evaluation have theirs.

What follows the search is the finals (every finalist with every other seed), the evaluations on the test split, and
a fresh process for the reload check. How long a training takes is measured by the trials themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from advisor.trial import TrialRecord, TrialSpec

if TYPE_CHECKING:
    from advisor.search import SearchEvent

# The finals get at most this share of the limit, and what follows the search no more than half of it.
FINALS_SHARE = 0.4
SEARCH_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The time limit of one run of `tune`, with what is known before the search.

    Attributes:
        limit_s: Seconds for everything, None for no limit.
        so_far_s: Seconds that this run of `tune` took before the search.
        evaluation_s: Seconds of one evaluation on the test split, measured with the untuned model.
        n_seeds: Seeds that finalists are trained with.
        slots: Trials that are trained at once.
    """

    limit_s: float | None
    so_far_s: float
    evaluation_s: float
    n_seeds: int
    slots: int = 1

    @property
    def before_evaluation_s(self) -> float | None:
        """Seconds that search and finals may take together, None for no limit.

        What follows are the evaluations of winner and recommendation with every seed and that of the reload check,
        each taken to last as long as that of the untuned model did, and a fresh process, taken to need as long to
        start as this one did.
        """
        if self.limit_s is None:
            return None
        n_evaluations = 2 * self.n_seeds + 1
        start_up_s = max(0.0, self.so_far_s - self.evaluation_s)
        left_s = self.limit_s - self.so_far_s - n_evaluations * self.evaluation_s - start_up_s
        return max(SEARCH_SHARE * self.limit_s, left_s)

    def search_end_s(self, finalists: Sequence[TrialRecord]) -> float | None:
        """Return the seconds of search after which the finals of these finalists should begin, None for no limit."""
        if self.limit_s is None or self.before_evaluation_s is None:
            return None
        reserve_s = min(FINALS_SHARE * self.limit_s, self.finals_s(finalists))
        return max(SEARCH_SHARE * self.limit_s, self.before_evaluation_s - reserve_s)

    def finals_s(self, finalists: Sequence[TrialRecord]) -> float:
        """Return the seconds that training these finalists with all other seeds will take: as long as they did."""
        return (self.n_seeds - 1) * turns_s([training_s(record) for record in finalists], self.slots)


def training_s(record: TrialRecord) -> float:
    """Return the seconds that a trial took."""
    return record.reports[-1].duration_s if record.reports else 0.0


def turns_s(durations_s: Sequence[float], slots: int) -> float:
    """Return the seconds at most of trainings that take turns in slots, the longest first."""
    return sum(sorted(durations_s, reverse=True)[::slots])


def expected_s(
    finished: Sequence[TrialRecord], n_trials: int, n_finalists: int, n_seeds: int, slots: int = 1
) -> float | None:
    """Return the seconds that the rest of a study will take by its finished trials, None before any is complete.

    Args:
        finished: Trials of earlier runs.
        n_trials: Trials to run at most, over all runs; those to come are taken to last as long as the others did.
        n_finalists: Trials to train again, to their end.
        n_seeds: Seeds of the finals.
        slots: Trials that are trained at once.
    """
    complete_s = [training_s(record) for record in finished if record.state == "complete"]
    if not complete_s:
        return None
    search_s = max(0, n_trials - len(finished)) * fmean(training_s(record) for record in finished)
    return (search_s + n_finalists * (n_seeds - 1) * fmean(complete_s)) / slots


@dataclass(slots=True, kw_only=True)
class SearchWatch:
    """Watches a search and says when it has to end so that the finals have their time.

    How long the finals will take depends on who is a finalist, so the end moves while the search goes on.

    Attributes:
        end_s: Seconds of search after which the finals should begin, by the finished trials; None for no limit.
        records: Finished trials.
        is_over: Whether the search was told to end.
    """

    end_s: Callable[[Sequence[TrialRecord]], float | None]
    records: list[TrialRecord]
    is_over: bool = False
    _elapsed_s: float = 0.0
    _steps: dict[int, int] = field(default_factory=dict)  # optimizer steps of the live trials
    _spec: TrialSpec | None = None

    def see(self, event: "SearchEvent") -> None:
        """Take note of what happens."""
        from advisor.search.events import RungReached, TrialDropped, TrialFinished, TrialStarted

        if isinstance(event, TrialFinished):
            self.records.append(event.record)
            self._steps.pop(event.record.number, None)
        elif isinstance(event, TrialDropped):
            self._steps.pop(event.spec.number, None)
        elif isinstance(event, (TrialStarted, RungReached)):
            self._spec = event.spec
            self._steps[event.spec.number] = event.spec.rung_steps[event.rung] if isinstance(event, RungReached) else 0
        if isinstance(event, (TrialStarted, RungReached, TrialFinished)):
            self._elapsed_s = event.progress.elapsed_s

    def wants_end(self) -> bool:
        """Say whether the search should end; never before a trial is complete."""
        complete = [record for record in self.records if record.state == "complete"]
        if not complete:
            return False
        end_s = self.end_s(self.records)
        self.is_over = self.is_over or (end_s is not None and self._elapsed_s + self._next_s(complete) > end_s)
        return self.is_over

    def _next_s(self, complete: Sequence[TrialRecord]) -> float:
        """Return the seconds of what the search would do next: on to the next rung, or a whole trial."""
        whole_s = max(training_s(record) for record in complete)
        if not self._steps or self._spec is None:
            return whole_s
        rungs = self._spec.rung_steps
        n_steps = max(next((step for step in rungs if step > done), done) - done for done in self._steps.values())
        return whole_s * n_steps / rungs[-1]
