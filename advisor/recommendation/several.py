"""One recommendation for several base models, each in each storage that was asked for, all within the same budget.

Every base model is recommended for on its own (`recommend`), with its own check of the memory; the lines are then put
in one order by the score that ranks the lines of any recommendation. They share the batch size of the first, so that
the same number of steps is the same training data for all of them; what is in memory at once stays as it fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from advisor.catalog.base_models import find_base_model
from advisor.errors import InfeasibleBudgetError, InputError
from advisor.recommendation.advice import recommend
from advisor.recommendation.records import RankedCandidate, Recommendation
from advisor.spec import CodeTask, QuantizationChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedBase:
    """A base model that is to be searched.

    Attributes:
        base_model: Hub id or local folder.
        quantization: Storage of its weights, "none" for unquantized; None leaves it to the memory.
    """

    base_model: str
    quantization: QuantizationChoice | None = None

    @property
    def told(self) -> str:
        """The options that ask for it."""
        stored = f" --quantization {self.quantization}" if self.quantization else ""
        return f"--model {self.base_model}{stored}"


def recommend_each(
    spec: CodeTask,
    wanted: Sequence[WantedBase],
    given: Sequence[RankedCandidate] = (),
    requested: Sequence[str] = (),
) -> Recommendation:
    """Recommend for each of several base models; the best line of all comes first.

    A method that is ranked on request only has no evidence that its score could rest on: its lines come last.

    Args:
        spec: Task, budget and method; its base model and quantization are left out of account, and `top` counts for
            each base model.
        wanted: At least one.
        given: Lines that are known already (of a recommendation file); a base model with lines of its own here is not
            recommended for anew.
        requested: Slugs of methods that are `on_request`, wanted beside the others on every base model that they work
            on and fit with, in the storage that it has for the others.

    Raises:
        InputError: A base model cannot do the task, a requested method works on none, or nothing was wanted.
        UnknownNameError: No such base model, task or method.
        InfeasibleBudgetError: A base model does not fit, the message says what would; or a requested method fits with
            none.
    """
    if not wanted:
        raise InputError("no base model was named")
    lines: dict[tuple[str, str | None], tuple[RankedCandidate, ...]] = {}
    refused: list[tuple[WantedBase, str]] = []
    for one in dict.fromkeys(replace(one, base_model=find_base_model(one.base_model).hf_id) for one in wanted):
        try:
            found = _lines(spec, one, given)
        except InfeasibleBudgetError as error:
            refused.append((one, str(error)))
        else:
            lines.setdefault((one.base_model, found[0].quantization), found)
    if refused:
        raise InfeasibleBudgetError(_refusal(spec, refused, [found[0] for found in lines.values()]))
    return Recommendation(
        task=spec.task,
        budget=spec.budget,
        candidates=_merged(
            [line for found in lines.values() for line in found],
            _requested_lines(spec, list(lines.values()), requested),
        ),
    )


def _lines(spec: CodeTask, one: WantedBase, given: Sequence[RankedCandidate]) -> tuple[RankedCandidate, ...]:
    """Return the lines of one base model, all in the same storage: that of the best."""
    own = [line for line in given if line.base_model == one.base_model]
    if one.quantization is not None:
        own = [line for line in own if (line.quantization or "none") == one.quantization]
    if not own:
        asked = replace(spec, base_model=one.base_model, quantization=one.quantization)
        own = list(recommend(asked).candidates)
    return tuple(line for line in own if line.quantization == own[0].quantization)


def _requested_lines(
    spec: CodeTask, found: Sequence[Sequence[RankedCandidate]], requested: Sequence[str]
) -> list[RankedCandidate]:
    """Return a line for each requested method on each base model that takes it; those that have one get no other.

    Args:
        spec: As asked.
        found: Lines of each base model.
        requested: Slugs.
    """
    lines: list[RankedCandidate] = []
    for method in requested:
        refusals: list[InputError | InfeasibleBudgetError] = []
        for first, *others in found:
            stored: QuantizationChoice = first.quantization or "none"
            if any(line.method == method for line in (first, *others)):
                continue
            try:
                asked = replace(spec, base_model=first.base_model, quantization=stored, method=method)
                lines.append(recommend(asked).candidates[0])
            except (InputError, InfeasibleBudgetError) as error:
                refusals.append(error)
        if len(refusals) == len(found):
            raise refusals[0]
    return lines


def _merged(lines: Sequence[RankedCandidate], last: Sequence[RankedCandidate]) -> tuple[RankedCandidate, ...]:
    ordered = [*sorted(lines, key=lambda line: (-line.score, line.base_model, line.rank)), *last]
    batch_size = ordered[0].batch_size
    return tuple(replace(_with_batch(line, batch_size), rank=rank) for rank, line in enumerate(ordered, start=1))


def _with_batch(line: RankedCandidate, batch_size: int) -> RankedCandidate:
    """Return the line with that many examples per optimizer step, and no more of them in memory than before."""
    at_once = min(line.micro_batch_size or line.batch_size, batch_size)
    return replace(line, batch_size=batch_size, micro_batch_size=at_once if at_once < batch_size else None)


def _refusal(spec: CodeTask, refused: Sequence[tuple[WantedBase, str]], fitting: Sequence[RankedCandidate]) -> str:
    """Say in one line which base model does not fit, and what does: the same stored otherwise, or the others."""
    one, reason = refused[0]
    what = [f"--model {line.base_model}" for line in fitting]
    if one.quantization is not None:
        what = [*_stored_otherwise(spec, one), *what]
    others = f" (nor {', '.join(other.told for other, _ in refused[1:])})" if len(refused) > 1 else ""
    hint = f"what fits: {'; '.join(dict.fromkeys(what))}" if what else "name a smaller base model"
    return f"{one.told} cannot be searched{others}: {reason}; {hint}"


def _stored_otherwise(spec: CodeTask, one: WantedBase) -> list[str]:
    """Return the options for the same base model in the storage that fits, if there is one."""
    try:
        found = recommend(replace(spec, base_model=one.base_model, quantization=None, top=1)).candidates[0]
    except (InfeasibleBudgetError, InputError):
        return []
    return [f"--model {one.base_model} --quantization {found.quantization or 'none'}"]
