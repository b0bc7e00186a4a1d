"""The review's 18 methods (haque2025slr) and how a user of this project gets each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from advisor.catalog.dimensions import Scalar

# How adapters that were trained before come in: below a new one, or side by side.
Composition = Literal["stack", "fusion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewMethod:
    """One row of the table.

    Attributes:
        review: The review's name; `knowledge/taxonomy.json` has the same.
        method: What `tune --method` is given; None where options for trained adapters stand in its place, or where the
            method is not offered.
        composition: Whether it is made of trained adapters, and how.
        is_below: It is what others stand on, so it is trained on data of its own.
        hyperparameters: What is not the catalogue's default, and why in `note`.
        note: What a reader must know, for people.
    """

    review: str
    method: str | None = None
    composition: Composition | None = None
    is_below: bool = False
    hyperparameters: Mapping[str, Scalar] = field(default_factory=dict)
    note: str = ""

    @property
    def is_offered(self) -> bool:
        """Can a user have it?"""
        return self.method is not None or self.composition is not None

    @property
    def options(self) -> str:
        """The options of `tune` that lead to it; empty for what is not offered."""
        if self.composition is not None:
            return {"stack": "--on-adapter DIR", "fusion": "--fuse DIR --fuse DIR"}[self.composition]
        if self.method is None:
            return ""
        return f"--train OTHER-DATA --method {self.method}" if self.is_below else f"--method {self.method}"


METHODS: tuple[ReviewMethod, ...] = (
    ReviewMethod(review="Base LoRA", method="lora"),
    ReviewMethod(
        review="QLoRA", method="qlora",
        note="the same as `--method lora --quantization 4bit`; `tune` asks for a CUDA device, see below",
    ),
    ReviewMethod(review="AdaLoRA", method="adalora"),
    ReviewMethod(review="FF-LoRA", method="ff-lora"),
    ReviewMethod(review="FF-LoRA + AT", method="ff-lora-adapter"),
    ReviewMethod(
        review="Base Adapter", method="adapter-houlsby", note="`adapter-pfeiffer` and `adapter-parallel` are two more"
    ),
    ReviewMethod(
        review="L-Adapter", method="adapter-pfeiffer", is_below=True,
        note="any bottleneck adapter that was trained on other data before and is then built on; there is no training "
        "on plain code without answers",
    ),
    ReviewMethod(
        review="T-Adapter", method="adapter-pfeiffer", note="alone, a task adapter is a Pfeiffer adapter as any other"
    ),
    ReviewMethod(
        review="L-Adapter + T-Adapter", composition="stack", note="DIR is the L-Adapter's folder or that of its study"
    ),
    ReviewMethod(
        review="L-Adapter + NER-Adapter + AdapterFusion", composition="fusion",
        note="no task here is named-entity recognition: an adapter of another task stands in its place",
    ),
    ReviewMethod(review="Prompt Tuning", method="prompt-tuning"),
    ReviewMethod(review="Prefix Tuning", method="prefix-tuning"),
    ReviewMethod(review="P-Tuning", method="p-tuning"),
    ReviewMethod(
        review="BitFit", method="bitfit",
        note="Llama models have no biases: for the decoder its weights are stored as a Qwen2 model, whose query, key "
        "and value projections have some (zero at first)",
    ),
    ReviewMethod(
        review="Telly-K", method="layer-freezing", hyperparameters={"trained_layers": 2},
        note="2 trained layers: the default of 4 is all of the encoder's",
    ),
    ReviewMethod(review="MAM", method="mam"),
    ReviewMethod(review="(IA)3", method="ia3"),
    ReviewMethod(review="Pass-Tuning"),
)  # fmt: skip
