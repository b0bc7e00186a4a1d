"""Soft prompts: methods that learn virtual tokens."""

from collections.abc import Mapping

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.method import SCHEDULE, Method, choice, learning_rate, virtual_tokens


def _soft_prompt(
    slug: str, title: str, peft_type: str, paper: str | None, defaults: Mapping[str, Scalar], *dimensions: Dimension
) -> Method:
    """Return a method that learns virtual tokens.

    With PEFT 0.21 and transformers 5 it fails on encoder-decoder models with a classification head: they
    refuse input embeddings, and PEFT finds no place for a prefix.
    """
    return Method(
        slug=slug, title=title, family="additive", peft_type=peft_type, paper=paper,
        defaults={**SCHEDULE, "num_epochs": 10, **defaults}, dimensions=dimensions, works_quantized=True,
        unsupported=(("encoder-decoder", "sequence-classification"),),
    )  # fmt: skip


def _prompt_tuning() -> Method:
    """Rates from 3e-3 (weyssow2023peft-003) over 1e-2 to 3e-2 (trl2026docs-008) to 0.3 on T5 (lester2021prompt-001).

    Evidence that trains the base model as well (wang2022nomore) does not count for this method.
    """
    return _soft_prompt(
        "prompt-tuning", "Prompt tuning", "PROMPT_TUNING", "lester2021prompt",
        {"learning_rate": 1e-2, "num_virtual_tokens": 20},
        learning_rate(1e-3, 0.3, "weyssow2023peft-003", "trl2026docs-008", "liu2022tfew-008"),
        virtual_tokens(8, 100, "trl2026docs-009", "weyssow2023peft-003", "liu2022tfew-008"),
    )  # fmt: skip


def _prefix_tuning() -> Method:
    """Without re-parameterisation 5e-3 (peft2026comparison-016) to 3e-2 (weyssow2023peft-004).

    On encoder-decoder models PEFT's prefix reaches the decoder only (peft2026docs-012).
    """
    return _soft_prompt(
        "prefix-tuning", "Prefix tuning", "PREFIX_TUNING", "li2021prefix",
        {"learning_rate": 5e-3, "num_virtual_tokens": 20, "prefix_projection": False},
        learning_rate(1e-4, 3e-2, "chen2023passtuning-001", "peft2026comparison-016", "weyssow2023peft-004"),
        virtual_tokens(10, 100, "weyssow2023peft-004", "li2024apr-101"),
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
        learning_rate(1e-4, 1e-2, "li2024apr-100", "zhuo2024astraios-003", "trl2026docs-008"),
        virtual_tokens(10, 100, "zhuo2024astraios-003", "li2024apr-100"),
    )  # fmt: skip


def _llama_adapter() -> Method:
    """5e-3 where PEFT's comparison tried it, 5e-4 worse (peft2026comparison-019, -018), with 100 tokens in all.

    PEFT does not save a classification head with it.
    """
    return Method(
        slug="llama-adapter", title="LLaMA-Adapter", family="additive", peft_type="ADAPTION_PROMPT",
        paper=None, defaults={**SCHEDULE, "num_epochs": 10, "learning_rate": 5e-3, "adapter_len": 100},
        dimensions=(
            learning_rate(5e-4, 5e-2, "peft2026comparison-018", "peft2026comparison-019"),
            choice("adapter_len", (10, 30, 100)),
        ),
        works_quantized=False, architectures=("decoder-only",), heads=("causal-lm",),
        model_types=frozenset({"llama", "mistral"}), on_request=True, basis="adaptionprompt/llama-3.2-3B-lr_5e-3",
    )  # fmt: skip


def entries() -> tuple[Method, ...]:
    """Return the methods of this family."""
    return _prompt_tuning(), _prefix_tuning(), _p_tuning(), _llama_adapter()
