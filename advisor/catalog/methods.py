"""PEFT methods: hyperparameters, sensible ranges, and where each number comes from.

Numbers carry ids of `knowledge/evidence.jsonl` where a row gives them. Where none does, the docstring of the
method's builder below says what they rest on. The fewer parameters a method trains, the larger its learning
rate: about 10x that of full fine-tuning for LoRA (schulman2025lora-001, tinker2026cookbook-003), 100x and more
for rescaling vectors and soft prompts (liu2022tfew-001, -004, -008; trl2026docs-008).

Values of `target_modules`: "all-linear" is PEFT's own keyword (every linear layer but the head); "auto" means
PEFT's choice for the model type (query and value projections for LoRA), or the list that `modeling` keeps for
model types that PEFT does not know. `lora_alpha` is not searched: it follows the rank (see `derived_values`).

QLoRA is not a method of its own: it is `lora` with `quantization="4bit"` (`resolve_method` reads the name so). LoRA+ is
one, as in its paper and in the evidence: its adapter is a LoRA adapter, but how it is trained, `loraplus_lr_ratio`, is
what it is about. The other members of the LoRA family take that ratio as well when they are given one.

Left out: bottleneck adapters (Houlsby, Pfeiffer, parallel), although a good part of the evidence is about them.
PEFT 0.21 has none. Its nearest names are something else: PEANUT learns a non-linear update of the *weights*,
GLORA a low-rank one, SHADOW a second network beside a decoder, adaption prompts work for Llama-like decoders
only. Evidence on adapters is therefore shown by `evidence`, but never counted for a method offered here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.tasks import Head
from advisor.errors import UnknownNameError
from advisor.spec import Architecture, Quantization

Family = Literal["additive", "selective", "reparameterized", "hybrid", "full"]

# Methods whose adapter consists of PEFT's LoRA layers.
LORA_FAMILY = frozenset({"lora", "lora-plus", "rslora", "dora"})
ARCHITECTURES: tuple[Architecture, ...] = ("encoder-only", "encoder-decoder", "decoder-only")
HEADS: tuple[Head, ...] = ("sequence-classification", "causal-lm", "seq2seq-lm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to fine-tune.

    Attributes:
        slug: Name used everywhere.
        title: Name for people.
        family: As in the review by Haque et al. (haque2025slr).
        peft_type: Value of PEFT's `PeftType`; None for full fine-tuning.
        paper: Key in `knowledge/papers.jsonl`, None when the paper is not among them.
        architectures: Base models it works on.
        heads: Task heads it works with.
        unsupported: Pairs of architecture and head that fail all the same.
        defaults: Hyperparameters of a candidate without evidence of its own.
        learning_rates: Better default of `learning_rate` for an architecture.
        dimensions: What the search varies, and its widest sensible range.
        works_quantized: Whether PEFT documents it on a 4-bit or 8-bit base.
        model_types: transformers' model types it works on without a list of modules; None for all.
    """

    slug: str
    title: str
    family: Family
    peft_type: str | None
    paper: str | None
    defaults: Mapping[str, Scalar]
    dimensions: tuple[Dimension, ...]
    works_quantized: bool
    learning_rates: Mapping[Architecture, float] = field(default_factory=dict)
    architectures: tuple[Architecture, ...] = ARCHITECTURES
    heads: tuple[Head, ...] = HEADS
    unsupported: tuple[tuple[Architecture, Head], ...] = ()
    model_types: frozenset[str] | None = None

    def supports(self, architecture: Architecture, head: Head) -> bool:
        """Can a base model of this architecture be tuned so under this head?"""
        return (
            architecture in self.architectures and head in self.heads and (architecture, head) not in self.unsupported
        )

    def hyperparameters(self, architecture: Architecture | None = None) -> dict[str, Scalar]:
        """Return the defaults, with the learning rate of the architecture where there is one."""
        values = dict(self.defaults)
        if architecture is not None and architecture in self.learning_rates:
            values["learning_rate"] = self.learning_rates[architecture]
        return values


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
    rsLoRA divides by sqrt(r), so its `lora_alpha` stays (peft2026docs-001).
    """
    rank = values.get("r")
    if method in ("lora", "lora-plus", "dora") and isinstance(rank, int) and "lora_alpha" not in values:
        return {"lora_alpha": 2 * rank}
    return {}


def restrictions(method: str, model_type: str) -> dict[str, Scalar] | None:
    """Return hyperparameters that a method must have on a base model of this type; None where the two do not work.

    PEFT adapts fused experts as whole parameters when all linear layers are targeted. Dropout would fall between the
    parameter and its low-rank change, and DoRA needs the norm of each layer's weight, so it refuses both
    (`ParamWrapper` in peft/tuners/lora/layer.py, PEFT 0.21).
    """
    if model_type not in ADAPTED_EXPERTS or method not in LORA_FAMILY:
        return {}
    return None if method == "dora" else {"lora_dropout": 0.0}


def _hint(name: str) -> str:
    if name in _QUANTIZED_NAMES:
        return f"{name} is {_QUANTIZED_NAMES[name]} on a base model with quantization 4bit"
    return "bottleneck adapters are not offered: PEFT has none" if "adapter" in name.lower() else ""


# Model types whose modules PEFT 0.21 knows for (IA)3; a test compares with PEFT's table.
_IA3_MODEL_TYPES = frozenset({
    "bart", "bert", "bloom", "deberta", "deberta-v2", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode",
    "gpt_neo", "gpt_neox", "gptj", "llama", "llama4", "mistral", "mixtral", "mt5", "opt", "phi", "qwen2", "qwen3",
    "roberta", "t5", "RefinedWeb", "RefinedWebModel",
})  # fmt: skip
# Mixtures whose experts transformers 5 stores as whole parameters under names that PEFT 0.21 translates the old names
# of linear layers into; those of other mixtures are left alone. A test compares with the tables of both.
ADAPTED_EXPERTS = frozenset({
    "afmoe", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "exaone_moe",
    "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash", "mellum",
    "minimax", "minimax_m2", "mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_omni_moe",
    "qwen3_omni_moe_text", "qwen3_omni_moe_thinker", "solar_open",
})  # fmt: skip
_QUANTIZED_NAMES = {"qlora": "lora", "qdora": "dora"}

# Linear decay after a 5 % warm-up: weyssow2023peft-001, -005. Weight decay 0.01 is AdamW's default in PyTorch.
_SCHEDULE: dict[str, Scalar] = {
    "num_epochs": 5, "weight_decay": 0.01, "warmup_ratio": 0.05, "lr_scheduler_type": "linear",
}  # fmt: skip


def _learning_rate(low: float, high: float, *evidence: str) -> Dimension:
    return Dimension(name="learning_rate", kind="float", low=low, high=high, log=True, evidence=evidence)


def _rank(choices: tuple[int, ...], *evidence: str) -> Dimension:
    return Dimension(name="r", kind="categorical", choices=choices, evidence=evidence)


def _virtual_tokens(low: int, high: int, *evidence: str) -> Dimension:
    return Dimension(name="num_virtual_tokens", kind="int", low=low, high=high, log=True, evidence=evidence)


# All linear layers beat attention alone (biderman2024lora-005, schulman2025lora-001, peft2026docs-013); much of the
# published code work used query and value only (silva2023repairllama-037, liu2024codechange-002).
_LORA_TARGETS = Dimension(
    name="target_modules", kind="categorical", choices=("all-linear", "auto"),
    evidence=("biderman2024lora-005", "schulman2025lora-001", "peft2026docs-013", "silva2023repairllama-037"),
)  # fmt: skip
_LORA_DROPOUT = Dimension(
    name="lora_dropout", kind="float", low=0.0, high=0.1,
    evidence=("weyssow2023peft-001", "storhaug2024peft-105", "dettmers2023qlora-001"),
)  # fmt: skip
_LORA_RANK = _rank((4, 8, 16, 32, 64), "liu2022tfew-002", "trl2026docs-010", "tinker2026cookbook-004")
# 1 is plain LoRA. The authors' runs have 20 (RoBERTa on MNLI, and their example), their rule of thumb is 16 (Hayou et
# al. 2024, https://arxiv.org/abs/2402.12354), more for harder tasks.
_LORAPLUS_RATIO = Dimension(
    name="loraplus_lr_ratio", kind="float", low=2.0, high=32.0, log=True, evidence=("hayou2024loraplus-001",)
)


def _lora(slug: str, title: str, paper: str, extra: Mapping[str, Scalar], rank: Dimension, *evidence: str) -> Method:
    """Return a member of the LoRA family.

    Learning rates: encoders 2e-4 to 5e-4 (hu2021lora-001 to -016), small encoder-decoders 5e-4 (liu2024codechange-002)
    to 3e-3 (esmaeili2024r-127), decoders 5e-5 (mftcoder2024-004) to 5e-4 (silva2023repairllama-037), 2e-4 in the
    middle (dettmers2023qlora-001, biderman2024lora-006, trl2026docs-005).
    """
    return Method(
        slug=slug, title=title, family="reparameterized", peft_type="LORA", paper=paper,
        defaults={
            "learning_rate": 3e-4, "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "use_rslora": False,
            "use_dora": False, "target_modules": "all-linear", **_SCHEDULE, **extra,
        },
        learning_rates={"encoder-only": 4e-4, "encoder-decoder": 5e-4, "decoder-only": 2e-4},
        dimensions=(
            _learning_rate(
                5e-5, 3e-3, "mftcoder2024-004", "dettmers2023qlora-001", "hu2021lora-001", "esmaeili2024r-127",
                *evidence,
            ),
            rank, _LORA_DROPOUT, _LORA_TARGETS,
        ),
        works_quantized=True,
    )  # fmt: skip


def _lora_plus() -> Method:
    """Base rates around half of LoRA's (hayou2024loraplus-002): 5e-5 and 1e-4 in the authors' examples."""
    plain = _lora("lora-plus", "LoRA+", "hayou2024loraplus", {"loraplus_lr_ratio": 20.0}, _LORA_RANK)
    rate = _learning_rate(2e-5, 1.5e-3, "hayou2024loraplus-001", "hayou2024loraplus-002")
    others = [dimension for dimension in plain.dimensions if dimension.name != "learning_rate"]
    return replace(
        plain,
        defaults={**plain.defaults, "learning_rate": 1.5e-4},
        learning_rates={"encoder-only": 2e-4, "encoder-decoder": 2.5e-4, "decoder-only": 1e-4},
        dimensions=(rate, _LORAPLUS_RATIO, *others),
    )


def _soft_prompt(
    slug: str, title: str, peft_type: str, paper: str | None, defaults: Mapping[str, Scalar], *dimensions: Dimension
) -> Method:
    """Return a method that learns virtual tokens.

    With PEFT 0.21 and transformers 5 it fails on encoder-decoder models with a classification head: they
    refuse input embeddings, and PEFT finds no place for a prefix.
    """
    return Method(
        slug=slug, title=title, family="additive", peft_type=peft_type, paper=paper,
        defaults={**_SCHEDULE, "num_epochs": 10, **defaults}, dimensions=dimensions, works_quantized=True,
        unsupported=(("encoder-decoder", "sequence-classification"),),
    )  # fmt: skip


def _prompt_tuning() -> Method:
    """Rates from 3e-3 (weyssow2023peft-003) over 1e-2 to 3e-2 (trl2026docs-008) to 0.3 on T5 (lester2021prompt-001).

    Evidence that trains the base model as well (wang2022nomore) does not count for this method.
    """
    return _soft_prompt(
        "prompt-tuning", "Prompt tuning", "PROMPT_TUNING", "lester2021prompt",
        {"learning_rate": 1e-2, "num_virtual_tokens": 20},
        _learning_rate(1e-3, 0.3, "weyssow2023peft-003", "trl2026docs-008", "liu2022tfew-008"),
        _virtual_tokens(8, 100, "trl2026docs-009", "weyssow2023peft-003", "liu2022tfew-008"),
    )  # fmt: skip


def _prefix_tuning() -> Method:
    """Without re-parameterisation 5e-3 (peft2026comparison-016) to 3e-2 (weyssow2023peft-004).

    On encoder-decoder models PEFT's prefix reaches the decoder only (peft2026docs-012).
    """
    return _soft_prompt(
        "prefix-tuning", "Prefix tuning", "PREFIX_TUNING", "li2021prefix",
        {"learning_rate": 5e-3, "num_virtual_tokens": 20, "prefix_projection": False},
        _learning_rate(1e-4, 3e-2, "chen2023passtuning-001", "peft2026comparison-016", "weyssow2023peft-004"),
        _virtual_tokens(10, 100, "weyssow2023peft-004", "li2024apr-101"),
    )  # fmt: skip


def _p_tuning() -> Method:
    """All rows use 1e-4, shared with other methods (li2024apr-100, zhuo2024astraios-003); no study tuned the rate.

    The upper end is that of prompt tuning's advice (trl2026docs-008), the default lies between the two.
    """
    return _soft_prompt(
        "p-tuning", "P-tuning", "P_TUNING", None,
        {
            "learning_rate": 1e-3, "num_virtual_tokens": 30, "encoder_hidden_size": 256,
            "encoder_reparameterization_type": "MLP",
        },
        _learning_rate(1e-4, 1e-2, "li2024apr-100", "zhuo2024astraios-003", "trl2026docs-008"),
        _virtual_tokens(10, 100, "zhuo2024astraios-003", "li2024apr-100"),
    )  # fmt: skip


def _ia3() -> Method:
    """3e-3 where it was tuned (liu2022tfew-001, lester2021prompt-003); 1e-4 learns little, 5e-3 was best of
    PEFT's own runs (peft2026comparison-008 to -010)."""
    return Method(
        slug="ia3", title="(IA)3", family="additive", peft_type="IA3", paper="liu2022tfew",
        defaults={**_SCHEDULE, "num_epochs": 10, "learning_rate": 3e-3, "target_modules": "auto"},
        dimensions=(
            _learning_rate(3e-4, 1e-2, "storhaug2024peft-105", "liu2022tfew-001", "peft2026comparison-010"),
        ),
        works_quantized=True, model_types=_IA3_MODEL_TYPES,
    )  # fmt: skip


