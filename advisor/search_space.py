"""The space that `tune` searches around a recommendation: methods, their hyperparameters and ranges.

The evidence narrows a range to a decade around what was published, never more: a recommendation can be wrong, and
the rest of the space must stay in reach. For the same reason the space holds several methods whenever the
recommendation does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from advisor.candidates import WITHOUT_CHECKPOINTING, Candidate
from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.methods import derived_values, find_method
from advisor.catalog.tasks import find_task, head_of
from advisor.errors import InputError, printable
from advisor.evidence.digest import Setting, read_digests
from advisor.recommendation import RankedCandidate, Recommendation
from advisor.spec import Architecture

__all__ = [
    "Dimension",
    "MethodSpace",
    "Scalar",
    "SearchSpace",
    "candidate_from_choice",
    "search_space",
    "warm_starts",
]

MOST_METHODS = 5
# How far beyond the published spread the search may look, as a factor on either side.
_REACH = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpace:
    """What is searched for one method; what is not searched stays as in the recommendation."""

    method: str
    dimensions: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """A choice of method, then that method's own dimensions (a conditional space)."""

    methods: tuple[MethodSpace, ...]

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("a search space needs at least one method")


def search_space(recommendation: Recommendation, base_model: str | None = None) -> SearchSpace:
    """Return the space around a recommendation for one base model.

    It holds the methods recommended for that base model, then those recommended for other base models that work on
    it as well, five at most.

    Args:
        recommendation: Any recommendation.
        base_model: One of its base models; None for the first.

    Raises:
        InputError: The recommendation does not hold the base model.
    """
    first = _lines_of(recommendation, base_model)[0]
    task = find_task(recommendation.task)
    head = head_of(task, first.architecture)
    own = [line.method for line in _lines_of(recommendation, base_model)]
    others = [line.method for line in recommendation.candidates]
    methods = [
        slug
        for slug in dict.fromkeys((*own, *others))
        if find_method(slug).supports(first.architecture, head)
        and (first.quantization is None or find_method(slug).works_quantized)
    ]
    published = read_digests(task.slug)[first.architecture].settings
    return SearchSpace(
        methods=tuple(
            MethodSpace(method=slug, dimensions=_dimensions(slug, first.architecture, published.get(slug, {})))
            for slug in methods[:MOST_METHODS]
        )
    )


def warm_starts(recommendation: Recommendation, space: SearchSpace) -> tuple[Candidate, ...]:
    """Return the recommendation and its runners-up for the same base model, clipped into the space."""
    lines = _lines_of(recommendation, None)
    parts = {part.method: part for part in space.methods}
    found: list[Candidate] = []
    for line in lines:
        if line.method in parts:
            values = {**line.hyperparameters, **_clipped(line, parts[line.method])}
            candidate = replace(line.candidate, hyperparameters=values)
            if candidate not in found:
                found.append(candidate)
    return tuple(found)


def candidate_from_choice(base: RankedCandidate | Candidate, method: str, values: Mapping[str, Scalar]) -> Candidate:
    """Return the candidate that a choice in the space stands for.

    What was not chosen stays as in `base` when the method is the same, else it is the method's default; what follows
    from the choice (`lora_alpha` from `r`) is worked out anew.
    """
    chosen = find_method(method)
    kept = base.hyperparameters if base.method == method else {}
    return Candidate(
        base_model=base.base_model,
        architecture=base.architecture,
        method=method,
        hyperparameters={
            **chosen.hyperparameters(base.architecture), **kept, **values, **derived_values(method, values)
        },
        precision=base.precision,
        quantization=base.quantization if chosen.works_quantized else None,
        batch_size=base.batch_size,
        max_seq_length=base.max_seq_length,
        micro_batch_size=base.micro_batch_size,
        gradient_checkpointing=base.gradient_checkpointing and method not in WITHOUT_CHECKPOINTING,
    )  # fmt: skip


def _lines_of(recommendation: Recommendation, base_model: str | None) -> list[RankedCandidate]:
    """Return the candidates of one base model, the best first."""
    if not recommendation.candidates:
        raise InputError("the recommendation holds no candidate")
    wanted = base_model or recommendation.candidates[0].base_model
    lines = [line for line in recommendation.candidates if line.base_model == wanted]
    if not lines:
        offered = ", ".join(dict.fromkeys(line.base_model for line in recommendation.candidates))
        raise InputError(f"the recommendation does not hold {printable(wanted)}; it holds {offered}")
    return lines


def _dimensions(slug: str, architecture: Architecture, published: Mapping[str, Setting]) -> tuple[Dimension, ...]:
    return tuple(
        _narrowed(dimension, published[dimension.name]) if dimension.name in published else dimension
        for dimension in find_method(slug).dimensions
    )


def _narrowed(dimension: Dimension, setting: Setting) -> Dimension:
    """Narrow a logarithmic range to a decade on either side of what was published."""
    if not dimension.log or dimension.low is None or dimension.high is None:
        return dimension
    low, high = max(dimension.low, setting.low / _REACH), min(dimension.high, setting.high * _REACH)
    if dimension.kind == "int":
        low, high = round(low), round(high)
    if not low < high:
        return dimension
    evidence = tuple(dict.fromkeys((*setting.evidence, *dimension.evidence)))
    return replace(dimension, low=float(f"{low:.6g}"), high=float(f"{high:.6g}"), evidence=evidence)


def _clipped(line: RankedCandidate, part: MethodSpace) -> dict[str, Scalar]:
    defaults = find_method(line.method).hyperparameters(line.architecture)
    return {
        dimension.name: _clip(dimension, line.hyperparameters.get(dimension.name, defaults[dimension.name]))
        for dimension in part.dimensions
    }


def _clip(dimension: Dimension, value: object) -> Scalar:
    """Return the value of the dimension nearest to `value`."""
    if dimension.kind == "categorical":
        if value in dimension.choices:
            return next(choice for choice in dimension.choices if choice == value)
        numbers = [choice for choice in dimension.choices if isinstance(choice, (int, float))]
        if numbers and isinstance(value, (int, float)):
            return min(numbers, key=lambda choice: abs(choice - value))
        return dimension.choices[0]
    low, high = dimension.low or 0.0, dimension.high or 0.0
    number = min(max(float(value), low), high) if isinstance(value, (int, float)) else low
    return round(number) if dimension.kind == "int" else number
