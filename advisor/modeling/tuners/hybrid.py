"""Two methods in one adapter: MAM, and LoRA in the feed-forward sublayers with adapters after attention.

- MAM, mix and match (He et al. 2022, https://arxiv.org/abs/2110.04366, section 4.6): a short prefix in every attention
  sublayer, and an adapter beside every feed-forward sublayer. Defaults are those of the AdapterHub library: 30 virtual
  tokens from a network of inner size 800, parallel adapters of half the hidden size, scaled by 4.
- FF-LoRA + adapter (Ayupov and Chirkova 2022, https://arxiv.org/abs/2212.05901, "FF-LoRA + AT" in the review): PEFT's
  LoRA layers on the linear layers of the feed-forward sublayers, and a Houlsby adapter after each attention sublayer.
  No code of the paper was seen; this reading of the name puts each method where the other is not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from peft import LoraConfig, PeftConfig
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from advisor.modeling.tuners.bottleneck_config import BottleneckConfig, Initialization, check_at_least_one
from advisor.modeling.tuners.bottleneck_model import BottleneckModel
from advisor.modeling.tuners.insertion import layers_of
from advisor.modeling.tuners.prefix_attention import PrefixBank, PrefixLayer
from advisor.modeling.tuners.registration import peft_type
from advisor.modeling.tuners.wrapping import put_in_place


@dataclass
class MamConfig(BottleneckConfig):
    """MAM.

    Attributes:
        num_prefix_tokens: Virtual tokens P of every attention sublayer.
        prefix_hidden_size: Inner size m of the network that keys and values come from.
    """

    reduction_factor: float = field(default=2)
    non_linearity: str = field(default="relu")
    scaling: float = field(default=4.0)
    init_weights: Initialization = field(default="zero-up")
    num_prefix_tokens: int = field(default=30)
    prefix_hidden_size: int = field(default=800)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One of them is out of range.
        """
        super().__post_init__()
        self.peft_type = peft_type("MAM")
        self.placement = "parallel"
        check_at_least_one(self, "num_prefix_tokens", "prefix_hidden_size")


@dataclass
class FeedForwardLoraConfig(BottleneckConfig):
    """LoRA in the feed-forward sublayers, adapters after attention.

    Attributes:
        r: Rank of LoRA.
        lora_alpha: Scale of LoRA times r.
        lora_dropout: Of LoRA's input.
    """

    r: int = field(default=16)
    lora_alpha: int = field(default=32)
    lora_dropout: float = field(default=0.05)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One of them is out of range.
        """
        super().__post_init__()
        self.peft_type = peft_type("FF_LORA_ADAPTER")
        self.placement = "houlsby"
        check_at_least_one(self, "r", "lora_alpha")


class MamModel(BottleneckModel):
    """MAM on a transformers model."""

    prefix: str = "mam_"
    tuner_layer_cls = BaseTunerLayer  # prefixes are switched on and off as well

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        assert isinstance(peft_config, MamConfig)
        super()._prepare_adapter_config(peft_config, model_config)
        vars(self)["stacks"] = stacks = _attention_stacks(self.model)
        peft_config.target_modules |= {name for stack in stacks.values() for name in stack}
        return peft_config

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        assert isinstance(peft_config, MamConfig)
        stacks: dict[str, list[str]] = vars(self)["stacks"]
        stack = next((stack for stack, names in stacks.items() if current_key in names), None)
        if stack is None:
            super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, current_key)
            return
        layer = target if isinstance(target, PrefixLayer) else PrefixLayer(target)
        bank = self._bank(peft_config, adapter_name, layer, stack)
        layer.update_layer(adapter_name, partial(bank, stacks[stack].index(current_key)))
        if layer is not target:
            setattr(parent, target_name, layer)

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Let these adapters compute and, but for inference, be trained: their prefix networks too."""
        super().set_adapter(adapter_name, inference_mode=inference_mode)
        active = [adapter_name] if isinstance(adapter_name, str) else adapter_name
        for name, banks in self.mam_prefix.items() if "mam_prefix" in self._modules else ():
            banks.requires_grad_(name in active and not inference_mode)

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """Take the adapter's name out of the networks' names too, so that it can be loaded under any other."""
        without_name: str = super()._remove_adapter_name_from_key(
            key.replace(f"mam_prefix.{adapter_name}.", "mam_prefix."), adapter_name
        )
        return without_name

    def _bank(self, config: MamConfig, adapter_name: str, layer: PrefixLayer, stack: str) -> PrefixBank:
        """Return the network that the prefixes of a stack come from; the tuner owns it, and PEFT saves it."""
        if "mam_prefix" not in self._modules:
            self.mam_prefix = nn.ModuleDict()
        banks = self.mam_prefix[adapter_name] if adapter_name in self.mam_prefix else nn.ModuleDict()
        self.mam_prefix[adapter_name] = banks
        assert isinstance(banks, nn.ModuleDict)
        if stack not in banks:
            shape = self.model.config
            heads = getattr(shape, "num_key_value_heads", None) or shape.num_attention_heads
            size = getattr(shape, "head_dim", None) or getattr(shape, "d_kv", None)
            size = size or shape.hidden_size // shape.num_attention_heads
            bank = PrefixBank(
                tokens=config.num_prefix_tokens, size=shape.hidden_size, inner=config.prefix_hidden_size,
                layers=len(vars(self)["stacks"][stack]),
                kv_size=(1 if getattr(shape, "multi_query", False) else heads) * size,
            )  # fmt: skip
            place = next(layer.base_layer.parameters())
            if place.device.type != "meta":
                bank.to(place.device, place.dtype if place.dtype.is_floating_point else None)
            banks[stack] = bank
        found = banks[stack]
        assert isinstance(found, PrefixBank)
        return found

    def _take_off_watches(self) -> None:
        super()._take_off_watches()
        for module in self.model.modules():
            if isinstance(module, PrefixLayer):
                module.restore()


