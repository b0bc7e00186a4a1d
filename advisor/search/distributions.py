"""The search space as parameters of an Optuna study.

A study has one parameter `method` and, for each method, parameters named `<method>.<hyperparameter>`; only
those of the chosen method are sampled, so the space is conditional.
"""

from typing import cast

from optuna.trial import Trial

from advisor.candidates import Candidate
from advisor.search_space import Dimension, MethodSpace, Scalar, SearchSpace

METHOD = "method"


def suggest(trial: Trial, space: SearchSpace) -> tuple[str, dict[str, Scalar]]:
    """Let the sampler (or the queue) choose a method and a value for each of its dimensions.

    Returns:
        Method and values by the dimensions' own names.
    """
    chosen = trial.suggest_categorical(METHOD, [part.method for part in space.methods])
    part = _part(space, str(chosen))
    values = {
        dimension.name: _suggest_one(trial, _parameter(part, dimension), dimension) for dimension in part.dimensions
    }
    return part.method, values


def parameters_of(candidate: Candidate, space: SearchSpace) -> dict[str, Scalar]:
    """Return the candidate as parameters of the study, so that it can be enqueued.

    Raises:
        ValueError: The space does not hold the candidate.
    """
    part = _part(space, candidate.method)
    parameters: dict[str, Scalar] = {METHOD: candidate.method}
    for dimension in part.dimensions:
        value = candidate.hyperparameters.get(dimension.name)
        if not isinstance(value, (bool, int, float, str)) or not _holds(dimension, value):
            raise ValueError(f"{candidate.method}: {dimension.name} = {value!r} is outside the search space")
        parameters[_parameter(part, dimension)] = value
    return parameters


def _suggest_one(trial: Trial, parameter: str, dimension: Dimension) -> Scalar:
    if dimension.kind == "categorical":
        return cast(Scalar, trial.suggest_categorical(parameter, dimension.choices))
    if dimension.low is None or dimension.high is None:
        raise ValueError(f"{parameter}: a range needs both ends")
    if dimension.kind == "int":
        return trial.suggest_int(parameter, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(parameter, dimension.low, dimension.high, log=dimension.log)


def _part(space: SearchSpace, method: str) -> MethodSpace:
    for part in space.methods:
        if part.method == method:
            return part
    raise ValueError(f"{method} is not in the search space")


def _parameter(part: MethodSpace, dimension: Dimension) -> str:
    return f"{part.method}.{dimension.name}"


def _holds(dimension: Dimension, value: Scalar) -> bool:
    if dimension.kind == "categorical":
        return value in dimension.choices
    if isinstance(value, (bool, str)) or dimension.low is None or dimension.high is None:
        return False
    return dimension.low <= value <= dimension.high
