"""AdaLoRA's part in a training step: singular values that matter least are set to zero, until a budget is reached.

Zhang et al. 2023 (https://arxiv.org/abs/2303.10512). PEFT scores them and sets them to zero when it is told that a step
is over (`AdaLoraModel.update_and_allocate` in peft/tuners/adalora/model.py); when the budget shrinks is told in steps,
which the length of training gives: nothing in the first 1/25, down to the target until 1/10 before the end, as in
PEFT's own comparison (200 and 500 of 5000 steps, knowledge/peft_method_comparison.csv).
"""

from collections.abc import Mapping
from typing import Any

import torch

from advisor.modeling.attachment import AttachedModel
from advisor.modeling.builders import UNKNOWN_STEPS

_SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
_PREFIX = "ranks"


class RankAllocation:
    """The budget of one AdaLoRA adapter; for other adapters everything here does nothing."""

    def __init__(self, attached: AttachedModel, n_steps: int) -> None:
        """Tell the adapter how long training is.

        Args:
            attached: Model with the adapter to train.
            n_steps: Optimizer steps to the end of the schedule.
        """
        tuner: Any = getattr(attached.model, "base_model", None)
        found: Any = getattr(attached.model, "active_peft_config", None)
        # One step is over before anything was scored.
        is_adalora = n_steps > 1 and getattr(found, "peft_type", None) == "ADALORA"
        self._tuner: Any = tuner if is_adalora else None
        if is_adalora and found.total_step == UNKNOWN_STEPS:
            found.total_step, found.tinit, found.tfinal = n_steps, n_steps // 25, n_steps // 10

    def after_step(self, step: int) -> None:
        """Score and set to zero, between the change of the parameters and the loss of their gradients.

        Args:
            step: Optimizer steps so far, this one among them.
        """
        if self._tuner is not None:
            self._tuner.update_and_allocate(step)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the scores so far, which a training that goes on needs."""
        if self._tuner is None:
            return {}
        return {
            f"{_PREFIX}.{kind}.{name}": value
            for kind in _SCORES
            for name, value in getattr(self._tuner.rankallocator, kind).items()
        }

    def kept(self) -> dict[str, list[bool]] | None:
        """Return which singular values of each layer are not zero, None before the first choice."""
        return None if self._tuner is None else self._tuner.peft_config[self._tuner.trainable_adapter_name].rank_pattern

    def restore(self, tensors: Mapping[str, torch.Tensor], kept: dict[str, list[bool]] | None) -> None:
        """Go on from what `tensors` and `kept` returned."""
        if self._tuner is None:
            return
        for kind in _SCORES:
            prefix = f"{_PREFIX}.{kind}."
            scores = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            setattr(self._tuner.rankallocator, kind, scores)
        self._tuner.peft_config[self._tuner.trainable_adapter_name].rank_pattern = kept
