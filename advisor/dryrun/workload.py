"""What one training step is: the question that a dry run answers."""

from dataclasses import dataclass

from peft import PeftConfig

from advisor.catalog.tasks import Head
from advisor.dryrun.question import LARGEST_BATCH, LARGEST_PACK, MOST_LABELS, MOST_TOKENS
from advisor.errors import InputError
from advisor.modeling.meta import ModelSource
from advisor.spec import Attention, OptimizerName, Precision, Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One training step of one model.

    Attributes:
        source: The base model's config.
        head: Task head.
        peft_config: PEFT's configuration of the adapter; None for full fine-tuning.
        precision: Type of the frozen weights and of the arithmetic.
        quantization: Storage of the frozen weights, None when not quantized.
        autocast: The forward pass runs under `torch.autocast` (as in `tune` and in transformers' Trainer with
            `bf16=True`); else everything runs in the type of the weights, adapters in float32.
        optimizer: Which optimizer.
        gradient_checkpointing: Layers are computed anew in the backward pass.
        attention: Implementation; "flash" stands for flash attention on sequences without padding.
        batch_size: Sequences in memory at once.
        seq_length: Tokens of each (the longest, all others padded to it); of the source in encoder-decoder models.
        target_length: Tokens of the target of an encoder-decoder model with a language model head.
        accumulation: Forward and backward passes per optimizer step.
        pack_size: Adapters trained side by side on one base model, each with a batch of its own.
        n_labels: Classes of a classification head.
        layers: Layers to build instead of the config's own.
        holds_outputs: The loop keeps the model's output object while the backward pass runs, as the usual
            `outputs = model(**batch); outputs.loss.backward()` does; it holds on to the logits.
        flash_capable: The device has flash attention (NVIDIA compute capability 8.0 and later).
    """

    source: ModelSource
    head: Head
    peft_config: PeftConfig | None
    precision: Precision = "bf16"
    quantization: Quantization | None = None
    autocast: bool = False
    optimizer: OptimizerName = "adamw"
    gradient_checkpointing: bool = False
    attention: Attention = "sdpa"
    batch_size: int = 1
    seq_length: int = 512
    target_length: int = 0
    accumulation: int = 1
    pack_size: int = 1
    n_labels: int = 2
    layers: int | None = None
    holds_outputs: bool = True
    flash_capable: bool = True

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("batch size", self.batch_size, LARGEST_BATCH), ("sequence length", self.seq_length, MOST_TOKENS),
            ("accumulation", self.accumulation, LARGEST_BATCH), ("pack size", self.pack_size, LARGEST_PACK),
            ("number of labels", self.n_labels, MOST_LABELS),
        ):  # fmt: skip
            if not 1 <= value <= limit:
                raise InputError(f"{name}: {value} is not between 1 and {limit}")
        if not 0 <= self.target_length <= MOST_TOKENS:
            raise InputError(f"target length: {self.target_length} is not between 0 and {MOST_TOKENS}")
        if self.quantization is not None and self.peft_config is None:
            raise InputError(f"full fine-tuning cannot change a base model stored in {self.quantization}")

    @property
    def tokens(self) -> int:
        """Tokens that one optimizer step processes, source and target."""
        return self.pack_size * self.accumulation * self.batch_size * (self.seq_length + self.target_length)
