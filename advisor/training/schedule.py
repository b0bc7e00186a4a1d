"""Hyperparameters of the training loop, and the rate and weight decay that each trained parameter gets by them."""

import math
from dataclasses import dataclass

import torch
from transformers.trainer_utils import SchedulerType

from advisor.candidates import Candidate
from advisor.errors import nearest_names, printable
from advisor.modeling.adapters import LORAPLUS_RATIO, UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel

# Weight decay pulls towards zero, which suits a matrix but not a bias, nor a scale that starts at one.
_NOT_DECAYED = ("bias", "norm", "ia3_l")
# What LoRA+ trains low-rank changes of embeddings with: `loraplus_lr_embedding` of peft/optimizers/loraplus.py (PEFT
# 0.21) and of its authors' code.
_EMBEDDING_RATE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Hyperparameters of the loop, under transformers' and PEFT's names, with their defaults."""

    learning_rate: float
    loraplus_lr_ratio: float = 1.0
    weight_decay: float = 0.0
    warmup_ratio: float = 0.0
    lr_scheduler_type: str = "linear"

    @classmethod
    def of(cls, candidate: Candidate) -> "Schedule":
        """Read and check the values of a candidate.

        Raises:
            UnsupportedCandidateError: A value is not one that can be trained with.
        """
        values = {name: candidate.hyperparameters[name] for name in cls.__slots__ if name in candidate.hyperparameters}
        kind = values.pop("lr_scheduler_type", "linear")
        kinds = [item.value for item in SchedulerType]
        if kind not in kinds:
            near = nearest_names(str(kind), kinds) or kinds
            raise UnsupportedCandidateError(f"lr_scheduler_type {printable(str(kind))}: use {', '.join(near[:3])}")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise UnsupportedCandidateError(f"{name} must be a number of at least 0, not {value!r}")
        numbers = {name: float(str(value)) for name, value in values.items()}
        if numbers.get(LORAPLUS_RATIO, 1.0) < 1:
            raise UnsupportedCandidateError(f"{LORAPLUS_RATIO} must be at least 1, not {numbers[LORAPLUS_RATIO]:g}")
        if numbers.get("warmup_ratio", 0.0) > 1:
            raise UnsupportedCandidateError(f"warmup_ratio {numbers['warmup_ratio']:g} is not between 0 and 1")
        return cls(lr_scheduler_type=str(kind), **numbers)


def parameter_groups(attached: AttachedModel, schedule: Schedule) -> list[dict[str, object]]:
    """Return what is trained as `torch.optim` takes it, in groups with their weight decay and learning rate.

    With a `loraplus_lr_ratio` matrices B and all vectors have that many times the rate, as in
    `peft.optimizers.create_loraplus_optimizer` and in the code of its authors (Hayou et al., LoRA+,
    https://arxiv.org/abs/2402.12354).
    """
    groups: dict[tuple[bool, float], list[torch.nn.Parameter]] = {}
    for name, parameter in attached.model.named_parameters():
        if parameter.requires_grad:
            is_vector = parameter.ndim < 2 or any(part in name.lower() for part in _NOT_DECAYED)
            groups.setdefault((is_vector, _rate_of(name, parameter, schedule)), []).append(parameter)
    # The optimizer numbers parameters in this order, and checkpoints name their state so: matrices come first.
    return [
        {"params": groups[key], "weight_decay": 0.0 if key[0] else schedule.weight_decay, "lr": key[1]}
        for key in sorted(groups)
    ]


def _rate_of(name: str, parameter: torch.nn.Parameter, schedule: Schedule) -> float:
    if schedule.loraplus_lr_ratio == 1.0:
        return schedule.learning_rate
    if "lora_embedding_" in name:
        return _EMBEDDING_RATE
    is_fast = "lora_B" in name or parameter.ndim == 1
    return schedule.learning_rate * (schedule.loraplus_lr_ratio if is_fast else 1.0)
