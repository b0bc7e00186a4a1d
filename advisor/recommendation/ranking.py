"""The score that candidates are ranked by, and the pick of a varied few.

Score = expected quality - costs, in units of `POINTS_PER_UNIT` points of 100.

- Expected quality (`quality`): how strong the base model is, times the share of full fine-tuning that the method is
  forecast to keep; less half a standard deviation, so that of two alike the better known comes first.
- Scarce evidence: 0.25 where no paper has the method on the very task, 0.15 where fewer than three have it at all.
  Gaps of one to two points within the LoRA family are noise (knowledge/README.md), and `studies/evidence_model` could
  not show that leaving LoRA for so small a lead ever paid; what nobody tried on the task needs a larger one.
- Architecture: half the log of its graded number of papers on the task against the best-studied one.
- Costs: 0.1 per doubling of parameters beyond 1B, 0.45 per doubling when speed is preferred; 0.4 per doubling of the
  estimated memory when memory is preferred, where few examples are in memory at once as well; 0.1 for a quantized
  base; 0.05 for gradient checkpointing; 0.05 per halving of the examples in memory below 4; what a trait costs.

Only the forecasts are fitted to evidence; the weights of the costs are judgement, kept here in one place. Nothing in
the score is a measured quality of the candidate; only `tune` measures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from advisor.candidates import Proposal
from advisor.catalog.base_models import BaseModel, Trait
from advisor.catalog.methods import LORA_FAMILY, Method
from advisor.catalog.tasks import Task
from advisor.evidence.base_model_strength import BaseModelStrength
from advisor.evidence.digest import Digest
from advisor.evidence.forecast import Forecast
from advisor.evidence.local import LocalRow
from advisor.feasibility.fit import COMFORTABLE_MICRO_BATCH, Fit
from advisor.recommendation.own_results import forecast_with_own
from advisor.recommendation.quality import Quality, quality_of
from advisor.spec import Architecture, Preference

# As many points as a unit of a base model's rating carries over (`quality`).
POINTS_PER_UNIT = 10.0
_ARCHITECTURE_SHARE = 0.5
_NOT_ON_TASK_COST, _FEW_PAPERS_COST = 0.25, 0.15
FEW_PAPERS = 3
# What saves memory or time is reasonable when it is expected to lose at most so many points of 100. Judgement.
REASONABLE_LOSS_POINTS = 3.0
# Per doubling of the base model's parameters.
_SIZE_COST: dict[Preference, float] = {"quality": 0.1, "memory": 0.3, "speed": 0.45}
# Below this a smaller model is no advantage.
_SMALL: dict[Preference, float] = {"quality": 1e9, "memory": 1e7, "speed": 1e7}
# Per doubling of the estimated peak memory, when memory is preferred.
_MEMORY_COST = 0.4
# Soft prompts lengthen every sequence, DoRA computes a norm per layer: 26 % longer than LoRA (peft2026comparison-006).
_SLOW_METHODS = {"prompt-tuning": 0.3, "p-tuning": 0.2, "dora": 0.25, "prefix-tuning": 0.1}
_QUANTIZED_COST: dict[Preference, float] = {"quality": 0.1, "memory": 0.0, "speed": 0.4}
# Computing layers anew takes about a third longer (one more forward pass of three) and changes no result.
_CHECKPOINTING_COST: dict[Preference, float] = {"quality": 0.05, "memory": 0.0, "speed": 0.3}
_SMALL_BATCH_COST = 0.05
_TRAIT_COST: dict[Trait, float] = {"gated": 0.3, "multimodal": 0.8, "linear-attention": 0.4, "post-trained": 0.5}
# Not proposed unless the user names the model: loading would run foreign code, or adapters would miss most weights.
NOT_OFFERED: tuple[Trait, ...] = ("remote-code", "mixture-of-experts")

# A further line about the same base model, family, architecture or method must be that much better to come before
# something new, for each line that is there already.
_SAME_MODEL, _SAME_FAMILY, _SAME_ARCHITECTURE, _SAME_METHOD = 0.6, 0.3, 0.1, 0.05
# Another member of the LoRA family is hardly another method.
_SAME_LORA = 0.2
_LEAST_FOR_SECOND_METHOD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A base model with a method, and its score without the costs that depend on memory.

    Attributes:
        tried: Somebody used the method on the task, with whatever architecture.
    """

    model: BaseModel
    method: Method
    score: float
    forecast: Forecast
    quality: Quality
    tried: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A proposal that fits, its score and its forecasts.

    Attributes:
        tried: As in `Pair`.
        epochs_left_out: Epochs fewer than advised, for lack of time.
    """

    proposal: Proposal
    fit: Fit
    score: float
    forecast: Forecast
    quality: Quality
    tried: bool
    epochs_left_out: int = 0


def pair_of(
    task: Task,
    model: BaseModel,
    method: Method,
    digests: Mapping[Architecture, Digest],
    strengths: Mapping[str, BaseModelStrength],
    prefer: Preference,
    own: Sequence[LocalRow] = (),
) -> Pair:
    """Return a base model with a method, its forecasts, and its score without the costs that depend on memory."""
    found = forecast_with_own(task, model, method.slug, own)
    quality = quality_of(model, found, strengths)
    score = quality.cautious / POINTS_PER_UNIT + _ARCHITECTURE_SHARE * _architecture_score(model.architecture, digests)
    score -= _scarcity_cost(found)
    score -= _SIZE_COST[prefer] * math.log2(max(1.0, model.params / _SMALL[prefer]))
    if prefer == "speed":
        score -= _SLOW_METHODS.get(method.slug, 0.0)
    score -= sum(_TRAIT_COST.get(trait, 0.0) for trait in model.traits)
    tried = found.task_papers > 0 or any(digest.standings[method.slug].support > 0 for digest in digests.values())
    return Pair(model=model, method=method, score=score, forecast=found, quality=quality, tried=tried)


def cost_of(fit: Fit, prefer: Preference) -> float:
    """Return what the way of training costs in score."""
    cost = _QUANTIZED_COST[prefer] if fit.quantization else 0.0
    cost += _CHECKPOINTING_COST[prefer] if fit.gradient_checkpointing else 0.0
    if prefer == "memory":
        cost += _MEMORY_COST * math.log2(fit.estimate.peak_memory_gib)
    return cost + _SMALL_BATCH_COST * max(0.0, math.log2(COMFORTABLE_MICRO_BATCH / fit.micro_batch_size))


def leader(scored: Iterable[Scored], prefer: Preference) -> Scored:
    """Return what comes first: the best score, or what was tried on the task instead of it.

    Where memory or speed is preferred, saving either is no reason to begin with a method that nobody tried on the
    task: the best of those tried comes first unless it is expected to lose more than `REASONABLE_LOSS_POINTS`. Where
    quality is preferred, what nobody tried has to lead by `_NOT_ON_TASK_COST`.

    Args:
        scored: At least one.
        prefer: What was asked for.
    """
    everything = sorted(scored, key=_order)
    best = everything[0]
    if prefer == "quality" or best.tried:
        return best
    least_points = best.quality.points - REASONABLE_LOSS_POINTS
    return next((one for one in everything if one.tried and one.quality.points >= least_points), best)


def pick(scored: Iterable[Scored], top: int, prefer: Preference = "quality") -> list[Scored]:
    """Return the best few, preferring something new over one more variant of the same.

    Of three or more, one is another method on the first base model: whoever settles on the model sees the choice
    that is left, and `tune` starts from both.

    Args:
        scored: Feasible candidates.
        top: How many to return at most.
        prefer: What was asked for; decides which is the first (`leader`).
    """
    everything = sorted(scored, key=_order)
    if not everything or top < 1:
        return []
    picked = [leader(everything, prefer)]
    rest = [one for one in everything if one is not picked[0]]
    while rest and len(picked) < top:
        best = max(rest, key=lambda one: one.score - _sameness(one.proposal, picked))
        rest.remove(best)
        picked.append(best)
    if top >= _LEAST_FOR_SECOND_METHOD and not any(_is_other_method(one, picked[0]) for one in picked):
        others = [one for one in everything if _is_other_method(one, picked[0])]
        other = max(others, key=lambda one: one.score - _sameness(one.proposal, picked[:1]), default=None)
        picked = [*picked[: top - 1], other] if other is not None else picked
    return picked


def _order(one: Scored) -> tuple[float, str, str]:
    return -one.score, one.proposal.model.hf_id, one.proposal.method.slug


def _is_other_method(one: Scored, first: Scored) -> bool:
    return one.proposal.model.hf_id == first.proposal.model.hf_id and one.proposal.method != first.proposal.method


def _sameness(proposal: Proposal, picked: list[Scored]) -> float:
    cost = 0.0
    for one in picked:
        if one.proposal.model.hf_id == proposal.model.hf_id:
            cost += _SAME_MODEL
        elif one.proposal.model.family == proposal.model.family:
            cost += _SAME_FAMILY
        if one.proposal.model.architecture == proposal.model.architecture:
            cost += _SAME_ARCHITECTURE
        if one.proposal.method.slug == proposal.method.slug:
            cost += _SAME_METHOD
        elif proposal.method.slug in LORA_FAMILY and one.proposal.method.slug in LORA_FAMILY:
            cost += _SAME_LORA
    return cost


def _scarcity_cost(found: Forecast) -> float:
    if found.low == found.high:  # full fine-tuning is what everything is measured against
        return 0.0
    cost = 0.0 if found.task_papers else _NOT_ON_TASK_COST
    return cost + (_FEW_PAPERS_COST if found.papers < FEW_PAPERS else 0.0)


def _architecture_score(architecture: Architecture, digests: Mapping[Architecture, Digest]) -> float:
    most = max(digest.architecture_papers for digest in digests.values())
    return math.log((digests[architecture].architecture_papers + 0.5) / (most + 0.5))