class FeedForwardLoraModel(BottleneckModel):
    """LoRA in the feed-forward sublayers, adapters after attention, on a transformers model."""

    prefix: str = "ff_lora_adapter_"
    tuner_layer_cls = BaseTunerLayer  # LoRA's layers are switched on and off as well

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        assert isinstance(peft_config, FeedForwardLoraConfig)
        super()._prepare_adapter_config(peft_config, model_config)
        linears = set(feed_forward_linears(self.model))
        after_attention = {
            layer.full(place)
            for layer in layers_of(self.model, self.model.config.model_type)
            for place in layer.family.attention_outputs
        }
        vars(self)["lora_names"] = linears
        peft_config.target_modules = linears | (peft_config.target_modules & after_attention)
        return peft_config

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        assert isinstance(peft_config, FeedForwardLoraConfig)
        if current_key not in vars(self)["lora_names"]:
            super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, current_key)
            return
        lora = LoraConfig(
            r=peft_config.r, lora_alpha=peft_config.lora_alpha, lora_dropout=peft_config.lora_dropout,
            inference_mode=peft_config.inference_mode, fan_in_fan_out=isinstance(target, Conv1D),
        )  # fmt: skip
        if isinstance(target, LoraLinear):
            target.update_layer(adapter_name, r=lora.r, lora_alpha=lora.lora_alpha, config=lora)
            return
        layer = LoraLinear(
            target, adapter_name, config=lora, r=lora.r, lora_alpha=lora.lora_alpha,
            is_target_conv_1d_layer=isinstance(target, Conv1D),
        )  # fmt: skip
        put_in_place(self, adapter_name, layer, target, parent=parent, target_name=target_name)


def feed_forward_linears(model: Any) -> Iterator[str]:
    """Yield the names of the linear layers in the feed-forward sublayers of a transformers model.

    Raises:
        InputError: The model's family is not known.
    """
    modules = dict(model.named_modules())
    for layer in layers_of(model, model.config.model_type):
        for place in dict.fromkeys(layer.family.feed_forward):
            whole = layer.full(place)
            for name, module in modules.items():
                if (name == whole or name.startswith(whole + ".")) and isinstance(module, (nn.Linear, Conv1D)):
                    yield name


def _attention_stacks(model: Any) -> dict[str, list[str]]:
    """Return the modules that ask the registry for attention, by the stack that they belong to.

    Self-attention of encoder and decoder and attention to the encoder are stacks of their own.
    """
    layers = tuple(layer.name + "." for layer in layers_of(model, model.config.model_type))
    stacks: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        asks = "attention_interface" in type(module).forward.__code__.co_varnames
        if asks and name.startswith(layers):
            stacks.setdefault(re.sub(r"\.(?:\d+\.)?", "_", name), []).append(name)
    if not stacks:
        raise ValueError(f"{model.config.model_type} models compute attention in a way that prefixes do not fit into")
    return stacks
