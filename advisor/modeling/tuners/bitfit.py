"""BitFit as a PEFT tuner: the biases that a model has are trained, and nothing else.

Ben Zaken et al. 2022 (https://arxiv.org/abs/2106.10199). A trained change Δ of each bias b, zero at the start, is
added to what the module gives, y + Δ: for linear layers and normalisations this is the same as b + Δ in the place of b,
and it can be merged into it. Unlike PEFT's BEFT, which adds vectors to the outputs of linear layers whether or not they
have a bias, normalisations are included and no module gets a bias that it lacks; models without biases (T5, Llama) are
refused.
Weight decay pulls Δ to zero, so a bias to its pretrained value.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, check_adapters_to_merge
from torch import nn

from advisor.modeling.tuners.insertion import layers_of
from advisor.modeling.tuners.registration import peft_type
from advisor.modeling.tuners.wrapping import WrappingLayer, put_in_place

Parts = Literal["all", "attention", "feed-forward"]


@dataclass
class BitFitConfig(PeftConfig):
    """BitFit.

    Attributes:
        parts: Whose biases are trained: all of the base model's, or those of the attention or of the feed-forward
            sublayers, without the normalisations that belong to neither.
        target_modules: Modules whose biases are trained: follows from `parts` and the base model.
        modules_to_save: Modules that are trained as a whole, such as the classification head.
        requires: What a process must import before it loads the adapter.
    """

    parts: Parts = field(default="all")
    target_modules: Any = field(default=None)
    modules_to_save: list[str] | None = field(default=None)
    requires: str = field(default="import advisor.modeling.tuners (pip install peft-advisor)")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: `parts` is none of them.
        """
        super().__post_init__()
        self.peft_type = peft_type("BITFIT")
        if self.parts not in get_args(Parts):
            raise ValueError(f"parts {self.parts!r} is not one of {', '.join(get_args(Parts))}")


class BitFitLayer(WrappingLayer):
    """A module with a bias b, and changes Δ of it."""

    adapter_layer_names = ("bitfit_bias",)
    other_param_names = ()

    def __init__(self, base_layer: nn.Module) -> None:
        """Wrap a module that has a bias."""
        super().__init__(base_layer)
        self.bitfit_bias = nn.ParameterDict()

    def update_layer(self, name: str, *, inference_mode: bool) -> None:
        """Add an adapter: a change of zero."""
        self.bitfit_bias[name] = nn.Parameter(torch.zeros_like(self.bias))
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return y + Δ."""
        out: torch.Tensor = self.base_layer(x, *args, **kwargs)
        if not self.disable_adapters and not self.merged:
            for name in self.active_adapters:
                if name in self.bitfit_bias:
                    out = out + self.bitfit_bias[name].to(out.dtype)
        return out

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the changes to the bias.

        Raises:
            ValueError: `safe_merge` is asked for and a change is not finite.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.bitfit_bias:
                change = self.bitfit_bias[name].data
                if safe_merge and not torch.isfinite(change).all():
                    raise ValueError(f"the biases of adapter {name} are not finite")
                self.bias.data += change.to(self.bias.dtype)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take the changes off again."""
        while self.merged_adapters:
            self.bias.data -= self.bitfit_bias[self.merged_adapters.pop()].data.to(self.bias.dtype)


class BitFitModel(BaseTuner):
    """BitFit on a transformers model."""

    prefix: str = "bitfit_"
    tuner_layer_cls = BitFitLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  # PEFT's name; modules follow from `parts`

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        assert isinstance(peft_config, BitFitConfig)
        peft_config.target_modules = set(_modules_with_bias(self.model, peft_config.parts))
        if not peft_config.target_modules:
            kind = "biases" if peft_config.parts == "all" else f"{peft_config.parts} biases"
            raise ValueError(f"this {self.model.config.model_type} model has no {kind} to train; try method beft")
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
        layer = target if isinstance(target, BitFitLayer) else BitFitLayer(target)
        layer.update_layer(adapter_name, inference_mode=bool(peft_config.inference_mode))
        put_in_place(self, adapter_name, layer, target, parent=parent, target_name=target_name)


def _modules_with_bias(model: Any, parts: Parts) -> list[str]:
    """Return the names of the modules whose biases are trained, the head's not among them."""
    backbone = model.base_model
    within = "" if backbone is model else f"{model.base_model_prefix}."
    named = [
        (name, module)
        for name, module in model.named_modules()
        if name.startswith(within) and isinstance(getattr(module, "bias", None), nn.Parameter)
    ]
    # Wrapped by an earlier adapter, a module and what is in it both show the bias.
    named = [(name, module) for name, module in named if not name.endswith(".base_layer")]
    if parts == "all":
        return [name for name, _ in named]
    chosen = []
    for layer in layers_of(model, model.config.model_type):
        attention = tuple(layer.full(place) + "." for place in layer.family.attention)
        whole = {layer.full(place) for place in layer.family.attention}
        feed_forward = {layer.full(place) for place in layer.family.feed_forward}
        for name, _ in named:
            if not name.startswith(layer.name + "."):
                continue
            is_attention = name.startswith(attention) or name in whole
            is_feed_forward = name in feed_forward or name.startswith(tuple(one + "." for one in feed_forward))
            if is_attention if parts == "attention" else is_feed_forward and not is_attention:
                chosen.append(name)
    return chosen
