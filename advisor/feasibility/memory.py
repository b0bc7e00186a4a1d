"""First-order estimate of peak training memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Computed (never measured) peak memory of one training step.

    Attributes:
        peak_memory_bytes: Sum of the parts below.
        basis: How it was computed, such as "first-order formula".
        weights_bytes: Base model as stored (quantized or not) and the adapter.
        gradients_bytes: Gradients of the trainable parameters.
        optimizer_bytes: AdamW's two moments of the trainable parameters, and float32 master weights if any.
        activations_bytes: What the forward pass keeps for the backward pass.
        logits_bytes: Output logits, their float32 copy and gradient, at the head of a language model.
        overhead_bytes: Device context and allocator slack.
        trainable_params: Number of parameters that are trained.
    """

    peak_memory_bytes: int
    basis: str
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    logits_bytes: int
    overhead_bytes: int
    trainable_params: int
