"""Which warm start comes next: the recommendation, its learning rate, then the runners-up.

Published learning rates are those of longer trainings on more data than the trials of a search have, and short runs
want larger ones (schulman2025lora-002). So the recommendation is tried first as it is, then at ten times its rate or
the end of the searched range, and on upwards as long as that gives the best warm start so far. The runners-up follow
at as much more than their own published rate as was best by then: whether a rate is too small depends on the length
of the trials, on the data and the base model, which all methods share. Replays of recorded trainings compare this
with the recommendations in their order (`studies/search_quality`).

Not covered: rates below the published one, which the sampler may still draw. A study of several base models tries the
recommendations in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from advisor.candidates import Candidate
from advisor.search.settings import StudySettings
from advisor.search_space import Dimension

# From one rate to the next. Half a decade takes more trials to get anywhere (`studies/search_quality`).
RATE_STEP = 10.0

# User attributes of a trial.
WARM_START = "warm_start"  # index into the warm starts
RATE_STEPS = "rate_steps"  # how often its learning rate was multiplied; not there for one that is as recommended
FAILURE = "failure"  # kind and message

_RATE = "learning_rate"


@dataclass(frozen=True, slots=True, order=True)
class WarmStart:
    """A recommended candidate, at its own learning rate or at a larger one.

    Attributes:
        index: Into the warm starts of the settings.
        rate_steps: How often `RATE_STEP` multiplies the learning rate.
    """

    index: int
    rate_steps: int = 0

    @property
    def attributes(self) -> dict[str, int]:
        """User attributes of its trial."""
        return {WARM_START: self.index} | ({RATE_STEPS: self.rate_steps} if self.rate_steps else {})

    def candidate(self, settings: StudySettings) -> Candidate:
        """Return what is trained: a larger rate ends where the searched range does."""
        recommended = settings.warm_starts[self.index]
        rate, searched = recommended.hyperparameters[_RATE], _searched_rates(recommended, settings)
        if not self.rate_steps or searched is None or not isinstance(rate, (int, float)):
            return recommended
        larger = min(float(f"{rate * RATE_STEP**self.rate_steps:.3g}"), searched.high or rate)
        return replace(recommended, hyperparameters={**recommended.hyperparameters, _RATE: larger})


def warm_start_of(attributes: Mapping[str, object]) -> WarmStart | None:
    """Return the warm start that a trial with these user attributes is, None for a sampled one."""
    index, steps = attributes.get(WARM_START), attributes.get(RATE_STEPS, 0)
    return WarmStart(index, steps) if isinstance(index, int) and isinstance(steps, int) else None


def is_recommendation(attributes: Mapping[str, object]) -> bool:
    """Say whether a trial with these user attributes is the recommendation, as it stands."""
    return warm_start_of(attributes) == WarmStart(0)


def next_warm_start(trials: Sequence[FrozenTrial], settings: StudySettings, most: int) -> WarmStart | None:
    """Return what is to be tried after these trials, None when it is for the sampler to say.

    Args:
        trials: All of the study so far. Live ones are tried, but worth nothing yet: values at different rungs do not
            compare.
        settings: Of the study.
        most: Warm starts at most.
    """
    tried = {found: _value(trial, settings) for trial in trials if (found := warm_start_of(trial.user_attrs))}
    if len(tried) >= most:
        return None
    if not settings.space.bases and (larger := _larger_rate(tried, settings)) is not None:
        return larger
    steps = 0 if settings.space.bases or not tried else _best(tried).rate_steps
    indices = {one.index for one in tried}
    index = next((index for index in range(len(settings.warm_starts)) if index not in indices), None)
    return None if index is None else WarmStart(index, steps if index else 0)


def _larger_rate(tried: Mapping[WarmStart, float], settings: StudySettings) -> WarmStart | None:
    """Return the recommendation at the next larger rate, where the largest so far is the best warm start."""
    steps = [one.rate_steps for one in tried if one.index == 0]
    if not steps:
        return None
    largest = WarmStart(0, max(steps))
    larger = replace(largest, rate_steps=largest.rate_steps + 1)
    goes_on = largest == WarmStart(0) or _best(tried) == largest
    return larger if goes_on and larger.candidate(settings) != largest.candidate(settings) else None


def _best(tried: Mapping[WarmStart, float]) -> WarmStart:
    # Of equals, such as several that are live, the first at its smallest rate.
    return min(tried, key=lambda one: (-tried[one], one))


def _value(trial: FrozenTrial, settings: StudySettings) -> float:
    if trial.state == TrialState.COMPLETE:
        return float(trial.values[settings.objectives.index("quality")])
    if trial.state == TrialState.PRUNED and FAILURE not in trial.user_attrs and trial.intermediate_values:
        return float(trial.intermediate_values[max(trial.intermediate_values)])
    return float("-inf")


def _searched_rates(candidate: Candidate, settings: StudySettings) -> Dimension | None:
    own = (part.dimensions for part in settings.space.methods if part.method == candidate.method)
    return next((one for dimensions in own for one in dimensions if one.name == _RATE), None)
