"""The tuners that PEFT calls: they put bottleneck adapters where the placement says."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

from advisor.modeling.tuners.bottleneck import BesideLayer, BottleneckLayer, NormLayer
from advisor.modeling.tuners.bottleneck_config import BottleneckConfig, CompacterConfig
from advisor.modeling.tuners.insertion import LayerPlaces, layers_of
from advisor.modeling.tuners.phm import PHMLinear, new_rule
from advisor.modeling.tuners.wrapping import put_in_place

Wrap = Callable[[nn.Module], BottleneckLayer]


class BottleneckModel(BaseTuner):
    """Bottleneck adapters on a transformers model."""

    prefix: str = "bottleneck_"
    tuner_layer_cls: type[BaseTunerLayer] = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  # PEFT's name; modules follow from the placement

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        assert isinstance(peft_config, BottleneckConfig)
        # Found once per adapter: naming the modules of a large model takes a while.
        vars(self)["places"] = self._places(peft_config)
        peft_config.target_modules = set(vars(self)["places"])
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
        assert isinstance(peft_config, BottleneckConfig)
        wrap = vars(self)["places"][current_key]
        layer = target if isinstance(target, BottleneckLayer) else wrap(target)
        if type(layer) is not wrap.func:
            raise ValueError(f"{current_key} carries adapters of another placement already")
        layer.update_layer(adapter_name, peft_config, self._maker(peft_config, adapter_name))
        put_in_place(self, adapter_name, layer, target, parent=parent, target_name=target_name)

    def _maker(self, config: BottleneckConfig, adapter_name: str) -> Callable[..., nn.Module]:
        return nn.Linear

    def _places(self, peft_config: BottleneckConfig) -> dict[str, "partial[Any]"]:
        """Return the names of the modules that carry adapters, each with how it is wrapped."""
        config = self.model.config
        layers = layers_of(self.model, config.model_type)
        modules = dict(self.model.named_modules())
        return {
            name: wrap
            for layer in layers
            for name, wrap in places_of(layer, peft_config, modules, config.hidden_size)
            if name in modules
        }

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # PEFT expects a weight of what is replaced, which a whole transformer layer has not.
        setattr(parent, child_name, new_module)

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> Any:
        if merge:
            self._check_merge_allowed()
        self._take_off_watches()
        # Declared to return nothing, it returns the base model.
        unload: Any = super()._unload_and_optionally_merge
        return unload(merge, progressbar, safe_merge, adapter_names)

    def _take_off_watches(self) -> None:
        """Remove what was put on other modules than the adapters' own."""
        for module in self.model.modules():
            if isinstance(module, BesideLayer):
                module.watch.remove()

    def _check_merge_allowed(self) -> None:
        raise ValueError("bottleneck adapters are not linear and cannot be merged into the weights")


class CompacterModel(BottleneckModel):
    """Compacter's adapters on a transformers model."""

    prefix: str = "compacter_"

    def _maker(self, config: BottleneckConfig, adapter_name: str) -> Callable[..., nn.Module]:
        assert isinstance(config, CompacterConfig)
        # No attribute of PEFT's containers: the layers own the rule, and save it.
        rules = vars(self).setdefault("shared_rules", {})
        if config.shared_phm_rule and adapter_name not in rules:
            rules[adapter_name] = new_rule(config.phm_dim)
        return partial(_phm_linear, config, rules.get(adapter_name))

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        """Cast as PEFT does, which gives each layer a rule of its own, and let the layers share one again."""
        super()._cast_adapter_dtype(adapter_name=adapter_name, autocast_adapter_dtype=autocast_adapter_dtype)
        if adapter_name not in vars(self).get("shared_rules", {}):
            return
        ends = (f"bottleneck_down.{adapter_name}", f"bottleneck_up.{adapter_name}")
        linears = [module for name, module in self.model.named_modules() if name.endswith(ends)]
        for linear in linears:
            linear.rule = linears[0].rule


def _phm_linear(config: CompacterConfig, shared: nn.Parameter | None, inputs: int, outputs: int) -> PHMLinear:
    rule = new_rule(config.phm_dim) if shared is None else shared
    return PHMLinear(inputs, outputs, rank=config.phm_rank, rule=rule)


def places_of(
    layer: LayerPlaces, config: BottleneckConfig, modules: dict[str, nn.Module], size: int
) -> Iterator[tuple[str, "partial[Any]"]]:
    """Yield the modules of a layer that carry adapters, each with how it is wrapped."""
    family = layer.family
    if config.placement == "houlsby":
        attention = family.attention_outputs if config.cross_adapter else family.attention_outputs[:1]
        for place in (*attention, family.feed_forward_output):
            yield layer.full(place), partial(BottleneckLayer, size=size)
        return
    if config.placement == "parallel":
        first, last = (layer.full(place) for place in family.feed_forward)
        yield last, partial(BesideLayer, size=size, first=modules[first], reads=first)
    else:
        wrap = NormLayer if family.post_norm else BottleneckLayer
        yield layer.full(family.feed_forward_sum), partial(wrap, size=size)
