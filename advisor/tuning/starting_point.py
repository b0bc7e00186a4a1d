"""What the search starts from: the recommendation, restricted to the methods that the user wants."""

from dataclasses import dataclass, replace

from advisor import records
from advisor.candidates import Candidate
from advisor.catalog.methods import resolve_method
from advisor.catalog.tasks import Task, find_task
from advisor.errors import InputError
from advisor.recommendation import Recommendation, recommend
from advisor.search_space import SearchSpace, search_space, warm_starts
from advisor.spec import Budget, CodeTask
from advisor.tuning.request import TuningRequest

_CANDIDATES = 5
_MOST_CANDIDATES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """Everything that follows from the recommendation.

    Attributes:
        recommendation: As it goes into the run folder.
        task: Of the catalogue.
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


def find_starting_point(request: TuningRequest) -> StartingPoint:
    """Read or make the recommendation of a request.

    Raises:
        InputError: The recommendation is for a task that cannot be tuned, or holds none of the wanted methods.
        DataError: The recommendation file is broken.
        UnknownNameError: No such task, method or base model.
        InfeasibleBudgetError: Nothing fits.
    """
    recommendation = _restricted(_recommendation(request), request.methods)
    task = find_task(recommendation.task)
    if not task.tunable:
        raise InputError(f"{task.slug} cannot be tuned yet; see `peft-advisor evidence --tasks`")
    base_model = recommendation.candidates[0].base_model
    space = search_space(recommendation, base_model)
    return StartingPoint(
        recommendation=recommendation, task=task, space=space, warm_starts=warm_starts(recommendation, space)
    )


def _recommendation(request: TuningRequest) -> Recommendation:
    given = request.recommendation
    if isinstance(given, Recommendation):
        return given
    if given is not None:
        return records.read(Recommendation, given)
    assert request.task is not None
    # `recommend` takes one method; with several, those that were not asked for are left out below.
    several = len(request.methods) > 1
    return recommend(
        CodeTask(
            task=request.task,
            budget=Budget(),
            base_model=request.base_model,
            method=None if several or not request.methods else request.methods[0],
            top=_MOST_CANDIDATES if several else _CANDIDATES,
        )
    )


def _restricted(recommendation: Recommendation, methods: tuple[str, ...]) -> Recommendation:
    wanted = [resolve_method(name) for name in methods]
    kept = [
        line
        for line in recommendation.candidates
        if not wanted
        or any(
            line.method == method.slug and quantization in (None, line.quantization) for method, quantization in wanted
        )
    ]
    if not kept:
        offered = sorted({line.method for line in recommendation.candidates})
        said = f"the recommendation holds {', '.join(offered)}" if offered else "the recommendation holds no candidate"
        raise InputError(f"--method: {', '.join(methods) or 'any'} cannot be searched; {said}")
    return replace(
        recommendation, candidates=tuple(replace(line, rank=rank) for rank, line in enumerate(kept, start=1))
    )
