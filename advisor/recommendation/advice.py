"""From a `CodeTask` to a `Recommendation`: propose, score, fit to the memory, pick."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from advisor.candidates import possible
from advisor.catalog.base_models import TRAIT_NOTES, BaseModel, all_base_models, find_base_model
from advisor.catalog.methods import METHODS, Method, resolve_method, restrictions
from advisor.catalog.tasks import Task, find_task
from advisor.errors import InfeasibleBudgetError, InputError, printable
from advisor.evidence.base_model_strength import BaseModelStrength, ability_of, strengths
from advisor.evidence.digest import read_digests
from advisor.evidence.local import read_local
from advisor.feasibility.fit import device_of
from advisor.recommendation.cards import cards_of
from advisor.recommendation.choices import roles_of
from advisor.recommendation.feasible import Question, epoch_s, full_fit, split, too_slow, training_time_s
from advisor.recommendation.ranking import NOT_OFFERED, Pair, Scored, pair_of, pick
from advisor.recommendation.reasons import confidence_of, reasons_for
from advisor.recommendation.records import RankedCandidate, Recommendation, RejectedCandidate, Role
from advisor.recommendation.rivals import rivals_of
from advisor.spec import CodeTask, QuantizationChoice

_MOST_REJECTED = 12
# Always among what is returned, if need be as the last lines.
_ALWAYS: tuple[Role, ...] = ("cheapest", "safest")


def recommend(spec: CodeTask) -> Recommendation:
    """Recommend base models, methods and hyperparameters for a task within a budget.

    Raises:
        UnknownNameError: No such task, method, base model or GPU.
        InputError: The base model or the method cannot do the task, or the method not with this quantization.
        InfeasibleBudgetError: Nothing fits; the message names the closest.
        DataError: The file of the user's own results is damaged.
    """
    task = _with_lengths(find_task(spec.task), spec)
    device = device_of(spec.budget)
    models = (find_base_model(spec.base_model),) if spec.base_model else _offered()
    methods, quantization = _methods(spec)
    digests, known, own = read_digests(task.slug), strengths(ability_of(task.slug)), read_local()
    pairs = [
        pair_of(task, model, method, digests, known, spec.prefer, own)
        for model in models
        for method in methods
        if possible(task, model, method) and restrictions(method.slug, model.model_type) is not None
    ]
    if not pairs:
        raise InputError(_impossible(task, spec, models))
    pairs.sort(key=lambda one: (-one.score, one.model.hf_id, one.method.slug))
    question = Question(task=task, digests=digests, device=device, spec=spec, quantization=quantization)
    feasible, rejected = split(pairs, question)
    if not feasible:
        raise InfeasibleBudgetError(_closest(pairs, question))
    peers = tuple({one.model.hf_id: one.model for one in pairs}.values())
    picked = _picked(feasible, spec)
    return Recommendation(
        task=task.slug,
        budget=spec.budget,
        candidates=tuple(
            _ranked(rank, one, roles, question, known, peers) for rank, (one, roles) in enumerate(picked, start=1)
        ),
        rejected=(*rejected[:_MOST_REJECTED], *(_refused(task) if not spec.base_model else ())),
        cards=cards_of(pairs, picked[0][0], question),
    )


def _with_lengths(task: Task, spec: CodeTask) -> Task:
    """Return the task with the lengths of the user's data instead of the usual ones."""
    return replace(
        task,
        max_seq_length=_rounded(spec.source_tokens) if spec.source_tokens else task.max_seq_length,
        max_target_length=(
            _rounded(spec.target_tokens) if spec.target_tokens and task.max_target_length else task.max_target_length
        ),
    )


