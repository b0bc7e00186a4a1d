"""What a training step keeps between forward and backward pass, counted tensor by tensor.

The idea is that of Korthikanti et al. 2022 (arXiv 2205.05198), whose per-layer figure for 16-bit training is
s b h (34 + 5 a s / h) bytes. Three things differ here. Attention runs through PyTorch's scaled dot product, which
keeps queries, keys, values and output but no a s x s matrix. A frozen linear layer keeps nothing: its input is
needed only for the gradient of its own weight. An adapter's input is kept, and in float32, since PEFT holds
adapter weights in float32 on a 16-bit base (`autocast_adapter_dtype`).

Per token and layer, with d bytes per number of the base model (2 or 4):
    norms       LayerNorm d h each; RMSNorm 4 h each (transformers computes it in float32)
    attention   4 d q (query, key and value repeated to all heads, output) + 4 a (log-sum-exp)
    feed-forward  gated 3 d f, else d f; on a quantized base 4 bytes in place of d, since PEFT's
                `prepare_model_for_kbit_training` keeps the residual stream in float32 and bitsandbytes returns the
                type it was given
    dropout     1 byte per kept number (where the model has dropout on)
    adapters    see `_adapter_bytes`

Against the tensors that autograd keeps on small RoBERTa, Llama and StarCoder2 models the formula is within 20 %, on
T5 within 25 % (tests/feasibility/test_activations.py); the missing part does not grow with the model.

Not covered: eager attention, mixtures of experts, linear attention, gradient checkpointing.
"""

from collections.abc import Mapping
from dataclasses import replace

from advisor.catalog.shapes import Linear, Shape
from advisor.feasibility.adapter_sizes import bottleneck_size, whole_number
from advisor.feasibility.trainable import target_linears

Kept = dict[str, float]

FP32_BYTES = 4
# No hyperparameter of AdapterFusion, but what its activations follow from: how many adapters are fused.
FUSED = "n_adapters"


def activation_bytes(
    method: str,
    hyperparameters: Mapping[str, object],
    shape: Shape,
    width: int,
    tokens: int,
    target_tokens: int = 0,
    quantized: bool = False,
    autocast: bool = True,
) -> int:
    """Return the bytes kept for the backward pass, output head excluded.

    Args:
        method: Slug of the method.
        hyperparameters: Of the candidate.
        shape: Of the base model.
        width: Bytes per number of the base model's arithmetic.
        tokens: Batch size times source length (virtual tokens included).
        target_tokens: Batch size times target length, for the decoder of an encoder-decoder model.
        quantized: The base is stored in 4 or 8 bits.
        autocast: 16-bit arithmetic runs under `torch.autocast`.
    """
    if method == "layer-freezing":
        # Below the trained layers nothing is kept; the decoder's attention to a trained encoder needs all of it.
        top = min(shape.layers, whole_number(hyperparameters, "trained_layers", 4))
        shape = shape if shape.decoder_layers else replace(shape, layers=top)
    full = method in ("full", "layer-freezing")
    layer = _layer_bytes(shape, width, full)
    if quantized:
        layer += (3 if shape.gated else 1) * (FP32_BYTES - width) * shape.ff
    total = tokens * shape.layers * layer
    if shape.decoder_layers:
        cross = _norm_bytes(shape, width, full) + _attention_bytes(shape, width)
        # Keys and values of cross-attention are as long as the source, queries and outputs as the target.
        total += target_tokens * shape.decoder_layers * (layer + cross / 2) + tokens * shape.decoder_layers * cross / 2
    total += sum(
        count * _tokens_of(count, shape, tokens, target_tokens) / _occurrences(linear, shape) * _adapter_bytes(
            method, hyperparameters, linear, shape, width, autocast
        )
        for linear, count in target_linears(method, hyperparameters, shape)
    )  # fmt: skip
    if method == "layernorm-tuning" and not shape.layernorm:  # LayerNorm keeps its input anyway
        total += (tokens * shape.layers * 2 + target_tokens * shape.decoder_layers * 3) * width * shape.hidden
    return int(total)


def _tokens_of(count: int, shape: Shape, tokens: int, target_tokens: int) -> float:
    """Tokens that pass through all copies of one kind of linear layer together."""
    if not shape.decoder_layers:
        return count * tokens
    decoder_copies = count - shape.layers
    return shape.layers * tokens + decoder_copies * (
        target_tokens if decoder_copies == shape.decoder_layers else (tokens + target_tokens) / 2
    )


def _occurrences(linear: Linear, shape: Shape) -> int:
    attention = linear.role in ("q", "k", "v", "o")
    return shape.layers + shape.decoder_layers * (2 if attention else 1)


def _layer_bytes(shape: Shape, width: int, full: bool) -> float:
    kept = 2 * _norm_bytes(shape, width, full) + _attention_bytes(shape, width)
    kept += (3 if shape.gated else 1) * width * shape.ff
    if shape.dropout:
        kept += 2 * shape.hidden
    if full:  # inputs of the linear layers: q, k and v share one; that of "o" is the attention output, kept anyway
        kept += width * (2 * shape.hidden + shape.ff)
    return kept


def _norm_bytes(shape: Shape, width: int, full: bool) -> float:
    kept = width * shape.hidden if shape.layernorm else FP32_BYTES * shape.hidden
    return kept + (width * shape.hidden if full and not shape.layernorm else 0)


def _attention_bytes(shape: Shape, width: int) -> float:
    return 4 * width * shape.q_size + FP32_BYTES * shape.heads


def _adapter_bytes(
    method: str, hyperparameters: Mapping[str, object], linear: Linear, shape: Shape, width: int, autocast: bool
) -> float:
    """Bytes per token that one adapted linear layer keeps.

    LoRA: its input (a copy per layer on a 16-bit base; in float32 the layers share it), a dropout mask and the dropped
    input, and r numbers between the two matrices. DoRA: its output thrice on top, twice in float32. (IA)3: the
    output (or, for the feed-forward output, the input) that the vector scales. BitFit, BEFT: nothing. AdapterFusion:
    what each of its adapters gives, with a key and a value of it, the input and its query. Any other method is taken
    for LoRA of its rank (bottleneck adapters: of the size of their bottleneck).
    """
    cast = width < FP32_BYTES
    if method == "ia3":
        return FP32_BYTES * (linear.inputs if linear.role == "down" else linear.outputs)
    if method in ("bitfit", "beft"):
        return 0.0
    if method == "adapter-fusion":
        n = whole_number(hyperparameters, FUSED, 2)
        return (3 * n + 2) * (width if autocast else FP32_BYTES) * shape.hidden
    dropout = _as_float(hyperparameters.get("lora_dropout")) > 0
    rank = _as_float(hyperparameters.get("r") or hyperparameters.get("init_r"))
    if "reduction_factor" in hyperparameters:
        rank += bottleneck_size(hyperparameters, shape, 16)
    kept = FP32_BYTES * rank + (linear.inputs if dropout else 0)
    # In float32 nothing is cast: q, k and v keep one input between them, gate and up another; "o" keeps none extra.
    shared = linear.role in ("k", "v", "o") or (linear.role == "up" and shape.gated)
    if cast or dropout or not shared:
        kept += (width if autocast else FP32_BYTES) * linear.inputs
    if method == "dora" or hyperparameters.get("use_dora"):
        kept += (2 * FP32_BYTES + width) * linear.outputs
    return kept


def _as_float(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
