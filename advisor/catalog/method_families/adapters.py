"""Bottleneck adapters and methods that contain them; their tuners are those of `advisor.modeling.tuners`."""

from collections.abc import Mapping
from dataclasses import replace

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.method import SCHEDULE, Family, Method, around, choice, learning_rate, virtual_tokens
from advisor.catalog.places import FAMILIES_WITH_PLACES, WITHOUT_ATTENTION_REGISTRY

_REDUCTIONS = (2, 4, 8, 16, 32, 64)
# Of what is made of trained adapters: where these are. The usual place until they are named.
_PLACED: Mapping[str, Scalar] = {"placement": "pfeiffer", "cross_adapter": False}


def _adapter(
    slug: str,
    title: str,
    defaults: Mapping[str, Scalar],
    *dimensions: Dimension,
    peft_type: str = "BOTTLENECK",
    family: Family = "additive",
    learning_rates: Mapping[str, float] | None = None,
) -> Method:
    """Return a method whose adapters go where the family of the model type says.

    On quantized base models they stand beside the packed weights and do not read them (studies/quantized_methods).
    """
    return Method(
        slug=slug, title=title, family=family, peft_type=peft_type, paper=None, defaults={**SCHEDULE, **defaults},
        dimensions=dimensions, works_quantized=True, model_types=FAMILIES_WITH_PLACES,
        learning_rates=learning_rates or {},  # type: ignore[arg-type]  # the keys are architectures
    )  # fmt: skip


def _houlsby() -> Method:
    """5e-5 on code (wang2023oneadapter-015), 1e-4 (zhuo2024astraios-004), 3e-4 (hu2021lora-017), 3e-3
    (liu2022tfew-007).

    Bottlenecks of 8 (hu2021lora-017) to 256 features (zhuo2024astraios-004), 1/32 of the hidden size
    (liu2022tfew-007); 1/16 is the default of the AdapterHub library.
    """
    return _adapter(
        "adapter-houlsby", "Houlsby adapter", {"learning_rate": 3e-4, "num_epochs": 10, "reduction_factor": 16},
        learning_rate(
            5e-5, 3e-3, "wang2023oneadapter-015", "hu2021lora-017", "zhuo2024astraios-004", "liu2022tfew-007"
        ),
        choice("reduction_factor", _REDUCTIONS, "hu2021lora-017", "liu2022tfew-007", "zhuo2024astraios-004"),
    )  # fmt: skip


def _pfeiffer() -> Method:
    """1e-4 (adapterhub2026docs-001, goel2022crossmodal-017) to 5e-4 (goel2022crossmodal-015); 16 features at least
    (hu2021lora-018)."""
    return _adapter(
        "adapter-pfeiffer", "Pfeiffer adapter", {"learning_rate": 3e-4, "num_epochs": 10, "reduction_factor": 16},
        learning_rate(5e-5, 3e-3, "goel2022crossmodal-015", "goel2022crossmodal-017", "hu2021lora-018"),
        choice("reduction_factor", _REDUCTIONS, "hu2021lora-018", "zhuo2024astraios-005"),
    )  # fmt: skip


def _parallel() -> Method:
    """5e-5 with 16 features and scaling 2 (liu2023empirical-010), 1e-4 with 256 (zhuo2024astraios-006).

    Scaling 4, half the hidden size and the start at zero are those of He et al. 2022
    (https://arxiv.org/abs/2110.04366) in the AdapterHub library.
    """
    return _adapter(
        "adapter-parallel", "Parallel adapter",
        {
            "learning_rate": 2e-4, "num_epochs": 10, "reduction_factor": 2, "scaling": 4.0, "non_linearity": "relu",
            "init_weights": "zero-up",
        },
        learning_rate(5e-5, 1e-3, "liu2023empirical-010", "zhuo2024astraios-006"),
        choice("reduction_factor", _REDUCTIONS, "liu2023empirical-010", "zhuo2024astraios-006"),
        choice("scaling", (1.0, 2.0, 4.0), "liu2023empirical-010"),
    )  # fmt: skip


