"""The model that a pack calls: a copy of the base model's structure in which adapted modules are routed."""

import copy
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.constants import DUMMY_TARGET_MODULES
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers import PreTrainedModel

from advisor.modeling.attachment import AttachedModel
from advisor.modeling.base import BaseModel
from advisor.modeling.sharing import shared_copy
from advisor.modeling.tuners.bottleneck import BesideLayer
from advisor.modeling.tuners.prefix_attention import PrefixLayer, give_prefixes
from advisor.training.packing.layout import Layout
from advisor.training.packing.lora import LoraStack, is_plain_lora
from advisor.training.packing.randomness import SlotRandomness
from advisor.training.packing.routing import Routed, RoutedLinear, enter, joined, runs_base_once


class Trunk:
    """One frozen base model with the adapters of several slots on it.

    Attributes:
        model: What is called with the rows of all slots.
        layout: To be set before each call.
    """

    def __init__(self, base: BaseModel, attached: Mapping[int, AttachedModel]) -> None:
        """Route a copy of the base model.

        Args:
            base: Base model without adapter.
            attached: Model of each slot, on copies of that base model (`modeling.sharing`).
        """
        self.layout = Layout()
        self._own = [one.model for one in attached.values()]
        self._stacks: list[LoraStack] = []
        self._linears: list[RoutedLinear] = []
        model = shared_copy(base.model)
        beside: dict[str, dict[int, BesideLayer]] = defaultdict(dict)
        for path, own in _changed(attached).items():
            parent, _, name = path.rpartition(".")
            place = model.get_submodule(parent)
            while isinstance(place, (Routed, RoutedLinear)):  # another slot has changed the module around this one
                place = place.base_layer
            place._modules[name] = self._routed(model.get_submodule(path), own)
            for slot, layer in own.items():
                if isinstance(layer, BesideLayer):
                    beside[layer.reads][slot] = layer
        for path, layers in beside.items():
            hook = partial(enter, layers, self.layout)
            model.get_submodule(path).register_forward_pre_hook(hook, with_kwargs=True)
        self.model: PreTrainedModel | PeftModel = self._with_prompts(model, attached)

    def train(self, mode: bool = True) -> None:
        """Put the model and all adapters into training or evaluation mode."""
        self.model.train(mode)
        for model in self._own:
            model.train(mode)

    def load(self) -> None:
        """Copy the low-rank adapters into their stacks, as they are now."""
        places: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        for stack in self._stacks:
            there, parameters = stack.copies
            places.extend(there)
            values.extend(parameters)
        if places:
            with torch.no_grad():
                torch._foreach_copy_(places, values)

    def add_gradients(self) -> None:
        """Add the stacks' gradients to those of PEFT's parameters."""
        for stack in self._stacks:
            for parameter, gradient in zip(*stack.take_gradients(), strict=True):
                if parameter.grad is None:
                    # A view where the slot has the largest rank: nothing else writes into the stack's gradient.
                    parameter.grad = gradient.contiguous()
                else:
                    parameter.grad += gradient

    def draws_from(self, randomness: SlotRandomness | None) -> None:
        """Say where the low-rank adapters' dropout comes from; None for evaluation."""
        for linear in self._linears:
            linear.randomness = randomness

    def _routed(self, base: torch.nn.Module, own: dict[int, torch.nn.Module]) -> torch.nn.Module:
        if all(isinstance(layer, PrefixLayer) for layer in own.values()):
            give_prefixes(base, partial(joined, own, self.layout))
            return base
        if not runs_base_once(own):
            return Routed(base, own, self.layout)
        low_rank = {slot: layer for slot, layer in own.items() if is_plain_lora(layer)}
        stack = LoraStack(low_rank) if low_rank else None
        if stack is not None:
            self._stacks.append(stack)
        linear = RoutedLinear(base, own, self.layout, stack)
        self._linears.append(linear)
        return linear

    def _with_prompts(
        self, model: PreTrainedModel, attached: Mapping[int, AttachedModel]
    ) -> PreTrainedModel | PeftModel:
        """Wrap the model as PEFT does for prompts and prefixes, with an encoder that asks every slot's own."""
        prompts: dict[int, Any] = {slot: one.model for slot, one in attached.items() if has_prompts(one)}
        if not prompts:
            return model
        first = next(iter(prompts.values()))
        wrapper = copy.copy(first)
        wrapper._modules = {**first._modules, "base_model": model}
        if hasattr(first, "base_model_prepare_inputs_for_generation"):
            # PEFT keeps this method of the model that it wrapped, which is another one here, and calls it.
            wrapper.base_model_prepare_inputs_for_generation = model.prepare_inputs_for_generation
        if first.active_peft_config.peft_type == "PREFIX_TUNING":
            # PEFT makes keys and values for all rows out of what the encoder returns for them.
            own = {slot: one.prompt_encoder["default"] for slot, one in prompts.items()}
            routed = Routed(first.prompt_encoder["default"], own, self.layout)
            wrapper._modules["prompt_encoder"] = torch.nn.ModuleDict({"default": routed})
        else:
            wrapper.get_prompt = partial(self._prompts, prompts)
        assert isinstance(wrapper, PeftModel)
        return wrapper

    def _prompts(self, models: Mapping[int, Any], batch_size: int, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the soft prompts of every slot for its rows, of shape (rows, virtual tokens, hidden size)."""
        parts = []
        for slot, rows in self.layout.rows.items():
            self.layout.current = slot
            parts.append(models[slot].get_prompt(rows.stop - rows.start, *args, **kwargs))
        self.layout.current = None
        return torch.cat(parts)


def has_prompts(attached: AttachedModel) -> bool:
    """Does this adapter work by prompts or prefixes, not by changed modules?"""
    return isinstance(attached.model, PeftModel) and attached.model.active_peft_config.is_prompt_learning


def can_be_routed(attached: AttachedModel) -> bool:
    """Can this adapter train on rows among others', beside other adapters on the same weights?

    Not where it changes the frozen weights it starts from (PiSSA, OLoRA), trains whole layers, has a loss or draws of
    its own (AdaLoRA, PVeRA), or changes the model by other means than modules of PEFT's (adaption prompts).
    """
    if not isinstance(attached.model, PeftModel):
        return False
    config: Any = attached.model.active_peft_config
    keeps_weights = getattr(config, "init_lora_weights", True) in (True, False, "gaussian")
    trains_layers = getattr(config, "target_modules", None) == DUMMY_TARGET_MODULES
    if config.peft_type in ("ADALORA", "PVERA") or not keeps_weights or trains_layers:
        return False
    known = {
        id(parameter)
        for module in attached.model.modules()
        if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper, BaseTuner))
        for name, parameter in module.named_parameters()
        if not isinstance(module, BaseTuner) or not name.startswith("model.")
    }
    return all(id(parameter) in known for parameter in attached.trainable_parameters)


def _changed(attached: Mapping[int, AttachedModel]) -> dict[str, dict[int, Any]]:
    """Return the modules that PEFT wrapped, by their path in the base model and by slot; the outermost only."""
    changed: dict[str, dict[int, Any]] = defaultdict(dict)
    for slot, one in attached.items():
        model: Any = one.model.get_base_model() if isinstance(one.model, PeftModel) else one.model
        outer = "\0"
        for path, module in model.named_modules():
            if path.startswith(outer) or not isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
                continue
            changed[path][slot] = module
            outer = f"{path}."
    return changed
