"""Is there anything left to do for a request, or was it all done before?"""

from collections.abc import Sequence

from advisor.result import TuningResult
from advisor.trial import TrialRecord
from advisor.tuning.request import TuningRequest


def covers(earlier: TuningResult, finished: Sequence[TrialRecord], request: TuningRequest) -> bool:
    """Say whether an earlier result of the study is all that a request can get.

    Args:
        earlier: What stands in the run folder.
        finished: Trials that stand there.
        request: What is asked now.
    """
    finals_stopped = earlier.finals.stopped if earlier.finals else "all"
    if not _is_of_these(earlier, finished) or "interrupted" in (earlier.stopped, finals_stopped):
        return False
    if earlier.plan.final_seeds < request.final_seeds:
        return False
    same_time = _is_at_most(request.limit_s, earlier.plan.time_limit_s)
    if finals_stopped == "time" and not same_time:
        return False
    return (
        len(finished) >= request.n_trials
        or (earlier.stopped == "time" and same_time)
        or (earlier.stopped == "target" and _is_at_most(request.target, earlier.plan.target))
    )


def _is_of_these(earlier: TuningResult, finished: Sequence[TrialRecord]) -> bool:
    """Say whether the result is of these trials: a killed run may have left more."""
    from advisor.search.outcome import best_of

    if earlier.n_trials_finished is not None:
        return earlier.n_trials_finished == len(finished)
    best = best_of(finished, lambda number: True)  # version 1 does not say how many; the best one has to do
    return best is not None and best.number == earlier.best_trial


def _is_at_most(now: float | None, before: float | None) -> bool:
    return now is not None and before is not None and now <= before