def _bitfit() -> Method:
    """Bias-only tuning, built from PEFT's BEFT over all linear layers.

    BEFT adds a trainable zero-initialised vector to a linear layer's output, which for a layer with a bias is
    the same as training that bias; models without biases (T5, Llama, Qwen) get some. LayerNorm biases, which
    BitFit trains as well, stay frozen. BEFT's own default is the value projection only; that method is not this
    one. The two rows give 3e-4 on models of 3B and 6B parameters (liu2022tfew-003, li2026jitcu-004) and mark the
    lower part of the range; smaller models and zero-initialised vectors want more. The paper (BitFit) is not in
    papers.jsonl.
    """
    return Method(
        slug="bitfit", title="BitFit (bias-only tuning)", family="selective", peft_type="BEFT", paper=None,
        defaults={**_SCHEDULE, "num_epochs": 10, "learning_rate": 1e-3, "target_modules": "all-linear"},
        dimensions=(_learning_rate(1e-4, 1e-2, "liu2022tfew-003", "li2026jitcu-004"),),
        works_quantized=False,
    )  # fmt: skip


def _layernorm_tuning() -> Method:
    """3e-4 in T-Few's grid (liu2022tfew-005); PEFT's own run at 1e-4 learned nothing (peft2026comparison-025), so
    the default lies above both. The paper is not in papers.jsonl."""
    return Method(
        slug="layernorm-tuning", title="LayerNorm tuning", family="selective", peft_type="LN_TUNING", paper=None,
        defaults={**_SCHEDULE, "num_epochs": 10, "learning_rate": 1e-3, "target_modules": "auto"},
        dimensions=(_learning_rate(3e-4, 1e-2, "liu2022tfew-005", "peft2026comparison-025"),),
        works_quantized=False,
    )  # fmt: skip


