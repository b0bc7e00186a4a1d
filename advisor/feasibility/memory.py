"""First-order estimate of peak training memory.

Peak = weights + gradients + optimizer state + activations + logits + overhead, all alive when the backward pass
begins:

- Weights: base model in the candidate's precision. 4-bit (QLoRA's NF4 with double quantization) stores a block
  weight in 4.127 bits, 8-bit in 8; embeddings, norms and head are not quantized, and PEFT's
  `prepare_model_for_kbit_training` turns them into float32; one dequantized matrix is alive at a time. Adapters are
  float32 (PEFT's `autocast_adapter_dtype`).
- Gradients and AdamW's two moments: float32, of the trained parameters only.
- Full fine-tuning: float32 weights, gradients and moments (16 bytes a parameter) plus a copy in the precision of
  the arithmetic.
- Activations: `feasibility.activations`.
- Logits of a language model: the 16-bit output, its float32 copy or softmax, and two float32 gradients.
- Overhead: CUDA context and libraries 0.5 GiB (assumed, not measured here), and slack of the caching allocator as
  a share of everything that comes and goes.

Checked against the 10 published runs of PEFT's own method comparison with a PEFT method of this catalogue
(Llama-3.2-3B, bf16, batch 4, L40S; `knowledge/peft_method_comparison.csv`, 99th percentile of reserved memory,
compared without the context, longest padded batch taken as 560 tokens): trained parameters exact, memory 1.8 % off on
average, 4.0 % at most. The slack of the allocator was chosen on these runs, so expect more elsewhere; nothing here
replaces a measurement. Full fine-tuning there ran in bf16 throughout and is not comparable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.catalog.base_models import BaseModel
from advisor.catalog.shapes import Shape
from advisor.catalog.tasks import Head
from advisor.feasibility.activations import activation_bytes
from advisor.feasibility.adapter_sizes import whole_number
from advisor.feasibility.device import CONTEXT_BYTES
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.trainable import trainable_params
from advisor.spec import Precision, Quantization

BASIS = "first-order formula"

WIDTH_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
# Bits per quantized weight. NF4: 4 + 0.127 for the scales after double quantization (QLoRA, arXiv 2305.14314,
# section 3). 8-bit: one row-wise scale is negligible.
QUANTIZED_BITS: dict[Quantization, float] = {"4bit": 4.127, "8bit": 8.0}

ALLOCATOR_SLACK = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one training step processes.

    Attributes:
        batch_size: Examples at once.
        source_tokens: Padded length of the source; for a decoder source and target together.
        target_tokens: Padded length of the target of an encoder-decoder model, else 0.
    """

    batch_size: int
    source_tokens: int
    target_tokens: int = 0


def estimate_memory(
    model: BaseModel,
    method: str,
    hyperparameters: Mapping[str, object],
    head: Head,
    step: Step,
    precision: Precision,
    quantization: Quantization | None = None,
    autocast: bool = True,
) -> Estimate:
    """Estimate the peak memory of training one candidate.

    Args:
        model: The base model.
        method: Slug of the method.
        hyperparameters: The method's, under PEFT's names.
        head: Task head on the model.
        step: What one step processes.
        precision: Arithmetic.
        quantization: Storage of the frozen base.
        autocast: 16-bit arithmetic runs under `torch.autocast`, as in `training`; PEFT's own comparison ran without.
    """
    shape = model.shape
    width = WIDTH_BYTES[precision]
    full = method == "full"
    trained = trainable_params(method, hyperparameters, model, head)
    virtual = whole_number(hyperparameters, "num_virtual_tokens", 0) if method in ("prompt-tuning", "p-tuning") else 0
    source = step.batch_size * (step.source_tokens + virtual)
    target = step.batch_size * (step.target_tokens + virtual) if step.target_tokens else 0
    weights = _weights_bytes(model, width, quantization, full)
    adapter = 0 if full else 4 * trained
    activations = activation_bytes(
        method, hyperparameters, shape, width, source, target, quantization is not None, autocast
    )
    if method == "prefix-tuning":  # keys and values of the prefix are repeated for every example
        prefix = step.batch_size * whole_number(hyperparameters, "num_virtual_tokens", 0)
        activations += prefix * (shape.decoder_layers or shape.layers) * 4 * width * shape.kv_size
    logits = logits_bytes(head, shape, width, source, target)
    gradients, optimizer = 4 * trained, 8 * trained
    dequantized = max(linear.inputs * linear.outputs for linear, _ in shape.linears()) * width if quantization else 0
    slack = int(ALLOCATOR_SLACK * (activations + logits + gradients + optimizer))
    allocated = weights + adapter + gradients + optimizer + activations + logits + dequantized
    return Estimate(
        peak_memory_bytes=allocated + slack + CONTEXT_BYTES,
        peak_reserved_bytes=allocated + slack,
        peak_allocated_bytes=allocated,
        basis=BASIS,
        weights_bytes=weights,
        adapter_bytes=adapter,
        gradients_bytes=gradients,
        optimizer_bytes=optimizer,
        activations_bytes=activations,
        logits_bytes=logits,
        workspace_bytes=dequantized,
        fragmentation_bytes=slack,
        context_bytes=CONTEXT_BYTES,
        trainable_params=trained,
    )


def _weights_bytes(model: BaseModel, width: int, quantization: Quantization | None, full: bool) -> int:
    if full:
        return model.params * (4 + (width if width < 4 else 0))
    if quantization is None:
        return model.params * width
    # The exact total minus embeddings and head, so that norms, biases and experts are counted where they are.
    shape = model.shape
    outside = min(model.params, shape.vocab * shape.hidden * (1 if shape.tied else 2))
    return int((model.params - outside) * QUANTIZED_BITS[quantization] / 8) + outside * 4


def logits_bytes(head: Head, shape: Shape, width: int, source: int, target: int) -> int:
    """Return what a language model head gives and its loss takes, `width` bytes a number, for so many tokens."""
    if head == "sequence-classification":
        return 0
    tokens = target if head == "seq2seq-lm" else source
    # Own width, then in float32: log-softmax, gradient of the loss, gradient of the softmax.
    return tokens * shape.vocab * (width + 3 * 4)
