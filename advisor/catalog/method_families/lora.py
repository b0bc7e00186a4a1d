"""LoRA, its variants, and AdaLoRA.

Left out of LoRA's own variants: those that need data before training (EVA, CorDA, LoRA-GA), see `not_offered`.
"""

from collections.abc import Mapping
from dataclasses import replace

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.method import SCHEDULE, Method, choice, learning_rate
from advisor.catalog.places import CONV1D_MODEL_TYPES, FAMILIES_WITH_PLACES


def rank_of(choices: tuple[int, ...], *evidence: str) -> Dimension:
    """Return the ranks to choose from."""
    return choice("r", choices, *evidence)


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
_LORA_RANK = rank_of((4, 8, 16, 32, 64), "liu2022tfew-002", "trl2026docs-010", "tinker2026cookbook-004")
# 1 is plain LoRA. The authors' runs have 20 (RoBERTa on MNLI, and their example), their rule of thumb is 16 (Hayou et
# al. 2024, https://arxiv.org/abs/2402.12354), more for harder tasks.
_LORAPLUS_RATIO = Dimension(
    name="loraplus_lr_ratio", kind="float", low=2.0, high=32.0, log=True, evidence=("hayou2024loraplus-001",)
)


def _lora(
    slug: str, title: str, paper: str | None, extra: Mapping[str, Scalar], rank: Dimension, *evidence: str
) -> Method:
    """Return a member of the LoRA family.

    Learning rates: encoders 2e-4 to 5e-4 (hu2021lora-001 to -016), small encoder-decoders 5e-4 (liu2024codechange-002)
    to 3e-3 (esmaeili2024r-127), decoders 5e-5 (mftcoder2024-004) to 5e-4 (silva2023repairllama-037), 2e-4 in the
    middle (dettmers2023qlora-001, biderman2024lora-006, trl2026docs-005).
    """
    return Method(
        slug=slug, title=title, family="reparameterized", peft_type="LORA", paper=paper,
        defaults={
            "learning_rate": 3e-4, "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "use_rslora": False,
            "use_dora": False, "target_modules": "all-linear", **SCHEDULE, **extra,
        },
        learning_rates={"encoder-only": 4e-4, "encoder-decoder": 5e-4, "decoder-only": 2e-4},
        dimensions=(
            learning_rate(
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
    rate = learning_rate(2e-5, 1.5e-3, "hayou2024loraplus-001", "hayou2024loraplus-002")
    others = [dimension for dimension in plain.dimensions if dimension.name != "learning_rate"]
    return replace(
        plain,
        defaults={**plain.defaults, "learning_rate": 1.5e-4},
        learning_rates={"encoder-only": 2e-4, "encoder-decoder": 2.5e-4, "decoder-only": 1e-4},
        dimensions=(rate, _LORAPLUS_RATIO, *others),
    )


def _started(slug: str, title: str, start: str, about: str) -> Method:
    """Return LoRA that starts from a part of the base weights, which the base model loses.

    PiSSA (Meng et al. 2024, https://arxiv.org/abs/2404.02948) starts from the largest singular values, OLoRA
    (Büyükakyüz 2024, https://arxiv.org/abs/2406.01775) from a QR decomposition. Rates and ranks are LoRA's;
    lora_alpha = r, so that adapter and what is left of the weights add up to the base model.
    """
    extra: dict[str, Scalar] = {"init_lora_weights": start, "r": 16, "lora_alpha": 16, "lora_dropout": 0.0}
    plain = _lora(slug, title, None, extra, _LORA_RANK)
    kept = tuple(one for one in plain.dimensions if one.name != "lora_dropout")
    # A quantized weight cannot be replaced by what is left of it.
    return replace(plain, works_quantized=False, on_request=True, basis=about, dimensions=kept)


def _ff_lora() -> Method:
    """LoRA on the linear layers of the feed-forward sublayers only ("FF-LoRA" in haque2025slr); numbers are LoRA's."""
    plain = _lora("ff-lora", "Feed-forward LoRA", None, {}, _LORA_RANK)
    defaults = {name: value for name, value in plain.defaults.items() if name != "target_modules"}
    kept = tuple(one for one in plain.dimensions if one.name != "target_modules")
    return replace(
        plain, defaults=defaults, dimensions=kept, model_types=FAMILIES_WITH_PLACES, on_request=True,
        basis="LoRA's ranges",
    )  # fmt: skip


def _adalora() -> Method:
    """Rates 5e-4 to 2.2e-3 (zhang2023adalora-004, -008), 8e-4 on code (li2026jitcu-002).

    Ranks: the authors begin at one and a half times the target (zhang2023adalora-001), which is what PEFT's 12 and 8
    are, and alpha is 16 or 32 (zhang2023adalora-002, galliamov2024refining-003). When the ranks shrink follows from the
    length of training (`training.rank_allocation`).
    """
    return Method(
        slug="adalora", title="AdaLoRA", family="reparameterized", peft_type="ADALORA", paper="zhang2023adalora",
        defaults={
            **SCHEDULE, "learning_rate": 8e-4, "init_r": 12, "target_r": 8, "lora_alpha": 32, "lora_dropout": 0.0,
            "target_modules": "all-linear",
        },
        dimensions=(
            learning_rate(1e-4, 3e-3, "peft2026comparison-007", "li2026jitcu-002", "zhang2023adalora-008"),
            choice("init_r", (3, 6, 12, 24, 48), "zhang2023adalora-001", "li2026jitcu-002"),
            choice("target_modules", ("all-linear", "auto"), "biderman2024lora-005"),
        ),
        works_quantized=True,
    )  # fmt: skip


def entries() -> tuple[Method, ...]:
    """Return the methods of this family."""
    return (
        _lora("lora", "LoRA", "hu2021lora", {}, _LORA_RANK),
        _lora_plus(),
        _lora(
            "rslora", "rsLoRA", "kalajdzievski2023rslora", {"use_rslora": True, "r": 32, "lora_alpha": 16},
            rank_of((16, 32, 64, 128), "kalajdzievski2023rslora-001", "peft2026comparison-004"),
            "peft2026comparison-004",
        ),
        _lora(
            "dora", "DoRA", "liu2024dora", {"use_dora": True},
            rank_of((4, 8, 16, 32), "liu2024dora-019"), "liu2024dora-018",
        ),
        _adalora(),
        _ff_lora(),
        _started("pissa", "PiSSA", "pissa", "LoRA's ranges; lora_alpha = r"),
        replace(
            _started("olora", "OLoRA", "olora", "LoRA's ranges; lora_alpha = r"), not_model_types=CONV1D_MODEL_TYPES
        ),
    )  # fmt: skip
