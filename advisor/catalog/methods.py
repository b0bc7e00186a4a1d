"""PEFT methods: the registry of the catalogue, and how a method is found by its name.

Entries stand in `catalog.method_families`. Numbers carry ids of `knowledge/evidence.jsonl` where a row gives them;
where none does, the docstring of an entry or its `basis` says what they rest on. The fewer parameters a method
trains, the larger its learning rate: about 10x that of full fine-tuning for LoRA (schulman2025lora-001,
tinker2026cookbook-003), 100x and more for rescaling vectors and soft prompts (liu2022tfew-001, -004, -008;
trl2026docs-008).

Values of `target_modules`: "all-linear" is PEFT's own keyword (every linear layer but the head); "auto" means PEFT's
choice for the model type (query and value projections for LoRA), or the list that `modeling` keeps for model types that
PEFT does not know. `lora_alpha` is not searched: it follows the rank (see `derived_values`).

QLoRA is not a method of its own: it is `lora` with `quantization="4bit"` (`resolve_method` reads the name so). LoRA+ is
one, as in its paper and in the evidence: its adapter is a LoRA adapter, but how it is trained, `loraplus_lr_ratio`, is
what it is about. The other members of the LoRA family take that ratio as well when they are given one.

Methods without a row of the evidence on a task with code are `on_request`. What is not offered at all, and why, is in
`catalog.not_offered`.
"""

from collections.abc import Mapping
from dataclasses import replace

from advisor.catalog.dimensions import Scalar
from advisor.catalog.method import ARCHITECTURES, HEADS, SCHEDULE, Family, Method, learning_rate
from advisor.catalog.method_families import adapters, lora, low_rank, prompts, selective, transforms
from advisor.catalog.not_offered import NOT_OFFERED
from advisor.errors import UnknownNameError
from advisor.spec import Quantization

__all__ = [
    "ADAPTED_EXPERTS", "ARCHITECTURES", "HEADS", "LORA_FAMILY", "METHODS", "Family", "Method", "derived_values",
    "find_method", "resolve_method", "restrictions",
]  # fmt: skip

# Methods whose adapter consists of PEFT's LoRA layers, wherever they are put.
LORA_FAMILY = frozenset({"lora", "lora-plus", "rslora", "dora", "pissa", "olora"})
# What follows from which hyperparameter, and the ratio.
_FOLLOWING: Mapping[str, tuple[str, str, float]] = {
    **dict.fromkeys(("lora", "lora-plus", "dora", "ff-lora", "ff-lora-adapter"), ("r", "lora_alpha", 2.0)),
    **dict.fromkeys(("pissa", "olora"), ("r", "lora_alpha", 1.0)),
    **dict.fromkeys(("loha", "lokr", "gralora"), ("r", "alpha", 2.0)),
    "psoft": ("r", "psoft_alpha", 1.0),
    "randlora": ("r", "randlora_alpha", 20.0),
    "adalora": ("init_r", "target_r", 2 / 3),
}


def find_method(slug: str) -> Method:
    """Return the method of that slug.

    Raises:
        UnknownNameError: No such method; the message has the nearest names.
    """
    if slug in METHODS:
        return METHODS[slug]
    raise UnknownNameError("method", slug, METHODS, _hint(slug))


def resolve_method(name: str) -> tuple[Method, Quantization | None]:
    """Return the method that a user means and the quantization that the name implies ("qlora": 4-bit LoRA).

    Raises:
        UnknownNameError: No such method; the message has the nearest names.
    """
    if name in _QUANTIZED_NAMES:
        return METHODS[_QUANTIZED_NAMES[name]], "4bit"
    if name in METHODS:
        return METHODS[name], None
    raise UnknownNameError("method", name, (*METHODS, *_QUANTIZED_NAMES), _hint(name))


def derived_values(method: str, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return hyperparameters that follow from others, given the ones that were chosen.

    `lora_alpha` = 2 r for LoRA, LoRA+ and DoRA keeps the scale lora_alpha / r at 2 (trl2026docs-010,
    biderman2024lora-001).
    rsLoRA divides by sqrt(r), so its `lora_alpha` stays (peft2026docs-001). The other ratios are those of the runs
    that the defaults come from; AdaLoRA begins with one and a half times the rank that it ends with
    (zhang2023adalora-001).
    """
    leader, follower, ratio = _FOLLOWING.get(method, ("r", "", 1.0))
    rank = values.get(leader)
    if not follower or not isinstance(rank, int) or follower in values:
        return {}
    return {follower: max(1, int(rank * ratio))}


def restrictions(method: str, model_type: str) -> dict[str, Scalar] | None:
    """Return hyperparameters that a method must have on a base model of this type; None where the two do not work.

    PEFT adapts fused experts as whole parameters when all linear layers are targeted. PiSSA and OLoRA find no matrix to
    start from there. Dropout would fall between the
    parameter and its low-rank change, and DoRA needs the norm of each layer's weight, so it refuses both
    (`ParamWrapper` in peft/tuners/lora/layer.py, PEFT 0.21).
    """
    if model_type not in ADAPTED_EXPERTS or method not in LORA_FAMILY:
        return {}
    return None if method in ("dora", "pissa", "olora") else {"lora_dropout": 0.0}


def _hint(name: str) -> str:
    if name in _QUANTIZED_NAMES:
        return f"{name} is {_QUANTIZED_NAMES[name]} on a base model with quantization 4bit"
    if name in NOT_OFFERED:
        return f"{name} is not offered: {NOT_OFFERED[name]}"
    if name.lower() in ("adapter", "adapters", "bottleneck"):
        return "there are three: adapter-houlsby, adapter-pfeiffer, adapter-parallel"
    return ""


# Mixtures whose experts transformers 5 stores as whole parameters under names that PEFT 0.21 translates the old names
# of linear layers into; those of other mixtures are left alone. A test compares with the tables of both.
ADAPTED_EXPERTS = frozenset({
    "afmoe", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "exaone_moe",
    "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash", "mellum",
    "minimax", "minimax_m2", "mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_omni_moe",
    "qwen3_omni_moe_text", "qwen3_omni_moe_thinker", "solar_open",
})  # fmt: skip
_QUANTIZED_NAMES = {"qlora": "lora", "qdora": "dora"}


def _full() -> Method:
    """2e-5 to 5e-5 for encoders (lu2021codexglue-004, -007), 2e-5 for decoders (silva2023repairllama-037,
    trl2026docs-005), up to 3e-4 for T5 models (liu2022tfew-010)."""
    return Method(
        slug="full", title="Full fine-tuning", family="full", peft_type=None, paper=None,
        defaults={**SCHEDULE, "learning_rate": 2e-5},
        learning_rates={"encoder-only": 5e-5, "encoder-decoder": 5e-5, "decoder-only": 2e-5},
        dimensions=(
            learning_rate(5e-6, 3e-4, "lu2021codexglue-007", "trl2026docs-005", "liu2022tfew-010"),
        ),
        works_quantized=False,
    )  # fmt: skip


# With rows of evidence, but without stored dry runs yet: by a formula for their memory they would be compared with
# methods whose memory is known better.
WITHOUT_STEP_PROFILES = frozenset({"adalora"})

METHODS: dict[str, Method] = {
    method.slug: replace(method, on_request=True) if method.slug in WITHOUT_STEP_PROFILES else method
    for method in (
        *(one for one in lora.entries() if not one.on_request),
        *prompts.entries(),
        *selective.entries(),
        *adapters.entries(),
        *(one for one in lora.entries() if one.on_request),
        *low_rank.entries(),
        *transforms.entries(),
        _full(),
    )
}
