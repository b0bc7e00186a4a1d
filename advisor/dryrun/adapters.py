"""From a method's name and hyperparameters, or an `adapter_config.json`, to the adapter that a workload dry-runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from peft import PeftConfig
from transformers import PreTrainedTokenizerBase

from advisor.candidates import Candidate
from advisor.catalog.methods import Method, restrictions
from advisor.catalog.tasks import Head
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.dryrun.hyperparameters import check_values, shown
from advisor.dryrun.peft_methods import config_from_file
from advisor.errors import InputError
from advisor.modeling.adapters import LORAPLUS_RATIO, TASK_TYPES, build_config, training_hyperparameters
from advisor.modeling.base import BaseModel, BaseRequest
from advisor.modeling.builders import BUILDERS
from advisor.modeling.meta import ModelSource, build_on_meta

# The loop's own values do not matter for memory; a candidate must have a rate all the same.
_ANY_RATE = {"learning_rate": 1e-4}
# What stands for each trained adapter that a method is made of: as many as it needs at least, of the usual size.
_USUAL_ADAPTER = TrainedAdapter(folder="", sha256="", reduction_factor=16, non_linearity="silu", scaling=1.0)
# Fields of PEFT's configurations that follow from the model and its head.
_GIVEN = frozenset({"task_type", "peft_type", "modules_to_save", "base_model_name_or_path", "inference_mode"})


def adapter_of_method(
    source: ModelSource, head: Head, method: Method, hyperparameters: Mapping[str, object]
) -> PeftConfig | None:
    """Return PEFT's configuration as `tune` builds it, None for full fine-tuning.

    Args:
        source: The base model.
        head: Task head.
        method: Of the catalogue. One that is made of trained adapters is taken with as few as it can have, of the
            usual size; `adapter_of_file` takes what was made of others.
        hyperparameters: Beyond the method's defaults, under PEFT's names.

    Raises:
        InputError: A hyperparameter is unknown or its value wrong.
        UnsupportedCandidateError: The combination does not work.
    """
    given = sorted(_GIVEN & set(hyperparameters))
    if given:
        raise InputError(f"--set {given[0]}: follows from the model and --head; --adapter-config takes a whole file")
    of_the_loop = training_hyperparameters(method.slug)
    own = {name: value for name, value in hyperparameters.items() if name not in of_the_loop}
    _check_training({name: value for name, value in hyperparameters.items() if name not in own})
    if method.slug in BUILDERS:
        check_values(BUILDERS[method.slug].named, own, "--set")
    demanded = restrictions(method.slug, source.config.model_type) or {}
    candidate = Candidate(
        base_model=source.name,
        architecture=source.architecture,
        method=method.slug,
        hyperparameters={**method.hyperparameters(source.architecture), **demanded, **own, **_ANY_RATE},
        adapters=(_USUAL_ADAPTER,) * method.least_adapters,
    )
    return build_config(candidate, _stand_in(source, head))


def adapter_of_file(path: Path) -> PeftConfig:
    """Return the adapter of a user's `adapter_config.json`, or of the folder of a saved adapter.

    Raises:
        DataError: The file is not the configuration of an adapter.
        InputError: A value in it is of a wrong type or out of range.
    """
    config = config_from_file(path)
    check_values(type(config), vars(config), f"{path}:")
    return config


def head_of_adapter(config: PeftConfig, path: Path, wanted: Head | None, usual: Head) -> Head:
    """Return the head that an adapter is for, and tell the adapter when it does not say.

    Args:
        config: Of the adapter; its task type is set when it has none.
        path: Its file, for the message.
        wanted: Head that was asked for, None for the adapter's own.
        usual: Head of a model whose adapter does not say.

    Raises:
        InputError: The adapter is of another task type than the head.
    """
    if config.task_type is None:
        head = wanted or usual
        config.task_type = TASK_TYPES[head]
        return head
    heads = {name: head for head, name in TASK_TYPES.items()}
    head_of_file = heads.get(str(getattr(config.task_type, "value", config.task_type)))
    if head_of_file is None:
        raise InputError(f"{path}: task_type {config.task_type} is not one of {', '.join(heads)}")
    if wanted not in (None, head_of_file):
        raise InputError(f"{path}: is an adapter for {config.task_type}, but --head is {wanted}; leave out --head")
    return head_of_file


def _check_training(values: Mapping[str, object]) -> None:
    """Refuse values of the training loop that are none; right ones change neither memory nor time."""
    for name, value in values.items():
        if name == "lr_scheduler_type":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise InputError(f"--set {name}={shown(value)}: must be a number that is not negative")
        if name == LORAPLUS_RATIO and value < 1:
            raise InputError(f"--set {name}={shown(value)}: must be at least 1, which is plain LoRA")


def _stand_in(source: ModelSource, head: Head) -> BaseModel:
    """Return a base model that has everything but weights and a tokenizer, which no configuration asks for."""
    model = build_on_meta(source, head, dtype=torch.bfloat16)
    request = BaseRequest(
        base_model=source.name, architecture=source.architecture, head=head, label_names=(), weights="bf16",
        quantization=None,
    )  # fmt: skip
    return BaseModel(
        request=request, source=source.name, model=model, tokenizer=cast(PreTrainedTokenizerBase, None),
        device=torch.device("meta"), max_positions=None,
    )  # fmt: skip
