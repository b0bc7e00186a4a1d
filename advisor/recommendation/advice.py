"""From a `CodeTask` to a `Recommendation`: propose, score, fit to the memory, pick."""

from collections.abc import Mapping
from dataclasses import replace

from advisor.candidates import Proposal, possible, propose
from advisor.catalog.base_models import TRAIT_NOTES, BaseModel, all_base_models, find_base_model
from advisor.catalog.methods import METHODS, Method, resolve_method, restrictions
from advisor.catalog.tasks import Task, find_task
from advisor.errors import InfeasibleBudgetError, InputError, printable
from advisor.evidence.base_model_strength import BaseModelStrength, ability_of, strengths
from advisor.evidence.digest import Digest, read_digests
from advisor.feasibility.fit import Device, Fit, device_of, fit
from advisor.recommendation.ranking import NOT_OFFERED, Pair, Scored, cost_of, pick, score_of
from advisor.recommendation.reasons import confidence_of, reasons_for, too_large
from advisor.recommendation.records import RankedCandidate, Recommendation, RejectedCandidate
from advisor.spec import Architecture, CodeTask, QuantizationChoice

# Feasible candidates to look at for each one returned; the rest would only be ranked below them.
_LOOK_AHEAD, _LEAST_LOOKED_AT = 4, 20
_MOST_REJECTED = 12


def recommend(spec: CodeTask) -> Recommendation:
    """Recommend base models, methods and hyperparameters for a task within a budget.

    Raises:
        UnknownNameError: No such task, method, base model or GPU.
        InputError: The base model or the method cannot do the task, or the method not with this quantization.
        InfeasibleBudgetError: Nothing fits; the message names the closest.
    """
    task = find_task(spec.task)
    device = device_of(spec.budget)
    models = (find_base_model(spec.base_model),) if spec.base_model else _offered()
    methods, quantization = _methods(spec)
    digests, known = read_digests(task.slug), strengths(ability_of(task.slug))
    pairs = [
        Pair(model=model, method=method, score=score_of(model, method, digests, known, spec.prefer))
        for model in models
        for method in methods
        if possible(task, model, method) and restrictions(method.slug, model.model_type) is not None
    ]
    if not pairs:
        raise InputError(_impossible(task, spec, models))
    pairs.sort(key=lambda one: (-one.score, one.model.hf_id, one.method.slug))
    feasible, rejected = _split(pairs, digests, task, device, spec, quantization)
    if not feasible:
        raise InfeasibleBudgetError(_closest(pairs, digests, task, device, quantization))
    picked = pick(feasible, spec.top)
    peers = tuple({one.model.hf_id: one.model for one in pairs}.values())
    return Recommendation(
        task=task.slug,
        budget=spec.budget,
        candidates=tuple(
            _ranked(rank, one, task, device, digests, known, peers) for rank, one in enumerate(picked, start=1)
        ),
        rejected=(*rejected[:_MOST_REJECTED], *(_refused(task) if not spec.base_model else ())),
    )


def _offered() -> tuple[BaseModel, ...]:
    return tuple(model for model in all_base_models() if not set(NOT_OFFERED).intersection(model.traits))


def _methods(spec: CodeTask) -> tuple[tuple[Method, ...], QuantizationChoice | None]:
    """Return the methods that come into question, and the storage of the base weights, None for any.

    Full fine-tuning is what the others are compared with; it is proposed only when asked for.
    """
    wanted, needs_quantized = spec.quantization, spec.quantization not in (None, "none")
    if spec.method:
        method, implied = resolve_method(spec.method)
        if (implied and wanted not in (None, implied)) or (needs_quantized and not method.works_quantized):
            does = f"is {method.slug} on a {implied} base" if implied else "does not work on a quantized base"
            raise InputError(f"--quantization {wanted}: {printable(spec.method)} {does}; name another method")
        return (method,), implied or wanted
    offered = (method for method in METHODS.values() if method.slug != "full")
    return tuple(method for method in offered if method.works_quantized or not needs_quantized), wanted


