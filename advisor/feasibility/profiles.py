"""Stored profiles: what dry runs of the catalogue's models said, as closed forms, so that advice only multiplies.

For one base model, method, precision, storage and way of checkpointing, the bytes alive at any moment of a training
step are a polynomial in the examples at once (b), their length (s, of the source), the length of the target (t) and
one hyperparameter of the method (p: the rank, or the number of virtual tokens). Which moment is the peak changes with
them; a profile holds the few moments that are the peak somewhere, and the largest of their polynomials is the answer.

The profiles are made by `studies/step_profiles/run.py` from dry runs of the step that `tune` runs: autocast in 16
bits, fused AdamW, outputs not held. Against fresh dry runs they are within 1 % (tests/dryrun/test_profile.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from advisor.catalog.files import read_lines
from advisor.catalog.methods import METHODS
from advisor.catalog.shapes import Shape
from advisor.catalog.tasks import Head
from advisor.errors import DataError, printable
from advisor.feasibility.adapter_sizes import bottleneck_size, hypercomplex_size, whole_number
from advisor.records import from_plain, to_plain
from advisor.spec import Precision, Quantization

FILE_NAME = "step_profiles.jsonl"
# Value of each monomial's coefficient; those that are not there are zero.
Coefficients = Mapping[str, float]

# Hyperparameter that a method's memory depends on. Bytes are linear in the inner size of a bottleneck adapter, the
# hidden size over `reduction_factor`, so that is what stands for it in a profile.
SIZE_OF: dict[str, str] = {
    "lora": "r", "lora-plus": "r", "rslora": "r", "dora": "r", "adalora": "init_r",
    "prompt-tuning": "num_virtual_tokens", "prefix-tuning": "num_virtual_tokens", "p-tuning": "num_virtual_tokens",
    "adapter-houlsby": "reduction_factor", "adapter-pfeiffer": "reduction_factor",
    "adapter-parallel": "reduction_factor", "compacter": "reduction_factor", "mam": "reduction_factor",
}  # fmt: skip
# Hyperparameters that memory depends on as well, and that a profile has one value of: the default.
FIXED: Mapping[str, tuple[str, ...]] = {
    "adapter-houlsby": ("cross_adapter",), "bitfit": ("parts",), "compacter": ("phm_dim", "phm_rank"),
    "layer-freezing": ("trained_layers",), "mam": ("num_prefix_tokens", "prefix_hidden_size"),
    "prefix-tuning": ("prefix_projection",),
}  # fmt: skip
# Same tensors under another scale, or with other learning rates.
SAME_STEP_AS = {"lora-plus": "lora", "rslora": "lora"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where to evaluate a profile.

    Attributes:
        batch_size: Examples at once.
        source_tokens: Their length.
        target_tokens: Length of the target of an encoder-decoder model.
        size: Value of the method's hyperparameter in `SIZE_OF` (of a bottleneck its inner size), 0 without one.
    """

    batch_size: int
    source_tokens: int
    target_tokens: int = 0
    size: int = 0

    def evaluate(self, coefficients: Coefficients) -> float:
        """Return the value of a closed form here."""
        return sum(coefficient * self.value(term) for term, coefficient in coefficients.items())

    def value(self, term: str) -> float:
        """Return one monomial, such as "bss" for batch times length squared."""
        values = {"b": self.batch_size, "s": self.source_tokens, "t": self.target_tokens, "p": self.size, "1": 1}
        product = 1.0
        for letter in term:
            product *= values[letter]
        return product


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment of the step that is the peak somewhere; coefficients by monomial.

    Attributes:
        alive: Bytes beyond weights, adapter and optimizer state.
        logits: Part of them at the head of a language model.
        gradients: Part of them that are gradients of this pass.
        workspace: Part of them that are temporaries.
    """

    alive: Coefficients
    logits: Coefficients
    gradients: Coefficients
    workspace: Coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """Closed forms of one kind of training step.

    Attributes:
        base_model: Hub id.
        head: Task head.
        method: Slug.
        precision: "bf16" (and fp16, whose bytes are the same) or "fp32".
        quantization: Storage of the frozen base.
        gradient_checkpointing: Layers are computed anew in the backward pass.
        weights: Bytes of the base model.
        adapter: Bytes of the adapter.
        gradients: Bytes of all gradients.
        optimizer: Bytes of the optimizer's state.
        trainable: Trained parameters.
        moments: Candidates for the peak.
        overhead: What the allocator reserves beyond the bytes asked for (rounding and fragmentation), as a share of
            the bytes beyond the weights; the largest of those seen.
        totals: Operations of a step, each per term.
    """

    base_model: str
    head: Head
    method: str
    precision: Precision
    quantization: Quantization | None
    gradient_checkpointing: bool
    weights: Coefficients
    adapter: Coefficients
    gradients: Coefficients
    optimizer: Coefficients
    trainable: Coefficients
    moments: tuple[Moment, ...]
    overhead: float
    totals: Mapping[str, Coefficients]

    def at(self, point: Point, accumulating: bool = False) -> "ProfiledStep":
        """Evaluate the closed forms.

        Args:
            point: Batch, lengths and size.
            accumulating: Gradients of an earlier pass exist when this one begins.
        """
        of = point.evaluate
        gradients = of(self.gradients)
        waiting = gradients if accumulating else 0.0
        best = max(self.moments, key=lambda one: of(one.alive) + max(0.0, waiting - of(one.gradients)))
        live_gradients = max(of(best.gradients), waiting)
        alive = of(best.alive) + live_gradients - of(best.gradients)
        return ProfiledStep(
            weights_bytes=int(of(self.weights)), adapter_bytes=int(of(self.adapter)),
            optimizer_bytes=int(of(self.optimizer)), gradients_bytes=int(live_gradients),
            logits_bytes=int(of(best.logits)), workspace_bytes=int(of(best.workspace)), alive_bytes=int(alive),
            overhead=self.overhead, trainable_params=round(of(self.trainable)),
            totals={name: of(coefficients) for name, coefficients in self.totals.items()},
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledStep:
    """A profile at one point; bytes, and totals as in `OperatorTotals`."""

    weights_bytes: int
    adapter_bytes: int
    optimizer_bytes: int
    gradients_bytes: int
    logits_bytes: int
    workspace_bytes: int
    alive_bytes: int
    overhead: float
    trainable_params: int
    totals: Mapping[str, float]

    @property
    def requested_bytes(self) -> int:
        """Peak of the bytes that tensors ask for."""
        return self.weights_bytes + self.adapter_bytes + self.optimizer_bytes + self.alive_bytes

    @property
    def overhead_bytes(self) -> int:
        """What the allocator is expected to hold beyond that."""
        return int(self.overhead * (self.requested_bytes - self.weights_bytes))


def size_at(method: str, hyperparameters: Mapping[str, object], shape: Shape) -> int:
    """Return the size that a method's profile is evaluated at, 0 for a method without one.

    Args:
        method: Slug, of a method that the catalogue has.
        hyperparameters: The method's; the catalogue's default where one is not there.
        shape: Of the base model.
    """
    name = SIZE_OF.get(method)
    if name is None:
        return 0
    default = METHODS[method].defaults.get(name, 0)
    assert isinstance(default, (int, float))
    if method == "compacter":
        return hypercomplex_size(hyperparameters, shape)
    if name == "reduction_factor":
        return bottleneck_size(hyperparameters, shape, float(default))
    return whole_number(hyperparameters, name, int(default))


def has_other_tensors(method: str, hyperparameters: Mapping[str, object]) -> bool:
    """Are these hyperparameters such that the method's profile is not about them?"""
    defaults = METHODS[method].defaults
    return any(
        (hyperparameters.get(name, defaults.get(name)) or None) != (defaults.get(name) or None)
        for name in ("target_modules", *FIXED.get(method, ()))
    )


