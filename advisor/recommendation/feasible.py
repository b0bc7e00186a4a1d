"""Fit pairs of base model and method to the memory and the time there is, from the best score down."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from advisor.candidates import Proposal, propose
from advisor.catalog.base_models import BaseModel
from advisor.catalog.methods import METHODS, Method, restrictions
from advisor.catalog.tasks import Task
from advisor.evidence.digest import Digest
from advisor.feasibility.fit import COMFORTABLE_MICRO_BATCH, Device, Fit, fit
from advisor.feasibility.several_gpus import spread_that_fits, told
from advisor.recommendation.ranking import Pair, Scored, cost_of, leader
from advisor.recommendation.reasons import too_large
from advisor.recommendation.records import RejectedCandidate
from advisor.spec import Architecture, CodeTask, QuantizationChoice

# Feasible candidates to look at for each one returned; the rest would only be ranked below them.
_LOOK_AHEAD, _LEAST_LOOKED_AT = 4, 20
# Smaller base models are looked at besides, so that the cheapest reasonable candidate is among what was fitted.
_SMALL_LOOKED_AT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What pairs are fitted to.

    Attributes:
        task: What is to be done; its lengths are those of the user's data where they are known.
        digests: Evidence about the task by architecture.
        device: What there is.
        spec: What was asked.
        quantization: Storage of the base weights, None for any.
    """

    task: Task
    digests: Mapping[Architecture, Digest]
    device: Device
    spec: CodeTask
    quantization: QuantizationChoice | None

    def fitted(self, proposal: Proposal) -> Fit | None:
        """Return the best way to train a proposal, None where nothing can be said."""
        few = COMFORTABLE_MICRO_BATCH if self.spec.prefer == "memory" else None
        return fit(proposal, self.task, self.device, self.quantization, most_at_once=few)

    def gpus_for(self, proposal: Proposal, found: Fit) -> str:
        """Say how many of the GPUs a proposal needs that does not fit on one; empty where no number would do."""
        return told(spread_that_fits(proposal, self.task, found, self.device), self.device)

    def proposal(self, model_and_method: Pair) -> Proposal:
        """Return the proposal of a pair, with what PEFT demands of the method on this type of model."""
        return self.proposal_with(model_and_method.model, model_and_method.method)

    def proposal_with(self, model: BaseModel, method: Method) -> Proposal:
        """Return the proposal of a method on a base model."""
        found = propose(self.task, model, method, self.digests[model.architecture])
        demanded = restrictions(method.slug, model.model_type) or {}
        return replace(found, hyperparameters={**found.hyperparameters, **demanded})


def split(pairs: list[Pair], question: Question) -> tuple[list[Scored], list[RejectedCandidate]]:
    """Fit pairs from the best score down until enough fit; return those, and the base models that did not.

    Args:
        pairs: Best score first.
        question: What they are fitted to.
    """
    feasible: list[Scored] = []
    rejected: dict[str, RejectedCandidate] = {}
    enough = max(_LOOK_AHEAD * question.spec.top, _LEAST_LOOKED_AT)
    for at, pair in enumerate(pairs):
        if len(feasible) >= enough:
            feasible += _small(pairs[at:], feasible, question)
            feasible += _tried(pairs[at:], feasible, question)
            break
        one = _fitted(pair, question, tells_gpus=pair.model.hf_id not in rejected)
        if isinstance(one, Scored):
            feasible.append(one)
        else:  # one line per base model: its best method says enough
            rejected.setdefault(pair.model.hf_id, one)
    fits = {one.proposal.model.hf_id for one in feasible}
    return feasible, [one for name, one in rejected.items() if name not in fits]


def first_feasible(pairs: Iterable[Pair], question: Question, looked_at: int) -> Scored | None:
    """Return the best of the first few pairs that fit, None when none fits."""
    found: list[Scored] = []
    rest = iter(pairs)
    for pair in rest:
        one = _fitted(pair, question)
        if isinstance(one, Scored):
            found.append(one)
        if len(found) >= looked_at:
            break
    if not found:
        return None
    return leader([*found, *_tried(rest, found, question)], question.spec.prefer)


def training_time_s(proposal: Proposal, found: Fit, spec: CodeTask) -> float | None:
    """Return the seconds of all epochs with every batch padded to its longest, None without rows or GPU."""
    epoch = epoch_s(found, spec)
    return None if epoch is None else epoch * float(proposal.hyperparameters["num_epochs"])


