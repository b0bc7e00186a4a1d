"""What layers of our tuners have in common: each wraps a module of the base model and answers for it."""

from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn


class AnswersForBaseLayer(nn.Module):
    """A module that stands where its `base_layer` stood."""

    def __getattr__(self, name: str) -> Any:
        """Look up in `base_layer` what this module lacks: models read attributes of their layers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_layer"), name)


class WrappingLayer(AnswersForBaseLayer, BaseTunerLayer):
    """A module of the base model with something of an adapter on it."""

    def __init__(self, base_layer: nn.Module) -> None:
        """Wrap a module without an adapter yet."""
        super().__init__()
        self.base_layer = base_layer
        self.merged_adapters: list[str] = []
        self._disable_adapters = False


def put_in_place(
    tuner: BaseTuner, adapter_name: str, layer: nn.Module, target: nn.Module, *, parent: nn.Module, target_name: str
) -> None:
    """Put a layer where a module of the base model was, as PEFT's tuners do; nothing is to do where it stands already.

    Args:
        tuner: Its way of replacing a module is used.
        adapter_name: What the layer was made for; unless it is active, the layer begins frozen.
        layer: With the adapter on it.
        target: What stands there.
        parent: Module that has it.
        target_name: Its name there.
    """
    if layer is target:
        return
    if adapter_name not in tuner.active_adapters:
        layer.requires_grad_(False)
    tuner._replace_module(parent, target_name, layer, target)