def _split(
    pairs: list[Pair],
    digests: Mapping[Architecture, Digest],
    task: Task,
    device: Device,
    spec: CodeTask,
    quantization: QuantizationChoice | None,
) -> tuple[list[Scored], list[RejectedCandidate]]:
    """Fit pairs from the best score down until enough fit; return those, and what did not fit before them."""
    feasible: list[Scored] = []
    rejected: dict[str, RejectedCandidate] = {}
    for one in pairs:
        if len(feasible) >= max(_LOOK_AHEAD * spec.top, _LEAST_LOOKED_AT):
            break
        proposal = _proposal(task, one, digests)
        found = fit(proposal, task, device, quantization)
        if found is None:
            rejected.setdefault(one.model.hf_id, _without_estimate(proposal))
        elif found.fits:
            feasible.append(Scored(proposal=proposal, fit=found, score=one.score - cost_of(found, spec.prefer)))
        else:  # one line per base model: its best method says enough
            rejected.setdefault(one.model.hf_id, _rejection(proposal, found, device))
    return feasible, list(rejected.values())


def _proposal(task: Task, pair: Pair, digests: Mapping[Architecture, Digest]) -> Proposal:
    """Return the proposal of a pair, with what PEFT demands of the method on this type of model."""
    proposal = propose(task, pair.model, pair.method, digests[pair.model.architecture])
    demanded = restrictions(pair.method.slug, pair.model.model_type) or {}
    return replace(proposal, hyperparameters={**proposal.hyperparameters, **demanded})


def _rejection(proposal: Proposal, found: Fit, device: Device) -> RejectedCandidate:
    return RejectedCandidate(
        base_model=proposal.model.hf_id, method=proposal.method.slug, precision=found.precision,
        quantization=found.quantization, estimate=found.estimate, reason=too_large(found, device),
    )  # fmt: skip


def _without_estimate(proposal: Proposal) -> RejectedCandidate:
    name = proposal.model.hf_id
    return RejectedCandidate(
        base_model=name, method=proposal.method.slug, precision="bf16", quantization=None, estimate=None,
        reason=f"no memory estimate is stored for it; `peft-advisor estimate --model {name}` makes one",
    )  # fmt: skip


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
    task: Task,
    device: Device,
    digests: Mapping[Architecture, Digest],
    known: Mapping[str, BaseModelStrength],
    peers: tuple[BaseModel, ...],
) -> RankedCandidate:
    proposal, found = one.proposal, one.fit
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
        confidence=confidence_of(digests[proposal.model.architecture].standings[proposal.method.slug]),
        reasons=reasons_for(proposal, found, task, device, digests, known, peers),
        micro_batch_size=found.micro_batch_size if found.micro_batch_size < found.batch_size else None,
        gradient_checkpointing=found.gradient_checkpointing,
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


def _closest(
    pairs: list[Pair],
    digests: Mapping[Architecture, Digest],
    task: Task,
    device: Device,
    quantization: QuantizationChoice | None,
) -> str:
    """Name the proposal that needs least memory, and how much."""
    sizes = sorted({one.model.params for one in pairs})[:3]  # nothing larger can be the closest
    proposals = [_proposal(task, one, digests) for one in pairs if one.model.params in sizes]
    tried = ((one, fit(one, task, device, quantization)) for one in proposals)
    fits = [(one, found) for one, found in tried if found is not None]
    if not fits:
        name = proposals[0].model.hf_id
        return f"no memory estimate of {name} is stored; `peft-advisor estimate --model {name}` makes one"
    least, found = min(fits, key=lambda pair: pair[1].estimate.peak_memory_bytes)
    stored = f" with a {found.quantization.replace('bit', '-bit')} base" if found.quantization else ""
    extra = " with gradient checkpointing" if found.gradient_checkpointing else ""
    return (
        f"nothing fits in {device.usable_gib:.2g} GiB of usable memory for {task.slug}; the closest is "
        f"{least.model.hf_id} with {least.method.slug}{stored}{' and' if stored and extra else ''}{extra}, "
        f"about {found.estimate.peak_memory_gib:.1f} GiB with one example at once"
    )