def find_profile(
    base_model: str,
    head: Head,
    method: str,
    precision: Precision,
    quantization: Quantization | None,
    checkpointing: bool,
) -> StepProfile | None:
    """Return the stored profile, None where there is none.

    Raises:
        DataError: The file is damaged.
    """
    stored: Precision = "fp32" if precision == "fp32" else "bf16"
    return _parsed(key_of(base_model, head, SAME_STEP_AS.get(method, method), stored, quantization, checkpointing))


def key_of(
    base_model: str,
    head: Head,
    method: str,
    precision: Precision,
    quantization: Quantization | None,
    checkpointing: bool,
) -> str:
    """Return the key that a stored profile begins with."""
    return "|".join((base_model, head, method, precision, quantization or "", "checkpointing" if checkpointing else ""))


def line_of(profile: StepProfile) -> str:
    """Return a profile as a line of the file; its key comes first, so that a reader need not parse the rest."""
    key = key_of(
        profile.base_model,
        profile.head,
        profile.method,
        profile.precision,
        profile.quantization,
        profile.gradient_checkpointing,
    )
    return json.dumps({"key": key, **to_plain(profile)}, separators=(",", ":"))


@cache
def _parsed(key: str) -> StepProfile | None:
    line = _lines().get(key)
    if line is None:
        return None
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{FILE_NAME}: {key}: not valid JSON ({error}); install peft-advisor again") from error
    del row["key"]
    return from_plain(StepProfile, row, where=f"{FILE_NAME}: {key}")


@cache
def _lines() -> Mapping[str, str]:
    try:
        return {_key_in(line): line for line in read_lines(FILE_NAME)}
    except FileNotFoundError:
        return {}


def _key_in(line: str) -> str:
    parts = line.split('"', 4)
    if len(parts) < 5 or parts[1] != "key":
        raise DataError(f"{FILE_NAME}: {printable(line[:40])} does not begin with a key; install peft-advisor again")
    return parts[3]
