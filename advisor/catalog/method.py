"""What the catalogue says of one PEFT method, and the parts that its entries are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.catalog.tasks import Head
from advisor.spec import Architecture

Family = Literal["additive", "selective", "reparameterized", "hybrid", "full"]

ARCHITECTURES: tuple[Architecture, ...] = ("encoder-only", "encoder-decoder", "decoder-only")
HEADS: tuple[Head, ...] = ("sequence-classification", "causal-lm", "seq2seq-lm")

# Types that `advisor.modeling.tuners` adds to PEFT's.
OWN_PEFT_TYPES = frozenset({
    "BOTTLENECK", "COMPACTER", "BITFIT", "MAM", "FF_LORA_ADAPTER", "ADAPTER_FUSION", "ADAPTER_STACK",
})  # fmt: skip

# Linear decay after a 5 % warm-up: weyssow2023peft-001, -005. Weight decay 0.01 is AdamW's default in PyTorch.
SCHEDULE: Mapping[str, Scalar] = {
    "num_epochs": 5, "weight_decay": 0.01, "warmup_ratio": 0.05, "lr_scheduler_type": "linear",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to fine-tune.

    Attributes:
        slug: Name used everywhere.
        title: Name for people.
        family: As in the review by Haque et al. (haque2025slr).
        peft_type: Value of PEFT's `PeftType`, those that `advisor.modeling.tuners` adds among them; None for full
            fine-tuning.
        paper: Key in `knowledge/papers.jsonl`, None when the paper is not among them.
        architectures: Base models it works on.
        heads: Task heads it works with.
        unsupported: Pairs of architecture and head that fail all the same.
        defaults: Hyperparameters of a candidate without evidence of its own.
        learning_rates: Better default of `learning_rate` for an architecture.
        dimensions: What the search varies, and its widest sensible range.
        works_quantized: Whether it was trained on a 4-bit or 8-bit base: PEFT documents it, or
            `studies/quantized_methods` tried it.
        model_types: transformers' model types it works on without a list of modules; None for all.
        not_model_types: transformers' model types it does not work on, found by trying.
        on_request: It is built when it is asked for by name, but neither ranked nor searched unasked: no row of the
            evidence has it on a task with code, or its memory is not known from dry runs.
        basis: What the numbers of a method rest on that no row of the evidence has, for people.
        least_adapters: Trained adapters that it is made of at least; see `catalog.trained_adapters`. Whoever asks for
            it names them, so it is always `on_request`.
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
    not_model_types: frozenset[str] = frozenset()
    on_request: bool = False
    basis: str = ""
    least_adapters: int = 0

    def __post_init__(self) -> None:
        if self.least_adapters and not self.on_request:
            raise ValueError(f"{self.slug}: nobody can be recommended a method unasked that needs trained adapters")

    def supports(self, architecture: Architecture, head: Head) -> bool:
        """Can a base model of this architecture be tuned so under this head?"""
        return (
            architecture in self.architectures and head in self.heads and (architecture, head) not in self.unsupported
        )

    def works_on(self, model_type: str) -> bool:
        """Can a base model of this type of transformers' be tuned so?"""
        known = self.model_types is None or model_type in self.model_types
        return known and model_type not in self.not_model_types

    def hyperparameters(self, architecture: Architecture | None = None) -> dict[str, Scalar]:
        """Return the defaults, with the learning rate of the architecture where there is one."""
        values = dict(self.defaults)
        if architecture is not None and architecture in self.learning_rates:
            values["learning_rate"] = self.learning_rates[architecture]
        return values


def learning_rate(low: float, high: float, *evidence: str) -> Dimension:
    """Return a range of learning rates, searched in the logarithm."""
    return Dimension(name="learning_rate", kind="float", low=low, high=high, log=True, evidence=evidence)


def around(rate: float, *evidence: str) -> Dimension:
    """Return the range around the one rate that is published: a factor of ten to both sides."""
    return learning_rate(float(f"{rate / 10:.1g}"), float(f"{rate * 10:.1g}"), *evidence)


def choice(name: str, choices: tuple[Scalar, ...], *evidence: str) -> Dimension:
    """Return a hyperparameter with a few values to choose from."""
    return Dimension(name=name, kind="categorical", choices=choices, evidence=evidence)


def virtual_tokens(low: int, high: int, *evidence: str, name: str = "num_virtual_tokens") -> Dimension:
    """Return a number of virtual tokens, searched in the logarithm."""
    return Dimension(name=name, kind="int", low=low, high=high, log=True, evidence=evidence)
