"""The space that `tune` searches around a recommendation: methods, their hyperparameters and ranges; base models too.

A space is about one base model, or about several when the user wants several compared: a base model is then one more
choice, and each has the methods that work on it and the ranges that evidence has for its architecture.

The evidence narrows a range to a decade around what was published, never more: a recommendation can be wrong, and
the rest of the space must stay in reach. For the same reason the space holds several methods whenever the
recommendation does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from advisor.candidates import WITHOUT_CHECKPOINTING, Candidate, possible
from advisor.catalog.base_models import find_base_model
from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.methods import derived_values, find_method, restrictions
from advisor.catalog.tasks import Task, find_task, head_of
from advisor.errors import InputError, printable
from advisor.evidence.digest import Setting, read_digests
from advisor.recommendation import RankedCandidate, Recommendation
from advisor.spec import Architecture, Quantization

__all__ = [
    "BaseSpace",
    "Dimension",
    "MethodSpace",
    "Scalar",
    "SearchSpace",
    "candidate_from_choice",
    "joint_search_space",
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
class BaseSpace:
    """What is searched on one of several base models.

    Attributes:
        label: Unique among the base models of the space: its name, with its quantization where another has the same.
        recommended: Best candidate on it; what is not searched stays so: precision, lengths, checkpointing.
        methods: Those that work on it.
    """

    label: str
    recommended: Candidate
    methods: tuple[MethodSpace, ...]

    def __post_init__(self) -> None:
        if not any(part.method == self.recommended.method for part in self.methods):
            raise ValueError(f"{self.label}: {self.recommended.method} is recommended but not searched")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """A choice of method, then that method's own dimensions (a conditional space); before it one of base model.

    Attributes:
        methods: What is searched; with several base models every method that works on any of them, with the ranges of
            the first on which it does.
        bases: Base models to choose from, the first is recommended; empty where there is only one.
    """

    methods: tuple[MethodSpace, ...]
    bases: tuple[BaseSpace, ...] = ()

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("a search space needs at least one method")
        labels = {base.label for base in self.bases}
        stored = {(base.recommended.base_model, base.recommended.quantization) for base in self.bases}
        if len(self.bases) == 1 or not len(labels) == len(stored) == len(self.bases):
            raise ValueError("base models to choose from are two or more, all different")

    def base_of(self, candidate: Candidate) -> BaseSpace | None:
        """Return the base model of a candidate, None where there is only one.

        Raises:
            ValueError: It is not in the space.
        """
        if not self.bases:
            return None
        wanted = (candidate.base_model, candidate.quantization)
        for base in self.bases:
            if (base.recommended.base_model, base.recommended.quantization) == wanted:
                return base
        raise ValueError(f"{candidate.base_model} ({candidate.quantization or 'not quantized'}) is not searched")


def search_space(
    recommendation: Recommendation, base_model: str | None = None, *, most_methods: int = MOST_METHODS
) -> SearchSpace:
    """Return the space around a recommendation for one base model.

    It holds the methods recommended for that base model, then those recommended for other base models that work on
    it as well.

    Args:
        recommendation: Any recommendation.
        base_model: One of its base models; None for the first.
        most_methods: How many methods at most: whoever names more wants them all.

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
            for slug in methods[:most_methods]
        )
    )


def joint_search_space(recommendation: Recommendation, *, most_methods: int = MOST_METHODS) -> SearchSpace:
    """Return the space over all base models of a recommendation, in every storage in which it has them.

    Methods are those of the recommendation in its order; each base model has those that work on it.

    Args:
        recommendation: Any recommendation.
        most_methods: How many methods at most, but for the best of each base model.

    Raises:
        InputError: The recommendation holds no candidate.
    """
    firsts: dict[tuple[str, Quantization | None], RankedCandidate] = {}
    for line in recommendation.candidates:
        firsts.setdefault((line.base_model, line.quantization), line)
    if len(firsts) < 2:
        return search_space(recommendation, most_methods=most_methods)
    # The best method of each base model is tried in any case; the others follow.
    best = dict.fromkeys(line.method for line in firsts.values())
    others = dict.fromkeys(line.method for line in recommendation.candidates)
    wanted = list(dict.fromkeys((*best, *others)))[: max(most_methods, len(best))]
    bases = tuple(
        BaseSpace(label=_label(line, list(firsts)), recommended=_clipped_candidate(line, parts), methods=parts)
        for line in firsts.values()
        for parts in (_methods_on(line, wanted, find_task(recommendation.task)),)
    )
    methods = {part.method: part for base in reversed(bases) for part in base.methods}
    return SearchSpace(methods=tuple(methods[slug] for slug in wanted), bases=bases)


def warm_starts(recommendation: Recommendation, space: SearchSpace) -> tuple[Candidate, ...]:
    """Return the recommendation and its runners-up for the same base model, clipped into the space.

    With several base models the recommendation of each comes first, in the order of the recommendation.
    """
    if space.bases:
        return _joint_warm_starts(recommendation, space)
    found: list[Candidate] = []
    for line in _lines_of(recommendation, None):
        if any(part.method == line.method for part in space.methods):
            candidate = _clipped_candidate(line, space.methods)
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
        adapters=base.adapters if method == base.method else (),
    )  # fmt: skip


def _joint_warm_starts(recommendation: Recommendation, space: SearchSpace) -> tuple[Candidate, ...]:
    found = [base.recommended for base in space.bases]
    for line in recommendation.candidates:
        base = space.base_of(line.candidate)
        if base is not None and any(part.method == line.method for part in base.methods):
            candidate = _clipped_candidate(line, base.methods)
            if candidate not in found:
                found.append(candidate)
    return tuple(found)


def _methods_on(line: RankedCandidate, wanted: Sequence[str], task: Task) -> tuple[MethodSpace, ...]:
    """Return those of the wanted methods that work on the base model of a line, with the ranges for it."""
    model, published = find_base_model(line.base_model), read_digests(task.slug)[line.architecture].settings
    return tuple(
        MethodSpace(method=slug, dimensions=_dimensions(slug, line.architecture, published.get(slug, {})))
        for slug in wanted
        if possible(task, model, find_method(slug))
        and restrictions(slug, model.model_type) is not None
        and (line.quantization is None or find_method(slug).works_quantized)
    )


def _label(line: RankedCandidate, bases: Sequence[tuple[str, Quantization | None]]) -> str:
    alone = sum(name == line.base_model for name, _ in bases) == 1
    return line.base_model if alone else f"{line.base_model} ({line.quantization or 'not quantized'})"


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


def _clipped_candidate(line: RankedCandidate, parts: Sequence[MethodSpace]) -> Candidate:
    """Return the candidate of a line with every searched value inside its range."""
    part = next(part for part in parts if part.method == line.method)
    return replace(line.candidate, hyperparameters={**line.hyperparameters, **_clipped(line, part)})


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
