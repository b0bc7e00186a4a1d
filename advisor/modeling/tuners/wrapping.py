"""What layers of our tuners have in common: each wraps a module of the base model and answers for it."""

from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


class WrappingLayer(nn.Module, BaseTunerLayer):
    """A module of the base model with something of an adapter on it."""

    def __init__(self, base_layer: nn.Module) -> None:
        """Wrap a module without an adapter yet."""
        super().__init__()
        self.base_layer = base_layer
        self.merged_adapters: list[str] = []
        self._disable_adapters = False

    def __getattr__(self, name: str) -> Any:
        """Look up in the wrapped module what this one lacks: models read attributes of their layers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(self.base_layer, name)
