"""Where a trial comes from, in the words of the table of trials."""

from advisor.candidates import Candidate
from advisor.recommendation import Recommendation
from advisor.report.formatting import NBSP
from advisor.trial import TrialRecord

_RATE = "learning_rate"


def origin_of(trial: TrialRecord, recommendation: Recommendation) -> str:
    """Say which recommended candidate a trial is and by how much its learning rate was raised, or who drew it.

    Args:
        trial: Any of the study.
        recommendation: What the study began with; its first candidate is the recommendation.
    """
    if trial.origin != "recommendation":
        return {"sampler": "sampler", "retry": f"run{NBSP}again"}[trial.origin]
    same = [
        (place, one.candidate)
        for place, one in enumerate(recommendation.candidates)
        if _without_rate(one.candidate) == _without_rate(trial.candidate)
    ]
    if not same:
        return f"warm{NBSP}start"
    # Two of them may differ in their rates alone.
    place, recommended = min(same, key=lambda found: found[1].hyperparameters != trial.candidate.hyperparameters)
    name = f"runner-up{NBSP}{place + 1}" if place else "recommendation"
    return name + _raised(recommended, trial.candidate)


def _without_rate(candidate: Candidate) -> tuple[str, str, dict[str, object]]:
    others = {name: value for name, value in candidate.hyperparameters.items() if name != _RATE}
    return candidate.base_model, candidate.method, others


def _raised(recommended: Candidate, trained: Candidate) -> str:
    before, after = recommended.hyperparameters.get(_RATE), trained.hyperparameters.get(_RATE)
    if not isinstance(before, (int, float)) or not isinstance(after, (int, float)) or before == after:
        return ""
    return f", rate{NBSP}×{NBSP}{after / before:.3g}"
