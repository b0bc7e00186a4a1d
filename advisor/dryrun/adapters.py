"""From a method's name and hyperparameters, or an `adapter_config.json`, to the adapter that a workload dry-runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from peft import PeftConfig
from transformers import PreTrainedTokenizerBase

from advisor.candidates import Candidate
from advisor.catalog.methods import Method
from advisor.catalog.tasks import Head
from advisor.dryrun.peft_methods import config_from_file
from advisor.errors import InputError
from advisor.modeling.adapters import TASK_TYPES, build_config
from advisor.modeling.base import BaseModel, BaseRequest
from advisor.modeling.meta import ModelSource, build_on_meta

# Full fine-tuning and the loop's own values do not matter for memory; a candidate must have a rate all the same.
_ANY_RATE = {"learning_rate": 1e-4}


def adapter_of_method(
    source: ModelSource, head: Head, method: Method, hyperparameters: Mapping[str, object]
) -> PeftConfig | None:
    """Return PEFT's configuration as `tune` builds it, None for full fine-tuning.

    Args:
        source: The base model.
        head: Task head.
        method: Of the catalogue.
        hyperparameters: Beyond the method's defaults, under PEFT's names.

    Raises:
        UnsupportedCandidateError: The combination does not work, or a hyperparameter is unknown or wrong.
    """
    candidate = Candidate(
        base_model=source.name,
        architecture=source.architecture,
        method=method.slug,
        hyperparameters={**_ANY_RATE, **method.hyperparameters(source.architecture), **hyperparameters},
    )
    return build_config(candidate, _stand_in(source, head))


def adapter_of_file(path: Path, head: Head) -> PeftConfig:
    """Return the adapter of a user's `adapter_config.json`.

    Raises:
        DataError: The file is not the configuration of an adapter.
        InputError: It is of another task type than the head.
    """
    config = config_from_file(path)
    if config.task_type is None:
        config.task_type = TASK_TYPES[head]
    elif config.task_type != TASK_TYPES[head]:
        raise InputError(f"{path}: is an adapter for {config.task_type}, but the head is {head}; change --head")
    return config


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