def _full() -> Method:
    """2e-5 to 5e-5 for encoders (lu2021codexglue-004, -007), 2e-5 for decoders (silva2023repairllama-037,
    trl2026docs-005), up to 3e-4 for T5 models (liu2022tfew-010)."""
    return Method(
        slug="full", title="Full fine-tuning", family="full", peft_type=None, paper=None,
        defaults={**_SCHEDULE, "learning_rate": 2e-5},
        learning_rates={"encoder-only": 5e-5, "encoder-decoder": 5e-5, "decoder-only": 2e-5},
        dimensions=(
            _learning_rate(5e-6, 3e-4, "lu2021codexglue-007", "trl2026docs-005", "liu2022tfew-010"),
        ),
        works_quantized=False,
    )  # fmt: skip


METHODS: dict[str, Method] = {
    method.slug: method
    for method in (
        _lora("lora", "LoRA", "hu2021lora", {}, _LORA_RANK),
        _lora_plus(),
        _lora(
            "rslora", "rsLoRA", "kalajdzievski2023rslora", {"use_rslora": True, "r": 32, "lora_alpha": 16},
            _rank((16, 32, 64, 128), "kalajdzievski2023rslora-001", "peft2026comparison-004"), "peft2026comparison-004",
        ),
        _lora(
            "dora", "DoRA", "liu2024dora", {"use_dora": True},
            _rank((4, 8, 16, 32), "liu2024dora-019"), "liu2024dora-018",
        ),
        _ia3(),
        _prompt_tuning(),
        _prefix_tuning(),
        _p_tuning(),
        _bitfit(),
        _layernorm_tuning(),
        _full(),
    )
}  # fmt: skip