def _compacter() -> Method:
    """2e-4 on CodeLlama (esmaeili2024r-001), 3e-3 on CodeT5 (esmaeili2024r-005) and T0 (liu2022tfew-006).

    n = 4 and rank 1 (esmaeili2024r-001), 1/32 of the hidden size (liu2022tfew-006).
    """
    return _adapter(
        "compacter", "Compacter",
        {"learning_rate": 1e-3, "num_epochs": 10, "reduction_factor": 32, "phm_dim": 4, "phm_rank": 1},
        learning_rate(1e-4, 1e-2, "esmaeili2024r-001", "esmaeili2024r-005", "liu2022tfew-006"),
        choice("reduction_factor", (8, 16, 32), "liu2022tfew-006"),
        peft_type="COMPACTER", learning_rates={"encoder-decoder": 3e-3, "decoder-only": 2e-4},
    )  # fmt: skip


def _mam() -> Method:
    """5e-5 with prefixes of 16 tokens (liu2023empirical-012); the rest is the AdapterHub library's."""
    plain = _adapter(
        "mam", "Mix-and-match adapter (MAM)",
        {
            "learning_rate": 1e-4, "num_epochs": 10, "reduction_factor": 2, "num_prefix_tokens": 30,
            "prefix_hidden_size": 800,
        },
        learning_rate(2e-5, 1e-3, "liu2023empirical-012"),
        choice("reduction_factor", _REDUCTIONS, "liu2023empirical-012"),
        virtual_tokens(8, 100, "liu2023empirical-012", name="num_prefix_tokens"),
        peft_type="MAM", family="hybrid",
    )  # fmt: skip
    return replace(plain, model_types=FAMILIES_WITH_PLACES - WITHOUT_ATTENTION_REGISTRY)


def _ff_lora_adapter() -> Method:
    """LoRA in the feed-forward sublayers with Houlsby adapters after attention ("FF-LoRA + AT" in haque2025slr).

    No row of the evidence has it; ranges are those of the two.
    """
    plain = _adapter(
        "ff-lora-adapter", "Feed-forward LoRA, adapters",
        {
            "learning_rate": 3e-4, "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "reduction_factor": 16,
        },
        learning_rate(5e-5, 3e-3, "hu2021lora-001", "hu2021lora-017", "wang2023oneadapter-015"),
        choice("r", (4, 8, 16, 32, 64), "liu2022tfew-002", "trl2026docs-010"),
        choice("reduction_factor", _REDUCTIONS, "hu2021lora-017", "liu2022tfew-007"),
        peft_type="FF_LORA_ADAPTER", family="hybrid",
    )  # fmt: skip
    return replace(plain, on_request=True, basis="LoRA's and Houlsby adapters' ranges")


def _stack() -> Method:
    """A task adapter on frozen language adapters (MAD-X, https://arxiv.org/abs/2005.00052).

    On code goel2022crossmodal has them: 5e-4 instead of 2e-5 for the task adapter (goel2022crossmodal-015) over 15
    epochs (-016), 1e-4 for the language adapter below it (-017). The bottleneck has the sizes of Pfeiffer adapters.
    Neither stacks nor fusions were tried on a quantized base model.
    """
    plain = _adapter(
        "adapter-stack", "Stacked adapters (MAD-X)",
        {"learning_rate": 5e-4, "num_epochs": 15, "reduction_factor": 16, **_PLACED},
        learning_rate(5e-5, 3e-3, "goel2022crossmodal-015", "goel2022crossmodal-017"),
        choice("reduction_factor", _REDUCTIONS, "hu2021lora-018", "zhuo2024astraios-005"),
        peft_type="ADAPTER_STACK",
    )  # fmt: skip
    return replace(plain, on_request=True, least_adapters=1, works_quantized=False)


def _fusion() -> Method:
    """No row has a rate of AdapterFusion's own: 5e-5 over 10 epochs is the example of the AdapterHub library.

    It stands in docs/training.md of adapter-hub/adapters, "Train AdapterFusion". The paper is
    https://arxiv.org/abs/2005.00247; the rows on code (saberi2025advfusion-001 to -004) are about AdvFusion.
    """
    plain = _adapter(
        "adapter-fusion", "AdapterFusion", {"learning_rate": 5e-5, "num_epochs": 10, **_PLACED},
        around(5e-5), peft_type="ADAPTER_FUSION",
    )  # fmt: skip
    basis = "the AdapterHub library's example of AdapterFusion"
    return replace(plain, on_request=True, least_adapters=2, works_quantized=False, basis=basis)


def entries() -> tuple[Method, ...]:
    """Return the methods of this family."""
    return _houlsby(), _pfeiffer(), _parallel(), _compacter(), _mam(), _ff_lora_adapter(), _stack(), _fusion()
