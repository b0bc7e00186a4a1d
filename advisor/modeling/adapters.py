"""From a candidate to PEFT's configuration: one builder per method.

`target_modules="auto"` means what PEFT chooses for the model type. Where PEFT has no choice, LoRA and its kin
take every linear layer, LayerNorm tuning every normalisation layer; (IA)3 is refused.

Limits of PEFT 0.21 with transformers 5, seen in the tests: soft prompts and prefixes do not work on an
encoder-decoder with a classification head; BEFT (bias tuning) knows `torch.nn.Linear` only, so GPT-2, whose
layers are Conv1D, cannot have it; soft prompts on models with absolute positions (GPT-2) shift the positions of
left-padded rows in generation.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from peft import (
    BeftConfig,
    IA3Config,
    LNTuningConfig,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
)
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
)

from advisor.candidates import Candidate
from advisor.catalog.methods import LORA_FAMILY, find_method
from advisor.catalog.tasks import Head
from advisor.errors import InputError, nearest_names, printable
from advisor.modeling.base import BaseModel, ModelHead

# Hyperparameters that belong to the training loop, under transformers' names.
TRAINING_HYPERPARAMETERS = frozenset(
    {"learning_rate", "num_epochs", "weight_decay", "warmup_ratio", "lr_scheduler_type"}
)
# Of LoRA+, under PEFT's name: the rate of the matrices B divided by that of the matrices A.
LORAPLUS_RATIO = "loraplus_lr_ratio"
TASK_TYPES: dict[Head, str] = {
    "sequence-classification": "SEQ_CLS",
    "causal-lm": "CAUSAL_LM",
    "seq2seq-lm": "SEQ_2_SEQ_LM",
}
# PEFT makes these trainable in every classifier by itself; other names (T5's "classification_head") must be given.
_HEADS_PEFT_KNOWS = frozenset({"classifier", "score"})

Settings = dict[str, Any]


class UnsupportedCandidateError(InputError):
    """A combination of method, base model, head and hyperparameters that cannot be trained."""


def training_hyperparameters(method: str) -> frozenset[str]:
    """Return the names of what the training loop takes from a candidate of this method; all others are PEFT's."""
    return TRAINING_HYPERPARAMETERS | {LORAPLUS_RATIO} if method in LORA_FAMILY else TRAINING_HYPERPARAMETERS


def check_supported(candidate: Candidate, head: ModelHead) -> None:
    """Refuse combinations that are known not to work.

    Raises:
        UnsupportedCandidateError: With the reason.
    """
    method = find_method(candidate.method)
    # What works below a classifier works without one.
    if not method.supports(candidate.architecture, "sequence-classification" if head == "embedding" else head):
        raise UnsupportedCandidateError(
            f"{method.slug} does not work on {candidate.architecture} models with a {head} head"
        )
    if candidate.quantization is not None and not method.works_quantized:
        raise UnsupportedCandidateError(f"{method.slug} does not work on a {candidate.quantization} base model")


def build_config(candidate: Candidate, base: BaseModel) -> PeftConfig | None:
    """Return PEFT's configuration of a candidate, None for full fine-tuning.

    Raises:
        UnsupportedCandidateError: The combination does not work, or a hyperparameter is unknown or of a wrong
            value.
    """
    check_supported(candidate, base.request.head)
    own = training_hyperparameters(candidate.method)
    settings = {name: value for name, value in candidate.hyperparameters.items() if name not in own}
    if candidate.method == "full":
        _check_names(settings, (), candidate.method)
        return None
    builder, config_class = BUILDERS[candidate.method]
    _check_names(settings, [field.name for field in fields(config_class)], candidate.method)
    try:
        return config_class(**builder(settings, base), **_common(base))
    except (TypeError, ValueError) as error:
        raise UnsupportedCandidateError(f"{candidate.method}: {_one_line(error)}") from error


def _common(base: BaseModel) -> Settings:
    own_heads = [name for name in base.head_modules if name not in _HEADS_PEFT_KNOWS]
    return {
        "task_type": "FEATURE_EXTRACTION" if base.request.head == "embedding" else TASK_TYPES[base.request.head],
        "base_model_name_or_path": base.source,
        "modules_to_save": own_heads or None,
    }


# What papers and other programs call PEFT's hyperparameters.
_SAID_OTHERWISE = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "modules": "target_modules"}


def _check_names(settings: Settings, known: tuple[str, ...] | list[str], method: str) -> None:
    for name in settings:
        if name not in known or name in ("task_type", "peft_type", "modules_to_save", "base_model_name_or_path"):
            meant = _SAID_OTHERWISE.get(name)
            near = [meant] if meant is not None and meant in known else nearest_names(name, known)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise UnsupportedCandidateError(f"{method} has no hyperparameter {printable(name)}{hint}")


def _lora(settings: Settings, base: BaseModel) -> Settings:
    return {**settings, "target_modules": _targets(settings, base, TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING)}


def _rslora(settings: Settings, base: BaseModel) -> Settings:
    return {**_lora(settings, base), "use_rslora": True}


def _dora(settings: Settings, base: BaseModel) -> Settings:
    return {**_lora(settings, base), "use_dora": True}


def _ia3(settings: Settings, base: BaseModel) -> Settings:
    model_type = base.model.config.model_type
    if settings.get("target_modules", "auto") != "auto":
        return settings
    if model_type not in TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING:
        raise ValueError(
            f"PEFT has no choice of modules for {model_type} models; give target_modules and feedforward_modules"
        )
    return {**settings, "target_modules": None}


def _bitfit(settings: Settings, base: BaseModel) -> Settings:
    # BEFT's own choice is the value projection alone; BitFit trains the biases of all layers.
    targets = settings.get("target_modules", "auto")
    return {**settings, "target_modules": "all-linear" if targets == "auto" else targets}


def _layernorm(settings: Settings, base: BaseModel) -> Settings:
    known = TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING
    if settings.get("target_modules", "auto") != "auto" or base.model.config.model_type in known:
        return {**settings, "target_modules": _targets(settings, base, known)}
    heads = tuple(f"{name}." for name in base.head_modules)
    norms = [
        name
        for name, module in base.model.named_modules()
        if type(module).__name__.lower().endswith(("layernorm", "rmsnorm")) and not name.startswith(heads)
    ]
    return {**settings, "target_modules": norms}


def _soft_prompt(settings: Settings, base: BaseModel) -> Settings:
    return settings


def _p_tuning(settings: Settings, base: BaseModel) -> Settings:
    # PEFT has no default and fails late without one.
    return {"encoder_hidden_size": base.model.config.hidden_size, **settings}


def _targets(settings: Settings, base: BaseModel, known: Mapping[str, object]) -> object:
    """Return PEFT's value for `target_modules`: None lets PEFT choose."""
    targets = settings.get("target_modules", "auto")
    if targets != "auto":
        return targets
    return None if base.model.config.model_type in known else "all-linear"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


BUILDERS: dict[str, tuple[Callable[[Settings, BaseModel], Settings], type[PeftConfig]]] = {
    "lora": (_lora, LoraConfig),
    "lora-plus": (_lora, LoraConfig),
    "rslora": (_rslora, LoraConfig),
    "dora": (_dora, LoraConfig),
    "ia3": (_ia3, IA3Config),
    "prompt-tuning": (_soft_prompt, PromptTuningConfig),
    "prefix-tuning": (_soft_prompt, PrefixTuningConfig),
    "p-tuning": (_p_tuning, PromptEncoderConfig),
    "bitfit": (_bitfit, BeftConfig),
    "layernorm-tuning": (_layernorm, LNTuningConfig),
}
