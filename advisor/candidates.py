"""Combinations of base model, method, hyperparameters and precision that evidence supports."""

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.spec import Architecture, Precision, Quantization

Hyperparameters = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Everything that fixes one training run except data, seed and length of training.

    Attributes:
        base_model: Hub id or local folder.
        architecture: Decides the task head together with the task.
        method: Slug in `catalog.methods`; "full" is full fine-tuning.
        hyperparameters: `learning_rate`, `num_epochs`, `weight_decay`, `warmup_ratio`, `lr_scheduler_type`
            (transformers' names) and the method's own under PEFT's names (`r`, `lora_alpha`,
            `lora_dropout`, `target_modules`, `num_virtual_tokens`, ...).
        precision: Arithmetic of the training step; weights of the frozen base are kept in it too.
        quantization: Storage of the frozen base weights, None when not quantized.
        batch_size: Examples per optimizer step.
        max_seq_length: Tokens of the (source) sequence kept.
    """

    base_model: str
    architecture: Architecture
    method: str
    hyperparameters: Hyperparameters
    precision: Precision = "fp32"
    quantization: Quantization | None = None
    batch_size: int = 16
    max_seq_length: int = 512

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_seq_length < 1:
            raise ValueError("batch_size and max_seq_length must be at least 1")
        learning_rate = self.hyperparameters.get("learning_rate")
        if not isinstance(learning_rate, (int, float)) or isinstance(learning_rate, bool) or not learning_rate > 0:
            raise ValueError(f"hyperparameters.learning_rate must be a positive number, not {learning_rate!r}")
