"""What each method of the catalogue gives to PEFT: a class of configuration, and how its settings come about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import peft
from peft import LoraConfig, PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils.constants import (
    DUMMY_TARGET_MODULES,
    TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
)

from advisor.catalog.methods import METHODS
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.modeling.base import BaseModel
from advisor.modeling.tuners import (
    AdapterFusionConfig,
    AdapterStackConfig,
    BitFitConfig,
    BottleneckConfig,
    CompacterConfig,
    FeedForwardLoraConfig,
    MamConfig,
)
from advisor.modeling.tuners.hybrid import feed_forward_linears
from advisor.modeling.tuners.insertion import layers_of

# Of AdaLoRA, until the training loop says how many there are.
UNKNOWN_STEPS = 1
_OWN_CHOICE = frozenset({"BEFT", "OSF"})

Settings = dict[str, Any]
Build = Callable[[Settings, BaseModel], Settings]


@dataclass(frozen=True, slots=True)
class Builder:
    """How a candidate's hyperparameters become a configuration.

    Attributes:
        build: From hyperparameters and base model to the settings of `config`.
        config: Class of PEFT or of `modeling.tuners`.
        named: Class whose fields are the names that a candidate may use: `config`, or one with names of its own.
    """

    build: Build
    config: type[PeftConfig]
    named: type[PeftConfig]

    @classmethod
    def of(cls, build: Build, config: type[PeftConfig], named: type[PeftConfig] | None = None) -> "Builder":
        """Return a builder; `named` is `config` unless it is given."""
        return cls(build, config, named or config)


@dataclass
class TopLayersConfig(LoraConfig):
    """Names of layer freezing's hyperparameters; what is built and saved is a plain `LoraConfig`.

    Attributes:
        trained_layers: Layers at the top of each stack that are trained; all where a stack has fewer.
    """

    trained_layers: int = field(default=4)


def _lora(settings: Settings, base: BaseModel) -> Settings:
    return {**settings, "target_modules": _targets(settings, base, TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING)}


def _with(fixed: Settings, build: Build) -> Build:
    """Return a builder whose method is another one with settings of its own."""
    return lambda settings, base: {**build(settings, base), **fixed}


def _ia3(settings: Settings, base: BaseModel) -> Settings:
    # Types of model that PEFT has no choice for are refused before (`model_types` of the method).
    chosen = settings.get("target_modules", "auto")
    return {**settings, "target_modules": None if chosen == "auto" else chosen}


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


def _as_given(settings: Settings, base: BaseModel) -> Settings:
    return dict(settings)


def _p_tuning(settings: Settings, base: BaseModel) -> Settings:
    # PEFT has no default and fails late without one.
    return {"encoder_hidden_size": base.model.config.hidden_size, **settings}


def _llama_adapter(settings: Settings, base: BaseModel) -> Settings:
    return {"adapter_layers": base.model.config.num_hidden_layers, **settings}


def _ff_lora(settings: Settings, base: BaseModel) -> Settings:
    if settings.get("target_modules", "auto") != "auto":
        raise ValueError("its modules are those of the feed-forward sublayers; method lora takes target_modules")
    return {**settings, "target_modules": list(feed_forward_linears(base.model))}


def _adalora(settings: Settings, base: BaseModel) -> Settings:
    """AdaLoRA must be given a number of steps; the training loop knows it and sets it (`training.rank_allocation`)."""
    return {"total_step": UNKNOWN_STEPS, **_chosen(settings, base, peft_type="ADALORA")}


def _composed(settings: Settings, base: BaseModel) -> Settings:
    """Name the folders of trained adapters; without weights (a dry run) their shapes are all there is to know."""
    adapters: tuple[TrainedAdapter, ...] = settings["adapters"]
    others = {name: value for name, value in settings.items() if name != "adapters"}
    if base.device.type == "meta":
        return {**others, "trained": [one.shape for one in adapters]}
    for one in adapters:
        one.check_unchanged()
    return {**others, "adapters": [one.folder for one in adapters]}


def _layer_freezing(settings: Settings, base: BaseModel) -> Settings:
    """Copies of the top layers take their place and are trained: PEFT's way to train a module as a whole.

    The adapter beside them is empty: PEFT's LoRA with no module to put it on.
    """
    n = settings.get("trained_layers", 4)
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"trained_layers {n!r} must be a whole number of at least 1")
    stacks: dict[str, list[str]] = {}
    for layer in layers_of(base.model, base.model.config.model_type):
        stacks.setdefault(layer.name.rpartition(".")[0], []).append(layer.name)
    others = {name: value for name, value in settings.items() if name != "trained_layers"}
    return {
        **others, "target_modules": DUMMY_TARGET_MODULES,
        "modules_to_save": [name for stack in stacks.values() for name in stack[-n:]],
    }  # fmt: skip


def _chosen(settings: Settings, base: BaseModel, *, peft_type: str) -> Settings:
    """Return settings with modules for this type of model: PEFT's choice for LoRA, so that methods are comparable.

    BEFT and OSF are other methods on query and value projections than they are meant to be, so they have their own.
    """
    known: Mapping[str, object] = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    if peft_type in _OWN_CHOICE:
        known = PEFT_TYPE_TO_TUNER_MAPPING[peft.PeftType(peft_type)].target_module_mapping
    elif settings.get("target_modules", "auto") == "auto":
        # Named, for the method's own table may say otherwise.
        return {**settings, "target_modules": known.get(base.model.config.model_type, "all-linear")}
    return {**settings, "target_modules": _targets(settings, base, known)}


def _targets(settings: Settings, base: BaseModel, known: Mapping[str, object]) -> object:
    """Return PEFT's value for `target_modules`: None lets PEFT choose."""
    targets = settings.get("target_modules", "auto")
    if targets != "auto":
        return targets
    return None if base.model.config.model_type in known else "all-linear"


