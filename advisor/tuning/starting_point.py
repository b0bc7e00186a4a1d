"""What the search starts from: the recommendation, restricted to the methods that the user wants.

Several base models, or storages of their weights, are each recommended for (`advisor.recommendation.several`); those
that a given recommendation holds are taken as they stand there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS, resolve_method
from advisor.catalog.tasks import Task, find_task
from advisor.errors import InputError
from advisor.recommendation import RankedCandidate, Recommendation, recommend
from advisor.recommendation.records import read_recommendation
from advisor.recommendation.several import WantedBase, recommend_each
from advisor.search_space import MOST_METHODS, SearchSpace, joint_search_space, search_space, warm_starts
from advisor.spec import Budget, CodeTask
from advisor.tuning.composition import composition_of
from advisor.tuning.request import TuningRequest

_CANDIDATES = 5
_MOST_CANDIDATES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """Everything that follows from the recommendation.

    Attributes:
        recommendation: As it goes into the run folder.
        task: Of the catalogue; with pass@1 where programs are run.
        space: What is searched.
        warm_starts: Points tried first; the first is the recommendation.
    """

    recommendation: Recommendation
    task: Task
    space: SearchSpace
    warm_starts: tuple[Candidate, ...]

    @property
    def recommended(self) -> Candidate:
        """The candidate that the recommendation ranks first."""
        return self.warm_starts[0]

    @property
    def bases(self) -> tuple[Candidate, ...]:
        """The best candidate of every base model that is searched, the recommended one first."""
        return tuple(base.recommended for base in self.space.bases) or (self.recommended,)


def find_starting_point(request: TuningRequest) -> StartingPoint:
    """Read or make the recommendation of a request.

    Raises:
        InputError: The recommendation is for a task that cannot be tuned, or holds none of the wanted methods.
        DataError: The recommendation file is broken.
        UnknownNameError: No such task, method or base model.
        InfeasibleBudgetError: Nothing fits, or one of several base models does not.
        DataError: A trained adapter that is named is none.
    """
    composition = composition_of(request)
    if composition is not None:
        request = composition.asked_of(request)
    request = _with_storages(request)
    names_bases = len(request.base_models) > 1 or bool(request.quantizations)
    if names_bases or (request.recommendation is not None and request.base_models):
        recommendation = _recommendation_for_each(request)
    else:
        recommendation = _restricted(_recommendation(request), request.methods)
    if composition is not None:
        recommendation = composition.put_into(recommendation)
    task = find_task(recommendation.task)
    # All that were named are searched, however many.
    most = max(MOST_METHODS, len(request.methods))
    made = joint_search_space if names_bases else search_space
    space = made(recommendation, most_methods=most)
    return StartingPoint(
        recommendation=recommendation, task=task, space=space, warm_starts=warm_starts(recommendation, space)
    )


def _with_storages(request: TuningRequest) -> TuningRequest:
    """Return the request with the storages that the names of several methods imply, unless the user named some.

    All methods of a study share the base model in memory: beside "qlora" the others are searched on the 4-bit base as
    well. Beside "lora" itself both storages are.

    Raises:
        InputError: One of the others does not work on such a base.
    """
    resolved = [resolve_method(name) for name in request.methods]
    implied = [(method, stored) for method, stored in resolved if stored is not None]
    if len(resolved) < 2 or not implied or request.quantizations or request.recommendation is not None:
        return request
    plain = [method for method, stored in resolved if stored is None]
    stored = tuple(dict.fromkeys(stored for _, stored in implied))
    for method in plain:
        if not method.works_quantized:
            raise InputError(
                f"--method: {method.slug} does not work on the {stored[0]} base of "
                f"{next(name for name in request.methods if name not in METHODS)}; name one of the two, or add "
                f"--quantization none --quantization {stored[0]} to search on both"
            )
    twins = any(method in plain for method, _ in implied)
    return replace(request, quantizations=("none", *stored) if twins else stored)


def _recommendation(request: TuningRequest) -> Recommendation:
    given = _given(request)
    if given is not None:
        return given
    assert request.task is not None
    spec = replace(_asked(request, request.task, Budget()), base_model=next(iter(request.base_models), None))
    on_request, others = _on_request(request.methods)
    return _with_requested(spec, request.methods, on_request, others=others) if on_request else recommend(spec)


def _on_request(methods: Sequence[str]) -> tuple[list[str], bool]:
    """Return those of several methods that `recommend` does not rank unasked, and whether there are others.

    One alone is what `recommend` is asked for, so it needs nothing further.
    """
    named = {method.slug: method for method, _ in map(resolve_method, methods)} if len(methods) > 1 else {}
    slugs = [slug for slug, method in named.items() if method.on_request]
    return slugs, len(slugs) < len(named)


def _with_requested(
    spec: CodeTask, methods: tuple[str, ...], on_request: Sequence[str], *, others: bool
) -> Recommendation:
    """Return a recommendation with a line for each method that is ranked on request only, on the base of the others.

    Args:
        spec: What is asked, with no method.
        methods: All that are named.
        on_request: Those of them that `recommend` does not rank unasked.
        others: Whether there are others among them.
    """
    first = recommend(spec if others else replace(spec, method=on_request[0]))
    lines = _of_methods(first.candidates, methods)
    if not lines:
        raise InputError(_not_held(methods, first))
    alike = replace(spec, base_model=lines[0].base_model)
    found = [recommend(replace(alike, method=slug)).candidates[0] for slug in on_request[0 if others else 1 :]]
    return replace(first, candidates=(*lines, *found))


def _recommendation_for_each(request: TuningRequest) -> Recommendation:
    """Return one recommendation for all base models and storages that are named, restricted to the wanted methods."""
    given = _given(request)
    task = request.task if given is None else given.task
    assert task is not None
    spec = _asked(request, task, Budget() if given is None else given.budget)
    stored = request.quantizations or (None,)
    names = request.base_models
    if not names:
        first = recommend(replace(spec, quantization=stored[0])) if given is None else given
        names = tuple(line.base_model for line in first.candidates[:1])
    wanted = [WantedBase(base_model=name, quantization=one) for name in names for one in stored]
    lines = () if given is None else _of_methods(given.candidates, request.methods)
    on_request, others = _on_request(request.methods)
    if on_request and not others:
        # Lines of methods that nobody asked for would decide how the base model is stored.
        spec, on_request = replace(spec, method=on_request[0]), on_request[1:]
    found = recommend_each(spec, wanted, lines, on_request)
    kept = _restricted(found, request.methods)
    left = {(line.base_model, line.quantization) for line in kept.candidates}
    for line in found.candidates:
        if (line.base_model, line.quantization) not in left:
            where = f"{line.base_model} ({line.quantization or 'not quantized'})"
            raise InputError(f"--method: {', '.join(request.methods)} cannot be searched on {where}; leave it out")
    return kept


def _given(request: TuningRequest) -> Recommendation | None:
    given = request.recommendation
    return given if given is None or isinstance(given, Recommendation) else read_recommendation(given)


def _asked(request: TuningRequest, task: str, budget: Budget) -> CodeTask:
    # `recommend` takes one method; with several, those that were not asked for are left out afterwards.
    several = len(request.methods) > 1
    return CodeTask(
        task=task,
        budget=budget,
        method=None if several or not request.methods else request.methods[0],
        top=_MOST_CANDIDATES if several else _CANDIDATES,
    )


def _restricted(recommendation: Recommendation, methods: tuple[str, ...]) -> Recommendation:
    kept = _of_methods(recommendation.candidates, methods)
    lacking = [name for name in methods if not _of_methods(kept, (name,))]
    if not kept or lacking:
        raise InputError(_not_held(lacking, recommendation))
    return replace(
        recommendation, candidates=tuple(replace(line, rank=rank) for rank, line in enumerate(kept, start=1))
    )


def _not_held(lacking: Sequence[str], recommendation: Recommendation) -> str:
    offered = sorted({line.method for line in recommendation.candidates})
    said = f"the recommendation holds {', '.join(offered)}" if offered else "the recommendation holds no candidate"
    meant = [
        f"{name} is {method.slug} on a {stored} base"
        for name, (method, stored) in ((name, resolve_method(name)) for name in lacking)
        if stored is not None
    ]
    explained = f" ({', '.join(meant)})" if meant else ""
    return f"--method: {', '.join(lacking) or 'any'} cannot be searched; {said}{explained}"


def _of_methods(lines: Sequence[RankedCandidate], methods: Sequence[str]) -> tuple[RankedCandidate, ...]:
    """Return the lines with a method of these names, all lines when there are none; "qlora" is LoRA on 4 bits."""
    wanted = [resolve_method(name) for name in methods]
    return tuple(
        line
        for line in lines
        if not wanted
        or any(
            line.method == method.slug and quantization in (None, line.quantization) for method, quantization in wanted
        )
    )
