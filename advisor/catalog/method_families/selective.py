"""Methods that train a small part of the parameters that the model has, or scale what its layers give."""

from advisor.catalog.dimensions import Dimension
from advisor.catalog.method import SCHEDULE, Method, around, choice, learning_rate
from advisor.catalog.places import CONV1D_MODEL_TYPES, FAMILIES_WITH_PLACES, WITHOUT_BIASES

# Model types whose modules PEFT 0.21 knows for (IA)3; a test compares with PEFT's table.
_IA3_MODEL_TYPES = frozenset({
    "bart", "bert", "bloom", "deberta", "deberta-v2", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode",
    "gpt_neo", "gpt_neox", "gptj", "llama", "llama4", "mistral", "mixtral", "mt5", "opt", "phi", "qwen2", "qwen3",
    "roberta", "t5", "RefinedWeb", "RefinedWebModel",
})  # fmt: skip


def _ia3() -> Method:
    """3e-3 where it was tuned (liu2022tfew-001, lester2021prompt-003); 1e-4 learns little, 5e-3 was best of
    PEFT's own runs (peft2026comparison-008 to -010)."""
    return Method(
        slug="ia3", title="(IA)3", family="additive", peft_type="IA3", paper="liu2022tfew",
        defaults={**SCHEDULE, "num_epochs": 10, "learning_rate": 3e-3, "target_modules": "auto"},
        dimensions=(
            learning_rate(3e-4, 1e-2, "storhaug2024peft-105", "liu2022tfew-001", "peft2026comparison-010"),
        ),
        works_quantized=True, model_types=_IA3_MODEL_TYPES,
    )  # fmt: skip


def _bitfit() -> Method:
    """The biases that the model has (Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199).

    The two rows give 3e-4 on models of 3B and 6B parameters (liu2022tfew-003, li2026jitcu-004) and mark the lower
    part of the range; smaller models want more. Models without biases are left out, see BEFT. Biases are not quantized,
    so it works on a quantized base (studies/quantized_methods).
    """
    return Method(
        slug="bitfit", title="BitFit (bias-only tuning)", family="selective", peft_type="BITFIT", paper=None,
        defaults={**SCHEDULE, "num_epochs": 10, "learning_rate": 1e-3},
        dimensions=(learning_rate(1e-4, 1e-2, "liu2022tfew-003", "li2026jitcu-004"),),
        works_quantized=True, not_model_types=WITHOUT_BIASES,
    )  # fmt: skip


def _beft() -> Method:
    """A vector added to what the value projections give (https://arxiv.org/abs/2509.15974), which need have no bias.

    Its authors (https://github.com/whubaichuan/BEFT) train BERT and RoBERTa with 1e-4 to 1e-3 by task (run_BEFT.py) and
    OPT with 1e-3 on most, 1e-4 and 1e-2 on a few (autoregressive_llm/finetune_BEFT.sh). PEFT's run at 1e-4,
    beft/llama-3.2-3B-target-v_proj, reached an accuracy of 0.33.
    """
    return Method(
        slug="beft", title="BEFT", family="selective", peft_type="BEFT", paper=None,
        defaults={**SCHEDULE, "num_epochs": 10, "learning_rate": 1e-3, "target_modules": "auto"},
        dimensions=(
            learning_rate(1e-4, 1e-2),
            choice("target_modules", ("auto", "all-linear")),
        ),
        works_quantized=False, not_model_types=CONV1D_MODEL_TYPES, on_request=True, basis="its authors' scripts",
    )  # fmt: skip


def _layernorm_tuning() -> Method:
    """3e-4 in T-Few's grid (liu2022tfew-005); PEFT's own run at 1e-4 learned nothing (peft2026comparison-025), so
    the default lies above both. The paper is not in papers.jsonl."""
    return Method(
        slug="layernorm-tuning", title="LayerNorm tuning", family="selective", peft_type="LN_TUNING", paper=None,
        defaults={**SCHEDULE, "num_epochs": 10, "learning_rate": 1e-3, "target_modules": "auto"},
        dimensions=(learning_rate(3e-4, 1e-2, "liu2022tfew-005", "peft2026comparison-025"),),
        works_quantized=False,
    )  # fmt: skip


def _layer_freezing() -> Method:
    """The top layers of each stack are trained as a whole, all below is frozen.

    Telly (shi2023telly) freezes the bottom 0 to 11 of 12 layers. Rates are those of full fine-tuning, whose weights
    these are (lu2021codexglue-007, trl2026docs-005).
    """
    return Method(
        slug="layer-freezing", title="Layer freezing (top layers only)", family="selective", peft_type="LORA",
        paper="shi2023telly",
        defaults={**SCHEDULE, "learning_rate": 5e-5, "trained_layers": 4},
        learning_rates={"decoder-only": 2e-5},
        dimensions=(
            learning_rate(5e-6, 3e-4, "lu2021codexglue-007", "trl2026docs-005"),
            Dimension(
                name="trained_layers", kind="int", low=1, high=12, evidence=("shi2023telly-003", "shi2023telly-025")
            ),
        ),
        works_quantized=False, model_types=FAMILIES_WITH_PLACES,
    )  # fmt: skip


def _shira() -> Method:
    """Single entries of each weight, at random places; 3e-4 (peft2026comparison-021)."""
    return Method(
        slug="shira", title="SHiRA", family="selective", peft_type="SHIRA", paper=None,
        defaults={**SCHEDULE, "learning_rate": 3e-4, "r": 32, "random_seed": 42, "target_modules": "auto"},
        dimensions=(around(3e-4, "peft2026comparison-021"), choice("r", (8, 16, 32, 64))),
        works_quantized=False, not_model_types=CONV1D_MODEL_TYPES, on_request=True,
        basis="shira/llama-3.2-3B-lr_0.0003-random_seed_42",
    )  # fmt: skip


def _supertuning() -> Method:
    """The largest entries of each weight (https://arxiv.org/abs/2607.09287); PEFT's default trains one in a hundred.

    1e-4 in PEFT's runs: an accuracy of 0.44 with a sparsity of 0.974 and of 0.39 with 0.9935
    (https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA/results); 3e-4 in its run on images.
    """
    return Method(
        slug="supertuning", title="Super-Tuning", family="selective", peft_type="SUPERTUNING", paper=None,
        defaults={**SCHEDULE, "learning_rate": 1e-4, "sparsity": 0.99, "target_modules": "auto"},
        dimensions=(around(1e-4), choice("sparsity", (0.95, 0.974, 0.99))),
        works_quantized=False, not_model_types=CONV1D_MODEL_TYPES, on_request=True,
        basis="supertuning/llama-3.2-3B-s974-topk, with PEFT's default of sparsity",
    )  # fmt: skip


def entries() -> tuple[Method, ...]:
    """Return the methods of this family."""
    return _ia3(), _bitfit(), _layernorm_tuning(), _layer_freezing(), _beft(), _shira(), _supertuning()
