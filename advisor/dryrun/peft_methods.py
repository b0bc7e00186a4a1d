"""PEFT's own adapters on a base model of the meta device, as they would lie on a GPU.

`attach_on_meta` runs the real `get_peft_model` on a base model without values. Meta takes the part of the GPU: what
PEFT moves to the device of the base model ends on meta, what it leaves on the CPU stays there (BOFT's permutations,
FRoD's projections), so that the copies that a forward pass makes of it are seen. Where a method needs values to build
its adapter, or treats meta as "not loaded yet", a narrow change takes its place (`peft_changes`). Names, shapes,
types and trainability of parameters and buffers are those of a real adapter. A loop that moves the whole model
afterwards, as the Trainer of transformers does, is had by `attached.to("meta")`.

Not covered: ranks that PEFT finds from data (EVA with rho above 1, AdaMSS with `use_dynamic_rank`: the given rank is
taken), AdaLoRA after its ranks have shrunk, memory that building the adapter itself takes, and what
`CANNOT_DRY_RUN` names.
"""

import copy
import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import peft
import torch
from peft import PeftConfig, PeftModel, PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import CONFIG_NAME
from torch import nn
from transformers import PreTrainedModel

from advisor.dryrun.peft_changes import building_on_meta
from advisor.errors import AdvisorError, DataError, InputError, UnknownNameError, printable
from advisor.modeling.quiet import quiet_libraries

_log = logging.getLogger(__name__)

# A method of PEFT, or a setting of one, that no estimate can be made for, and why.
CANNOT_DRY_RUN: dict[str, str] = {
    "LORA.use_qalora": "QA-LoRA needs a base model whose weights are quantized by GPTQ",
    "LORA.arrow_config": "Arrow routes between adapters that are loaded later; without them it has nothing to run",
}


def config_from_file(path: Path) -> PeftConfig:
    """Read an adapter's configuration as PEFT writes it.

    Args:
        path: An `adapter_config.json`, or a folder with one.

    Raises:
        DataError: There is no such file, it is not JSON, or not the configuration of an adapter.
        UnknownNameError: It is of a method that this PEFT does not have.
    """
    file = path / CONFIG_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file}: no such file; give an {CONFIG_NAME} or the folder of a saved adapter")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: is not readable as JSON ({_one_line(error)})") from error
    return config_from_dict(settings, source=str(file))


def config_from_dict(settings: Mapping[str, Any], *, source: str = "adapter configuration") -> PeftConfig:
    """Make PEFT's configuration object from the settings of an `adapter_config.json`.

    Settings that this PEFT does not know, such as those of a newer version, are left out and logged. The adapter is
    made for training, whatever `inference_mode` says: PEFT writes it as true into every saved adapter.

    Args:
        settings: As in the file; "peft_type" names the method.
        source: What an error calls them.

    Raises:
        DataError: The settings are not those of an adapter, or PEFT refuses them.
        UnknownNameError: This PEFT does not have the method.
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get("peft_type"), str):
        raise DataError(f"{source}: has no peft_type; is it the {CONFIG_NAME} of an adapter?")
    known = {method.value: config_class for method, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    name = settings["peft_type"]
    if name not in known:
        raise UnknownNameError("PEFT method", name, known, hint=f"{source}, PEFT {peft.__version__}")
    config_class = known[name]
    names = {field.name for field in fields(config_class) if field.init}
    unknown = sorted(set(settings) - names)
    if unknown:
        _log.warning("%s: PEFT %s does not know %s; left out", source, peft.__version__, ", ".join(unknown))
    wanted = {key: value for key, value in settings.items() if key in names and key != "runtime_config"}
    try:
        with quiet_libraries():
            config: PeftConfig = config_class.from_peft_type(
                **config_class.check_kwargs(**{**wanted, "inference_mode": False})
            )
    except Exception as error:  # each method checks its settings with errors of its own
        raise DataError(f"{source}: PEFT refuses these {name} settings ({_one_line(error)})") from error
    return config


def attach_on_meta(model: PreTrainedModel, config: PeftConfig, *, autocast_adapter_dtype: bool = True) -> PeftModel:
    """Put the adapter that a configuration describes on a base model of the meta device.

    Args:
        model: Base model, all of it on meta; it is changed in place, as `get_peft_model` does.
        config: Left as it is.
        autocast_adapter_dtype: Keep adapters of a half-precision model in float32, PEFT's default.

    Raises:
        InputError: The method is one of `CANNOT_DRY_RUN`, or PEFT refuses it for this model.
    """
    _refuse_impossible(config)
    config = copy.deepcopy(config)
    method = PeftType(config.peft_type)
    try:
        with quiet_libraries(), building_on_meta(config):
            attached = get_peft_model(model, config, autocast_adapter_dtype=autocast_adapter_dtype)
    except AdvisorError:
        raise
    except Exception as error:  # PEFT has no common error for what it refuses
        raise InputError(f"{method.value}: PEFT cannot put this adapter on the model ({_one_line(error)})") from error
    for name, parameter in attached.named_parameters():
        if parameter.requires_grad and not parameter.is_meta:
            raise InputError(f"{method.value}: cannot be dry-run, {name} was left on the {parameter.device.type}")
    return attached


def held_tensors(model: nn.Module) -> list[torch.Tensor]:
    """Return what a model keeps on the device between steps, each tensor once.

    Besides parameters and buffers, some adapters keep tensors in plain attributes: indices of sparse entries,
    samples drawn ahead.
    """
    found: dict[int, torch.Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        found[id(tensor)] = tensor
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                _collect(value, found)
    return [tensor for tensor in found.values() if tensor.is_meta]


def _collect(value: object, found: dict[int, torch.Tensor]) -> None:
    if isinstance(value, torch.Tensor):
        found[id(value)] = value
    elif isinstance(value, dict):
        for one in value.values():
            _collect(one, found)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _collect(one, found)
    elif type(value).__module__.startswith("peft.tuners") and not isinstance(value, (nn.Module, type)):
        # such as MonteCLoRA's store of samples, which refers back to its module
        for one in getattr(value, "__dict__", {}).values():
            if not isinstance(one, nn.Module):
                _collect(one, found)


def _refuse_impossible(config: PeftConfig) -> None:
    for key, reason in CANNOT_DRY_RUN.items():
        method, _, setting = key.partition(".")
        if config.peft_type == method and (not setting or getattr(config, setting, None)):
            raise InputError(f"{key}: no estimate is possible; {reason}")


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__, limit=300)