def _of_peft(slug: str) -> Builder:
    """Return the builder of a method that PEFT puts on linear layers of its own choice."""
    kind = str(METHODS[slug].peft_type)
    return Builder.of(partial(_chosen, peft_type=kind), PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)])


_SPECIAL: dict[str, Builder] = {
    "lora": Builder.of(_lora, LoraConfig),
    "lora-plus": Builder.of(_lora, LoraConfig),
    "rslora": Builder.of(_with({"use_rslora": True}, _lora), LoraConfig),
    "dora": Builder.of(_with({"use_dora": True}, _lora), LoraConfig),
    "pissa": Builder.of(_with({"init_lora_weights": "pissa"}, _lora), LoraConfig),
    "olora": Builder.of(_with({"init_lora_weights": "olora"}, _lora), LoraConfig),
    "ff-lora": Builder.of(_ff_lora, LoraConfig),
    "adalora": Builder.of(_adalora, peft.AdaLoraConfig),
    "ia3": Builder.of(_ia3, peft.IA3Config),
    "prompt-tuning": Builder.of(_as_given, peft.PromptTuningConfig),
    "prefix-tuning": Builder.of(_as_given, peft.PrefixTuningConfig),
    "p-tuning": Builder.of(_p_tuning, peft.PromptEncoderConfig),
    "llama-adapter": Builder.of(_llama_adapter, peft.AdaptionPromptConfig),
    "layernorm-tuning": Builder.of(_layernorm, peft.LNTuningConfig),
    "layer-freezing": Builder.of(_layer_freezing, LoraConfig, TopLayersConfig),
    "bitfit": Builder.of(_as_given, BitFitConfig),
    "adapter-houlsby": Builder.of(_with({"placement": "houlsby"}, _as_given), BottleneckConfig),
    "adapter-pfeiffer": Builder.of(_with({"placement": "pfeiffer"}, _as_given), BottleneckConfig),
    "adapter-parallel": Builder.of(_with({"placement": "parallel"}, _as_given), BottleneckConfig),
    "compacter": Builder.of(_as_given, CompacterConfig),
    "mam": Builder.of(_as_given, MamConfig),
    "ff-lora-adapter": Builder.of(_as_given, FeedForwardLoraConfig),
    "adapter-stack": Builder.of(_composed, AdapterStackConfig),
    "adapter-fusion": Builder.of(_composed, AdapterFusionConfig),
}
BUILDERS: dict[str, Builder] = {
    slug: _SPECIAL[slug] if slug in _SPECIAL else _of_peft(slug) for slug in METHODS if slug != "full"
}