def _rounded(tokens: int) -> int:
    """Return the next multiple of 32: matrix products like round sizes, and estimated lengths err."""
    return 32 * -(-tokens // 32)


def _picked(feasible: Sequence[Scored], spec: CodeTask) -> list[tuple[Scored, tuple[Role, ...]]]:
    """Return a varied few with their roles; the cheapest reasonable and the safest are always among three or more."""
    roles = roles_of(feasible, spec.prefer)
    by_id = {id(one): roles.get(at, ()) for at, one in enumerate(feasible)}
    chosen = pick(feasible, spec.top, spec.prefer)
    if spec.top > len(_ALWAYS):
        wanted = [one for one in feasible if set(_ALWAYS) & set(by_id[id(one)]) and one not in chosen]
        first = chosen[0].proposal.model  # whoever settles on it sees the choice of methods that is left
        spare = [one for one in chosen[1:] if one.proposal.model != first and not set(_ALWAYS) & set(by_id[id(one)])]
        for one in wanted[: len(spare)]:
            chosen.remove(spare.pop())
            chosen.append(one)
    return [(one, by_id[id(one)]) for one in chosen]


def _offered() -> tuple[BaseModel, ...]:
    return tuple(model for model in all_base_models() if not set(NOT_OFFERED).intersection(model.traits))


def _methods(spec: CodeTask) -> tuple[tuple[Method, ...], QuantizationChoice | None]:
    """Return the methods that come into question, and the storage of the base weights, None for any.

    Full fine-tuning is what the others are compared with; it is proposed only when asked for, as are methods that no
    row of the evidence has on a task with code.
    """
    wanted, needs_quantized = spec.quantization, spec.quantization not in (None, "none")
    if spec.method:
        method, implied = resolve_method(spec.method)
        if (implied and wanted not in (None, implied)) or (needs_quantized and not method.works_quantized):
            does = "does not work on a quantized base; name another method"
            if implied:
                does = f"is {method.slug} on a {implied} base; leave --quantization out, or give --method {method.slug}"
            raise InputError(f"--quantization {wanted}: {printable(spec.method)} {does}")
        return (method,), implied or wanted
    offered = (method for method in METHODS.values() if method.slug != "full" and not method.on_request)
    return tuple(method for method in offered if method.works_quantized or not needs_quantized), wanted


def _refused(task: Task) -> list[RejectedCandidate]:
    """Models of the catalogue that are never proposed on their own account."""
    return [
        RejectedCandidate(
            base_model=model.hf_id, method="lora", precision="bf16", quantization=None, estimate=None,
            reason=TRAIT_NOTES[next(trait for trait in model.traits if trait in NOT_OFFERED)],
        )
        for model in all_base_models()
        if set(NOT_OFFERED).intersection(model.traits) and possible(task, model, METHODS["lora"])
    ]  # fmt: skip


def _ranked(
    rank: int,
    one: Scored,
    roles: tuple[Role, ...],
    question: Question,
    known: Mapping[str, BaseModelStrength],
    peers: tuple[BaseModel, ...],
) -> RankedCandidate:
    proposal, found, task, device = one.proposal, one.fit, question.task, question.device
    return RankedCandidate(
        rank=rank,
        base_model=proposal.model.hf_id,
        architecture=proposal.model.architecture,
        method=proposal.method.slug,
        hyperparameters=proposal.hyperparameters,
        precision=found.precision,
        quantization=found.quantization,
        batch_size=found.batch_size,
        max_seq_length=proposal.max_seq_length,
        estimate=found.estimate,
        confidence=confidence_of(
            one.forecast, question.digests[proposal.model.architecture].standings[proposal.method.slug]
        ),
        reasons=reasons_for(one, task, device, question.digests, known, peers),
        micro_batch_size=found.micro_batch_size if found.micro_batch_size < found.batch_size else None,
        gradient_checkpointing=found.gradient_checkpointing,
        forecast=one.forecast,
        score=round(one.score, 4),
        roles=roles,
        training_time_s=training_time_s(proposal, found, question.spec),
        rivals=rivals_of(proposal, one.forecast, task, full_fit(proposal.model, question), device),
    )


def _impossible(task: Task, spec: CodeTask, models: tuple[BaseModel, ...]) -> str:
    if spec.base_model and spec.method:
        method, _ = resolve_method(spec.method)
        if restrictions(method.slug, models[0].model_type) is None:
            return f"{printable(spec.base_model)}: PEFT cannot put {method.title} on its fused experts; use lora"
    what = []
    if spec.base_model:
        what.append(f"{printable(spec.base_model)} ({models[0].architecture})")
    if spec.method:
        what.append(printable(spec.method))
    wanted = "an encoder-only model" if task.form == "retrieval" else "a decoder or encoder-decoder model"
    hint = f"it needs {wanted}" if task.kind == "generative" or task.form == "retrieval" else "try another method"
    return f"{' with '.join(what) or 'no base model'} cannot do {task.slug}; {hint}"


def _closest(pairs: list[Pair], question: Question) -> str:
    """Name the proposal that needs least memory, and how much."""
    sizes = sorted({one.model.params for one in pairs})[:3]  # nothing larger can be the closest
    proposals = [question.proposal(one) for one in pairs if one.model.params in sizes]
    tried = ((one, question.fitted(one)) for one in proposals)
    fits = [(one, found) for one, found in tried if found is not None]
    if not fits:
        name = proposals[0].model.hf_id
        return f"no memory estimate of {name} is stored; `peft-advisor estimate --model {name}` makes one"
    in_memory = [(one, found) for one, found in fits if found.fits]
    if in_memory and question.spec.budget.time_s is not None:
        quickest, found = min(in_memory, key=lambda pair: epoch_s(pair[1], question.spec) or float("inf"))
        slow = f"{quickest.model.hf_id} with {quickest.method.slug}: {too_slow(found, question.spec)}"
        return f"nothing trains in time for {question.task.slug}; the closest is {slow}"
    least, found = min(fits, key=lambda pair: pair[1].estimate.peak_memory_bytes)
    stored = f" with a {found.quantization.replace('bit', '-bit')} base" if found.quantization else ""
    extra = " with gradient checkpointing" if found.gradient_checkpointing else ""
    way = f"{stored}{' and' if stored and extra else ''}{extra}"
    return (
        f"nothing fits in {question.device.usable_gib:.2g} GiB of usable memory for {question.task.slug}; "
        f"the closest is {least.model.hf_id} with {least.method.slug}{way}, "
        f"about {found.estimate.peak_memory_gib:.1f} GiB with one example at once"
        f"{question.gpus_for(least, found)}"
    )
