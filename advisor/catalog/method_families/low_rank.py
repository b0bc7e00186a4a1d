"""Further low-rank changes of weights that PEFT has, none of them with a row of the evidence on a task with code.

`basis` names the run of PEFT's own comparison (Llama-3.2-3B on MetaMathQA, `knowledge/peft_method_comparison.csv`
where the run is in it, else https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA/results) that
rate and sizes come from. One published rate is all there is for most, so the range is a factor of ten to both sides
(`around`).
"""

from collections.abc import Mapping

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.method import SCHEDULE, Family, Method, around, choice, learning_rate
from advisor.catalog.places import CONV1D_MODEL_TYPES
from advisor.spec import Architecture

_RANKS = (4, 8, 16, 32, 64)


def requested(
    slug: str,
    title: str,
    peft_type: str,
    basis: str,
    defaults: Mapping[str, Scalar],
    *dimensions: Dimension,
    family: Family = "reparameterized",
    works_quantized: bool = False,
    not_model_types: frozenset[str] = frozenset(),
    learning_rates: Mapping[Architecture, float] | None = None,
) -> Method:
    """Return a method of PEFT on its own choice of modules, built when asked for by name."""
    return Method(
        slug=slug, title=title, family=family, peft_type=peft_type, paper=None,
        defaults={**SCHEDULE, "target_modules": "auto", **defaults}, dimensions=dimensions,
        works_quantized=works_quantized, not_model_types=not_model_types, on_request=True, basis=basis,
        learning_rates=learning_rates or {},
    )  # fmt: skip


def entries() -> tuple[Method, ...]:
    """Return the methods of this family.

    Rates without a row of the evidence: LoHa, LoKr, PVeRA, GraLoRA, AdaMSS, GLoRA, PEANuT and DEFT from their runs;
    HiRA, Uni-LoRA, RandLoRA and TinyLoRA from theirs, which the file does not have. RandLoRA reached an accuracy of
    0.52 at 1e-4; its authors train RoBERTa and decoders of 0.5B to 8B with 1e-4 and GPT-2 with 2e-4
    (https://github.com/PaulAlbert31/RandLoRA: GLUE/train_all.sh, commonsense_reasoning/base_randlora.sh,
    NLG/train.sh). TinyLoRA learned next to nothing at 1e-3 (0.01, and less with tied weights), but no other rate of
    supervised training was found; its paper (https://arxiv.org/abs/2602.04118) is on reinforcement learning. Rates of
    VB-LoRA are 1e-3 for its bank and 1e-2 for its logits (peft2026docs-008); one rate serves both here.
    """
    return (
        requested(
            "loha", "LoHa", "LOHA", "loha/llama-3.2-3B-rank32", {"learning_rate": 1e-4, "r": 32, "alpha": 64},
            around(1e-4), choice("r", _RANKS), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "lokr", "LoKr", "LOKR", "lokr/llama-3.2-3B-rank32-factor4-lr0.003",
            {"learning_rate": 3e-3, "r": 32, "alpha": 64, "decompose_factor": 4}, around(3e-3), choice("r", _RANKS),
            not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "vera", "VeRA", "VERA", "vera/llama-3.2-3B-default", {"learning_rate": 1e-3, "r": 256},
            around(1e-3, "peft2026comparison-024"), choice("r", (64, 128, 256, 512)),
        ),
        requested(
            "pvera", "PVeRA", "PVERA", "pvera/llama-3.2-3B-default", {"learning_rate": 3e-3, "r": 256}, around(3e-3),
            choice("r", (64, 128, 256, 512)), works_quantized=True,
        ),
        requested(
            "randlora", "RandLoRA", "RANDLORA", "randlora/llama-3.2-3B-default, and its authors' scripts",
            {"learning_rate": 1e-4, "r": 32, "randlora_alpha": 640}, around(1e-4), choice("r", (8, 16, 32, 64)),
            works_quantized=True,
        ),
        requested(
            "hira", "HiRA", "HIRA", "hira/llama-3.2-3B-rank32-lr4.5e-3", {"learning_rate": 4.5e-3, "r": 32},
            around(4.5e-3), choice("r", _RANKS), works_quantized=True,
        ),
        requested(
            "delora", "DeLoRA", "DELORA", "delora/llama-3.2-3B-rank32",
            {"learning_rate": 1e-3, "r": 32, "delora_lambda": 15}, learning_rate(3e-4, 1e-2, "peft2026docs-006"),
            choice("r", _RANKS), choice("delora_lambda", (4, 15, 60)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "gralora", "GraLoRA", "GRALORA", "gralora/llama-3.2-3B-rank32",
            {"learning_rate": 2e-4, "r": 32, "alpha": 64, "gralora_k": 2}, around(2e-4), choice("r", _RANKS),
        ),
        requested(
            "vblora", "VB-LoRA", "VBLORA", "vblora/llama-3.2-3B-default, vectors of half the length for narrow layers",
            {"learning_rate": 1e-3, "r": 4, "num_vectors": 256, "vector_length": 128, "topk": 2},
            learning_rate(1e-4, 1e-2, "peft2026docs-008"), choice("r", (2, 4, 8)),
        ),
        requested(
            "unilora", "Uni-LoRA", "UNILORA", "unilora/llama-3.2-3B-r4-td131072-lr0.002",
            {"learning_rate": 2e-3, "r": 4, "theta_d_length": 16384}, around(2e-3),
            choice("theta_d_length", (256, 4096, 16384, 131072)),
        ),
        requested(
            "tinylora", "TinyLoRA", "TINYLORA", "tinylora/llama-3.2-3B-default, which learned next to nothing",
            {"learning_rate": 1e-3, "r": 2, "u": 64}, around(1e-3), choice("u", (16, 64, 256)),
        ),
        requested(
            "lily", "Lily", "LILY", "PEFT's default", {"learning_rate": 1e-4, "r": 32, "num_B": 2, "stride_A": 1},
            around(1e-4, "peft2026comparison-023"), choice("r", (8, 16, 32, 64)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "adamss", "AdaMSS", "ADAMSS", "adamss/llama-3.2-3B-rank32",
            {"learning_rate": 1e-4, "r": 100, "num_subspaces": 32, "subspace_rank": 1}, around(1e-4),
            choice("num_subspaces", (5, 10, 32)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "glora", "GLoRA", "GLORA", "glora/llama-3.2-3B-vector-paths",
            {"learning_rate": 5e-4, "r": 8, "config_A_B": "vector", "config_C": "vector", "config_D_E": "constant"},
            around(5e-4), choice("config_A_B", ("lora", "vector")), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "peanut", "PEANuT", "PEANUT", "peanut/llama-3.2-3B-rank32-relu-depth2-s2.0",
            {"learning_rate": 1e-4, "r": 32, "depth": 2, "scaling": 2.0}, around(1e-4), choice("r", _RANKS),
            choice("depth", (0, 2)), not_model_types=CONV1D_MODEL_TYPES,
        ),
        requested(
            "deft", "DEFT", "DEFT", "deft/llama-3.2-3B-rank32-para",
            {"learning_rate": 1e-4, "r": 32, "decomposition_method": "qr", "para": True}, around(1e-4),
            choice("r", _RANKS),
        ),
    )  # fmt: skip
