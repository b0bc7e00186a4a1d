"""The search space as parameters of an Optuna study.

A study has one parameter `method` and, for each method, parameters named `<method>.<hyperparameter>`; only
those of the chosen method are sampled, so the space is conditional.

A study of several base models has a parameter `base` before them. The others are shared by all base models on which
they have the same choices or range: what is learned about the learning rate of LoRA on one informs the next. A base
model that differs has a parameter of its own, named after the first that differs so: `lora.learning_rate@<base>`.
"""

from collections.abc import Callable
from typing import cast

from optuna.trial import Trial

from advisor.candidates import Candidate
from advisor.search_space import BaseSpace, Dimension, MethodSpace, Scalar, SearchSpace

BASE = "base"
METHOD = "method"


def suggest_base(trial: Trial, space: SearchSpace) -> BaseSpace | None:
    """Let the sampler (or the queue) choose a base model; None where there is only one."""
    if not space.bases:
        return None
    chosen = trial.suggest_categorical(BASE, [base.label for base in space.bases])
    return next(base for base in space.bases if base.label == chosen)


def suggest(trial: Trial, space: SearchSpace, base: BaseSpace | None = None) -> tuple[str, dict[str, Scalar]]:
    """Let the sampler (or the queue) choose a method and a value for each of its dimensions.

    Args:
        trial: Asked for.
        space: What is searched.
        base: What `suggest_base` gave.

    Returns:
        Method and values by the dimensions' own names.
    """
    parts = _parts(space, base)
    chosen = trial.suggest_categorical(_method_parameter(space, base), [part.method for part in parts])
    part = _part(parts, str(chosen))
    values = {
        dimension.name: _suggest_one(trial, _parameter(part, dimension, space, base), dimension)
        for dimension in part.dimensions
    }
    return part.method, values


def parameters_of(candidate: Candidate, space: SearchSpace) -> dict[str, Scalar]:
    """Return the candidate as parameters of the study, so that it can be enqueued.

    Raises:
        ValueError: The space does not hold the candidate.
    """
    base = space.base_of(candidate)
    part = _part(_parts(space, base), candidate.method)
    parameters: dict[str, Scalar] = {} if base is None else {BASE: base.label}
    parameters[_method_parameter(space, base)] = candidate.method
    for dimension in part.dimensions:
        value = candidate.hyperparameters.get(dimension.name)
        if not isinstance(value, (bool, int, float, str)) or not _holds(dimension, value):
            raise ValueError(f"{candidate.method}: {dimension.name} = {value!r} is outside the search space")
        parameters[_parameter(part, dimension, space, base)] = value
    return parameters


def _suggest_one(trial: Trial, parameter: str, dimension: Dimension) -> Scalar:
    if dimension.kind == "categorical":
        return cast(Scalar, trial.suggest_categorical(parameter, dimension.choices))
    if dimension.low is None or dimension.high is None:
        raise ValueError(f"{parameter}: a range needs both ends")
    if dimension.kind == "int":
        return trial.suggest_int(parameter, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(parameter, dimension.low, dimension.high, log=dimension.log)


def _parts(space: SearchSpace, base: BaseSpace | None) -> tuple[MethodSpace, ...]:
    return space.methods if base is None else base.methods


def _part(parts: tuple[MethodSpace, ...], method: str) -> MethodSpace:
    for part in parts:
        if part.method == method:
            return part
    raise ValueError(f"{method} is not in the search space")


def _method_parameter(space: SearchSpace, base: BaseSpace | None) -> str:
    return _shared(METHOD, space, base, lambda other: tuple(part.method for part in other.methods))


def _parameter(part: MethodSpace, dimension: Dimension, space: SearchSpace, base: BaseSpace | None) -> str:
    def range_on(other: BaseSpace) -> object:
        own = (one for method in other.methods if method.method == part.method for one in method.dimensions)
        found = next((one for one in own if one.name == dimension.name), None)
        # As Optuna has them, which allows no other under the same name.
        return found and (found.kind, found.low, found.high, found.log, found.choices)

    return _shared(f"{part.method}.{dimension.name}", space, base, range_on)


def _shared(
    name: str, space: SearchSpace, base: BaseSpace | None, distribution_on: Callable[[BaseSpace], object]
) -> str:
    """Return the name of a parameter, which is the plain one for the first base model that has such a parameter.

    Args:
        name: The plain one.
        space: With all base models.
        base: The chosen one, None where there is only one.
        distribution_on: What a base model needs of a parameter to share it, None where it has no such parameter.
    """
    if base is None:
        return name
    having = [(other.label, found) for other in space.bases if (found := distribution_on(other)) is not None]
    first = next(label for label, found in having if found == distribution_on(base))
    return name if first == having[0][0] else f"{name}@{first}"


def _holds(dimension: Dimension, value: Scalar) -> bool:
    if dimension.kind == "categorical":
        return value in dimension.choices
    if isinstance(value, (bool, str)) or dimension.low is None or dimension.high is None:
        return False
    return dimension.low <= value <= dimension.high
