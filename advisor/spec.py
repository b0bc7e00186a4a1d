"""What the user asks: a task, a budget, and preferences."""

from dataclasses import dataclass
from typing import Literal

from advisor.errors import InputError

Preference = Literal["quality", "memory", "speed"]
Precision = Literal["fp32", "fp16", "bf16"]
Quantization = Literal["4bit", "8bit"]
QuantizationChoice = Literal["none", "4bit", "8bit"]
Architecture = Literal["encoder-only", "encoder-decoder", "decoder-only"]
OptimizerName = Literal[
    "adamw", "adamw-fused", "adamw-8bit", "paged-adamw-8bit", "paged-adamw-32bit", "adafactor", "sgd", "sgd-momentum"
]
Attention = Literal["sdpa", "eager", "flash"]
Searched = Literal["batch-size", "seq-len", "rank"]
# What counts as a repeated row: the same input but for white space, or a near duplicate as well.
Repetition = Literal["exact", "near"]

DEFAULT_TRIALS = 20
DEFAULT_FINAL_SEEDS = 3

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one training run may use.

    Attributes:
        vram_gib: Device memory in GiB that training may take; None when unknown.
        gpu: Name of the GPU in the catalogue, None when not given.
        time_s: Seconds that the training may take; None for any.
    """

    vram_gib: float | None = None
    gpu: str | None = None
    time_s: float | None = None

    def __post_init__(self) -> None:
        if self.vram_gib is not None and not 0 < self.vram_gib <= 100_000:
            raise InputError(f"--vram: {self.vram_gib:g} GiB is not a size of device memory; give GiB, such as 24")
        if self.time_s is not None and not self.time_s > 0:
            raise InputError(f"--time: {self.time_s:g} seconds is no time to train in")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTask:
    """One software-engineering task with the user's limits and wishes.

    Attributes:
        task: Slug in `catalog.tasks`, such as "clone-detection".
        budget: Memory and GPU.
        base_model: Only this base model (hub id or local folder), or None for any of the catalogue.
        method: Only this PEFT method, or None for any.
        quantization: Only this storage of the base weights, "none" for unquantized; None leaves it to the memory.
        prefer: What decides between candidates of similar evidence.
        top: How many candidates to return.
        n_rows: Rows to train on, None when not known.
        source_tokens: Length that hardly any source of the user's data exceeds, None for what is usual for the task.
        target_tokens: The same of the targets.
    """

    task: str
    budget: Budget
    base_model: str | None = None
    method: str | None = None
    quantization: QuantizationChoice | None = None
    prefer: Preference = "quality"
    top: int = 5
    n_rows: int | None = None
    source_tokens: int | None = None
    target_tokens: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.top <= 100:
            raise InputError(f"--top: {self.top} is not between 1 and 100")
        if self.budget.time_s is not None and (self.n_rows is None or self.budget.gpu is None):
            raise InputError("--time: how long training takes needs --gpu and the rows to train on (--data FILE)")
