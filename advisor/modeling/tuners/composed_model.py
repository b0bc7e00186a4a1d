"""Tuners for adapters that are composed of trained ones; what they are composed of is read once, and saved with them.

A language adapter is any bottleneck adapter that was trained on the base model with another task: with code completion
on one programming language, say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from peft.utils import load_peft_weights
from torch import nn

from advisor.catalog.trained_adapters import adapter_name
from advisor.modeling.tuners.bottleneck import BottleneckLayer
from advisor.modeling.tuners.bottleneck_config import BottleneckConfig, Initialization
from advisor.modeling.tuners.bottleneck_model import BottleneckModel
from advisor.modeling.tuners.registration import peft_type


@dataclass
class AdapterStackConfig(BottleneckConfig):
    """A task adapter on frozen language adapters.

    Attributes:
        adapters: Folders of the adapters below, the lowest first. Read when the adapter is made, not when it is loaded.
    """

    adapters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One of them is out of range.
        """
        super().__post_init__()
        self.peft_type = peft_type("ADAPTER_STACK")
        if not self.adapters and not self.trained:
            raise ValueError("adapters: name the folders of the trained adapters that this one stands on")


@dataclass
class AdapterFusionConfig(BottleneckConfig):
    """AdapterFusion over several frozen adapters.

    Attributes:
        adapters: Folders of the adapters, two or more. Read when the fusion is made, not when it is loaded.
    """

    adapters: list[str] = field(default_factory=list)
    init_weights: Initialization = field(default="normal")

    @property
    def fuses(self) -> bool:
        """Yes."""
        return True

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One of them is out of range.
        """
        super().__post_init__()
        self.peft_type = peft_type("ADAPTER_FUSION")
        if len(self.trained or self.adapters) < 2:
            raise ValueError("adapters: name the folders of two or more trained adapters to fuse")


class ComposedModel(BottleneckModel):
    """Adapters composed of trained ones on a transformers model."""

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        assert isinstance(peft_config, (AdapterStackConfig, AdapterFusionConfig))
        vars(self)["weights"] = []
        if not peft_config.trained:
            read = [_read(Path(folder)) for folder in peft_config.adapters]
            placements = {config.placement for config, _ in read}
            if len(placements) > 1:
                raise ValueError(
                    f"adapters of different placements cannot be composed: {', '.join(sorted(placements))}"
                )
            peft_config.placement = placements.pop()
            peft_config.cross_adapter = read[0][0].cross_adapter
            peft_config.trained = [
                {name: getattr(config, name) for name in ("reduction_factor", "non_linearity", "scaling")}
                for config, _ in read
            ]
            # The folders are of this machine and not needed again.
            peft_config.adapters = [adapter_name(folder) for folder in peft_config.adapters]
            vars(self)["weights"] = [weights for _, weights in read]
        return super()._prepare_adapter_config(peft_config, model_config)

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
        super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, current_key)
        layer = getattr(parent, target_name)
        assert isinstance(layer, BottleneckLayer)
        for trained, weights in zip(layer.trained_of(adapter_name), vars(self)["weights"], strict=False):
            trained.load_state_dict(_of(current_key, weights))

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """Take the adapter's name out of a saved weight's, so that it can be loaded under any other.

        PEFT does so where the name comes last, or last but one; here modules lie below it.
        """
        for part in ("bottleneck_trained", "bottleneck_fusion"):
            key = key.replace(f".{part}.{adapter_name}.", f".{part}.")
        without_name: str = super()._remove_adapter_name_from_key(key, adapter_name)
        return without_name


class AdapterStackModel(ComposedModel):
    """A task adapter on frozen language adapters, on a transformers model."""

    prefix: str = "adapter_stack_"


class AdapterFusionModel(ComposedModel):
    """AdapterFusion on a transformers model."""

    prefix: str = "adapter_fusion_"


def _read(folder: Path) -> tuple[BottleneckConfig, Mapping[str, torch.Tensor]]:
    """Read a saved bottleneck adapter.

    Raises:
        ValueError: The folder holds no bottleneck adapter.
    """
    if not (folder / "adapter_config.json").is_file():
        raise ValueError(f"{folder}: no adapter_config.json, so no saved adapter")
    config = PeftConfig.from_pretrained(str(folder))
    if type(config) is not BottleneckConfig:
        raise ValueError(
            f"{folder}: is a {getattr(config.peft_type, 'value', config.peft_type)} adapter, not a bottleneck adapter"
        )
    weights: Mapping[str, torch.Tensor] = load_peft_weights(str(folder), device="cpu")
    return config, weights


def _of(place: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of one module's adapter under the names of `TrainedAdapter`.

    A head around the base model puts a prefix before the names of its modules, and other heads put other ones, so the
    longest common ending decides.
    """
    keys = {part: [key for key in weights if f".bottleneck_{part}." in key] for part in ("down", "up")}
    found = {}
    for part, candidates in keys.items():
        of_place = [key for key in candidates if _same_place(key.split(".bottleneck_")[0], place)]
        if not of_place:
            raise ValueError(f"a trained adapter has nothing for {place}; it is of another base model")
        for key in of_place:
            found[f"{part}.{key.rsplit('.', 1)[1]}"] = weights[key]
    return found


def _same_place(saved: str, place: str) -> bool:
    saved = saved.removeprefix("base_model.model.")
    return saved == place or saved.endswith("." + place) or place.endswith("." + saved)
