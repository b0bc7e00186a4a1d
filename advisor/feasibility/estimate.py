"""What is computed about one training step before it runs."""

from dataclasses import dataclass

from advisor.spec import GIB

# Parts in the order of a training step, with their names for people. They add up to `peak_memory_bytes`.
PARTS: tuple[tuple[str, str], ...] = (
    ("weights", "weights_bytes"),
    ("adapter", "adapter_bytes"),
    ("gradients", "gradients_bytes"),
    ("optimizer", "optimizer_bytes"),
    ("activations", "activations_bytes"),
    ("logits and loss", "logits_bytes"),
    ("workspace", "workspace_bytes"),
    ("fragmentation", "fragmentation_bytes"),
    ("context", "context_bytes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Computed (never measured) peak memory and time of one training step.

    Attributes:
        peak_memory_bytes: What the process takes of the device at its peak: `peak_reserved_bytes` and the context.
        peak_reserved_bytes: What PyTorch's caching allocator holds (`torch.cuda.max_memory_reserved`).
        peak_allocated_bytes: What tensors take of it (`torch.cuda.max_memory_allocated`).
        basis: How it was computed, such as "dry run" or "first-order formula".
        weights_bytes: Base model as stored, quantized or not.
        adapter_bytes: Weights of the adapter.
        gradients_bytes: Gradients of the trained parameters.
        optimizer_bytes: The optimizer's state.
        activations_bytes: What the forward pass keeps for the backward pass, and the batch.
        logits_bytes: Output of a language model head, its float32 copy, and their gradients.
        workspace_bytes: Temporaries of the backward pass, the optimizer and the kernels.
        fragmentation_bytes: Reserved but not allocated at the peak.
        context_bytes: CUDA context, outside PyTorch's allocator.
        trainable_params: Number of parameters that are trained.
        step_time_s: Time of one optimizer step on the named GPU, None when no GPU is named.
    """

    peak_memory_bytes: int
    peak_reserved_bytes: int
    peak_allocated_bytes: int
    basis: str
    weights_bytes: int
    adapter_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    logits_bytes: int
    workspace_bytes: int
    fragmentation_bytes: int
    context_bytes: int
    trainable_params: int
    step_time_s: float | None = None

    @property
    def peak_memory_gib(self) -> float:
        """Peak in GiB."""
        return self.peak_memory_bytes / GIB

    @property
    def breakdown(self) -> dict[str, int]:
        """Bytes of each part by its name; they add up to `peak_memory_bytes`."""
        return {name: getattr(self, field) for name, field in PARTS}
