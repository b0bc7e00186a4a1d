"""From a candidate to PEFT's configuration: one builder per method.

`target_modules="auto"` means what PEFT chooses for the model type. Where PEFT has no choice, LoRA and its kin
take every linear layer, LayerNorm tuning every normalisation layer; (IA)3 is refused. Which builder a method has is
in `modeling.builders`.

Limits of PEFT 0.21 with transformers 5, seen in the tests: soft prompts and prefixes do not work on an
encoder-decoder with a classification head; many methods know `torch.nn.Linear` only, so GPT-2, whose layers are Conv1D,
cannot have them (`not_model_types` of a method); soft prompts on models with absolute positions (GPT-2) shift the
positions of left-padded rows in generation.
"""

from dataclasses import fields

from peft import PeftConfig
from torch import nn

from advisor.candidates import Candidate
from advisor.catalog.methods import LORA_FAMILY, find_method
from advisor.catalog.tasks import Head
from advisor.errors import InputError, nearest_names, printable
from advisor.modeling.base import BaseModel, ModelHead
from advisor.modeling.builders import BUILDERS, Builder, Settings

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
# What to say where a method does not work on a type of model.
_WAYS_OUT = {
    "bitfit": ": they have no biases; beft trains vectors in their place",
    "ia3": " without a list of modules; give target_modules and feedforward_modules",
}
# PEFT makes these trainable in every classifier by itself; other names (T5's "classification_head") must be given.
_HEADS_PEFT_KNOWS = frozenset({"classifier", "score"})


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
    builder = BUILDERS[candidate.method]
    _check_names(settings, [field.name for field in fields(builder.named)], candidate.method)
    _check_model_type(candidate, base.model.config.model_type)
    _check_adapters(candidate)
    if candidate.adapters:
        settings["adapters"] = candidate.adapters
    try:
        return _config(builder, settings, base)
    except (TypeError, ValueError) as error:
        raise UnsupportedCandidateError(f"{candidate.method}: {_one_line(error)}") from error


def _config(builder: Builder, settings: Settings, base: BaseModel) -> PeftConfig:
    values, common = builder.build(settings, base), _common(base)
    saved = [*(values.pop("modules_to_save", None) or ()), *(common.pop("modules_to_save") or ())]
    if "modules_to_save" in {field.name for field in fields(builder.config)} or saved:
        common["modules_to_save"] = saved or None
    return builder.config(**values, **common)


def freeze_constants(model: nn.Module) -> None:
    """Keep from training what PEFT 0.21 makes trainable by moving it to a device: AdaLoRA's number of ranks.

    It stands in a `ParameterDict`, and a tensor that is put there becomes a parameter that is trained
    (`_move_adapter_to_device_of_base_layer` in peft/tuners/tuners_utils.py). A dry run leaves it as PEFT has it, since
    published runs do (knowledge/peft_method_comparison.csv), so for AdaLoRA it says a little more than `tune` takes.
    """
    for name, parameter in model.named_parameters():
        if ".ranknum." in name:
            parameter.requires_grad_(False)


def _check_model_type(candidate: Candidate, model_type: str) -> None:
    """Refuse a type of model that the method does not work on; a list of modules makes up for a choice of PEFT's."""
    method = find_method(candidate.method)
    listed = candidate.hyperparameters.get("target_modules", "auto") not in ("auto", "all-linear")
    if model_type in method.not_model_types or not (listed or method.works_on(model_type)):
        raise UnsupportedCandidateError(
            f"{method.slug} does not work on {model_type} models{_WAYS_OUT.get(method.slug, '')}"
        )


def _check_adapters(candidate: Candidate) -> None:
    """Refuse trained adapters that a method has no use for, and the lack of those that it is made of."""
    least, n = find_method(candidate.method).least_adapters, len(candidate.adapters)
    if n < least:
        raise UnsupportedCandidateError(
            f"{candidate.method} is made of trained adapters, {least} or more, and {n or 'none'} are named"
        )
    if n and not least:
        raise UnsupportedCandidateError(f"{candidate.method} is not made of trained adapters, and {n} are named")


def _common(base: BaseModel) -> Settings:
    own_heads = [name for name in base.head_modules if name not in _HEADS_PEFT_KNOWS]
    return {
        "task_type": "FEATURE_EXTRACTION" if base.request.head == "embedding" else TASK_TYPES[base.request.head],
        "base_model_name_or_path": base.source,
        "modules_to_save": own_heads or None,
    }


# Fields of configurations that follow from the base model, its head, and what an adapter is made of.
_NO_HYPERPARAMETERS = frozenset(
    {"task_type", "peft_type", "modules_to_save", "base_model_name_or_path", "adapters", "trained"}
)
# What papers and other programs call PEFT's hyperparameters.
_SAID_OTHERWISE = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "modules": "target_modules"}


def _check_names(settings: Settings, known: tuple[str, ...] | list[str], method: str) -> None:
    for name in settings:
        if name not in known or name in _NO_HYPERPARAMETERS:
            meant = _SAID_OTHERWISE.get(name)
            near = [meant] if meant is not None and meant in known else nearest_names(name, known)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise UnsupportedCandidateError(f"{method} has no hyperparameter {printable(name)}{hint}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