def _fitted(pair: Pair, question: Question, *, tells_gpus: bool = False) -> Scored | RejectedCandidate:
    proposal = question.proposal(pair)
    found = question.fitted(proposal)
    if found is None:
        return _without_estimate(proposal)
    if not found.fits:
        several = question.gpus_for(proposal, found) if tells_gpus else ""
        return _rejection(proposal, found, too_large(found, question.device) + several)
    in_time = _in_time(proposal, found, question.spec)
    if in_time is None:
        return _rejection(proposal, found, too_slow(found, question.spec))
    return Scored(
        proposal=in_time, fit=found, score=pair.score - cost_of(found, question.spec.prefer),
        forecast=pair.forecast, quality=pair.quality, tried=pair.tried,
        epochs_left_out=_epochs(proposal) - _epochs(in_time),
    )  # fmt: skip


def _small(pairs: Iterable[Pair], feasible: list[Scored], question: Question) -> list[Scored]:
    """Return the best pair of each of the smallest base models that nothing was fitted for yet."""
    seen = {one.proposal.model.hf_id for one in feasible}
    best: dict[str, Pair] = {}
    for pair in pairs:
        if pair.model.hf_id not in seen:
            best.setdefault(pair.model.hf_id, pair)
    smallest = sorted(best.values(), key=lambda pair: pair.model.params)[:_SMALL_LOOKED_AT]
    fitted = (_fitted(pair, question) for pair in smallest)
    return [one for one in fitted if isinstance(one, Scored)]


def _tried(pairs: Iterable[Pair], feasible: list[Scored], question: Question) -> list[Scored]:
    """Return what was tried on the task with the leading base model, where saving alone led something untried there."""
    first = leader(feasible, question.spec.prefer)
    if question.spec.prefer == "quality" or first.tried:
        return []
    fitted = (_fitted(pair, question) for pair in pairs if pair.tried and pair.model == first.proposal.model)
    return [one for one in fitted if isinstance(one, Scored)]


def _in_time(proposal: Proposal, found: Fit, spec: CodeTask) -> Proposal | None:
    """Return the proposal with as many epochs as the time allows, None when not even one, or nobody knows."""
    epoch, allowed = epoch_s(found, spec), spec.budget.time_s
    if allowed is None:
        return proposal
    epochs = 0 if epoch is None else min(_epochs(proposal), int(allowed / epoch))
    if epochs < 1:
        return None
    return replace(proposal, hyperparameters={**proposal.hyperparameters, "num_epochs": epochs})


def _epochs(proposal: Proposal) -> int:
    return int(proposal.hyperparameters["num_epochs"])


def too_slow(found: Fit, spec: CodeTask) -> str:
    """Say why a way to train does not end in time."""
    epoch, allowed = epoch_s(found, spec), spec.budget.time_s or 0.0
    if epoch is None:
        return "no stored dry run tells how long a step takes"
    return f"one epoch takes about {epoch / 60:.1f} min, {allowed / 60:.1f} min are allowed"


def epoch_s(found: Fit, spec: CodeTask) -> float | None:
    """Return the seconds of one epoch with every batch padded to its longest, None without rows or GPU."""
    if spec.n_rows is None or found.estimate.step_time_s is None:
        return None
    return math.ceil(spec.n_rows / found.batch_size) * found.estimate.step_time_s


def _rejection(proposal: Proposal, found: Fit, reason: str) -> RejectedCandidate:
    return RejectedCandidate(
        base_model=proposal.model.hf_id, method=proposal.method.slug, precision=found.precision,
        quantization=found.quantization, estimate=found.estimate, reason=reason,
    )  # fmt: skip


def _without_estimate(proposal: Proposal) -> RejectedCandidate:
    name = proposal.model.hf_id
    return RejectedCandidate(
        base_model=name, method=proposal.method.slug, precision="bf16", quantization=None, estimate=None,
        reason=f"no memory estimate is stored for it; `peft-advisor estimate --model {name}` makes one",
    )  # fmt: skip


def full_fit(model: BaseModel, question: Question) -> Fit | None:
    """Return the way to fine-tune a base model in full, None where nothing can be said."""
    return fit(question.proposal_with(model, METHODS["full"]), question.task, question.device, "none")
