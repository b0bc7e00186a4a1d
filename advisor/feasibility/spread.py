"""A base model too large for one GPU: whole layers on each of several, and the peak of each.

A batch passes the GPUs one after the other and its gradient passes them back, so one GPU works at a time: the time of
a step is that of one GPU and the transfers between them, which are not counted. What is gained is room.

The peak of a GPU follows from the estimate of the step on one GPU and from the shape of the model, layer by layer:
    weights     embedding tables and output head by their sizes, what is left in proportion to the linear layers; an
                output head that shares the embedding table stands where that stands, on the first GPU
    trained     adapter, gradients and optimizer state in proportion to the layers; those of soft prompts on the first
                GPU; those of full fine-tuning in proportion to the weights. All gradients are counted, also where the
                peak on one GPU comes before the first of them
    activations in proportion to tokens and linear layers
    logits      with the loss, on the GPU of the output head
    passing     one layer's activations, twice where layers are computed anew: what the backward pass of a layer takes
                for a while, which is the peak of a GPU without the head
    workspace   as on one GPU, on each
    allocator   its excess in proportion to all but the weights
    context     on each
No GPU takes more than one alone would, since what is alive on it is alive there at the same moment; that bounds the
sum. On one GPU the peak is the estimate itself. Layers go where the largest peak is smallest.

Against dry runs whose allocations were sorted by layer the largest peak is 0 to 25 % above (tests/dryrun/
test_spread.py). Nothing of it was ever measured on GPUs.

Not covered: mixtures of experts and linear attention (as `catalog.shapes`), layers of different size in one stack, the
copies of encoder states that decoder layers on other GPUs keep, and sharding of single layers (FSDP, tensor
parallelism).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

from advisor.catalog.shapes import Shape
from advisor.catalog.tasks import Head
from advisor.feasibility.activations import activation_bytes
from advisor.feasibility.adapter_sizes import whole_number
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.memory import WIDTH_BYTES, Step
from advisor.feasibility.memory import logits_bytes as logits_bytes_of
from advisor.spec import Precision, Quantization

# More GPUs than a machine has are of no use to one worker.
MOST_GPUS = 16
_SOFT_PROMPTS = frozenset({"prompt-tuning", "prefix-tuning", "p-tuning"})
# Method that stands for adapters of unknown kind: most tensors of the usual ones.
_LIKE_LORA: tuple[str, Mapping[str, object]] = ("lora", {"r": 8, "target_modules": "all-linear"})
# A layer that is computed anew: its activations, and gradients of about as many bytes.
_RECOMPUTED = 2
_FP32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LayeredStep:
    """The memory of a training step by pieces of the model: what comes before the layers, each layer, what comes after.

    Attributes:
        estimate: On one GPU.
        weights: Running sum of the weights' bytes before each piece; one more than there are pieces.
        trained: Likewise the share of what is trained, from 0 to 1.
        kept: Likewise the share of the activations.
        gradients_bytes: All gradients.
        logits_bytes: Output of a language model head with its loss.
        logits_first: The head stands before the layers, where it shares the embedding table.
        passing_bytes: What a layer's own backward pass takes for a while.
    """

    estimate: Estimate
    weights: tuple[float, ...]
    trained: tuple[float, ...]
    kept: tuple[float, ...]
    gradients_bytes: int
    logits_bytes: int
    logits_first: bool
    passing_bytes: int

    @property
    def layers(self) -> int:
        """Layers of all stacks, in the order of the forward pass."""
        return len(self.weights) - 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuShare:
    """What stands on one GPU.

    Attributes:
        first_layer: Number of its first layer, from 0, over all stacks in the order of the forward pass.
        n_layers: How many layers.
        weights_bytes: Of the base model.
        peak_memory_bytes: What the process takes of it at its peak, context included.
    """

    first_layer: int
    n_layers: int
    weights_bytes: int
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A training step over several GPUs.

    Attributes:
        gpus: In the order of the forward pass.
    """

    gpus: tuple[GpuShare, ...]

    @property
    def peak_memory_bytes(self) -> int:
        """The largest peak."""
        return max(one.peak_memory_bytes for one in self.gpus)

    @property
    def layers_per_gpu(self) -> tuple[int, ...]:
        """How many layers stand on each."""
        return tuple(one.n_layers for one in self.gpus)


def layered(
    estimate: Estimate,
    shape: Shape,
    *,
    head: Head,
    step: Step,
    precision: Precision,
    quantization: Quantization | None = None,
    method: str | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    gradient_checkpointing: bool = False,
) -> LayeredStep:
    """Divide the estimate of a step among the pieces of its model.

    Args:
        estimate: Of the step on one GPU.
        shape: Of the base model.
        head: Task head on it.
        step: What one pass processes.
        precision: Arithmetic.
        quantization: Storage of the frozen base.
        method: Slug, None for an adapter of unknown kind.
        hyperparameters: The method's.
        gradient_checkpointing: Layers are computed anew in the backward pass.
    """
    full = estimate.adapter_bytes == 0 and estimate.trainable_params > 0
    sizes = _layer_sizes(shape)
    weights = _weights(estimate.weights_bytes, shape, sizes, head, quantization)
    trained: Sequence[float] = [0.0, *([1.0] * len(sizes)), 0.0]
    if full:
        trained = weights
    elif method in _SOFT_PROMPTS:
        trained = [1.0, *([0.0] * len(sizes)), 0.0]
    elif method == "layer-freezing":
        trained = _top(shape, whole_number(hyperparameters or {}, "trained_layers", 4))
    gradients = min(_FP32_BYTES * estimate.trainable_params, estimate.weights_bytes) if full else estimate.adapter_bytes
    at_loss = logits_bytes_of(head, shape, WIDTH_BYTES[precision], *_tokens(step))
    return LayeredStep(
        estimate=estimate,
        weights=_running(weights, estimate.weights_bytes),
        trained=_running(trained, 1.0),
        kept=_running(_kept(shape, sizes, step, method, hyperparameters), 1.0),
        gradients_bytes=max(estimate.gradients_bytes, gradients),
        logits_bytes=max(estimate.logits_bytes, at_loss),
        logits_first=shape.tied,
        passing_bytes=_passing(shape, step, precision, quantization, method, hyperparameters, gradient_checkpointing),
    )


def spread(step: LayeredStep, n_gpus: int) -> Spread:
    """Return a step over as many GPUs, so that the largest peak is as small as whole layers allow.

    There are fewer GPUs where the model has fewer layers.

    Raises:
        ValueError: No GPU is to be used.
    """
    if n_gpus < 1:
        raise ValueError(f"{n_gpus} GPUs")
    n = max(1, min(n_gpus, step.layers))
    layers = partition(step.layers, n, lambda first, last: _peak(step, first, last)) if n > 1 else (step.layers,)
    return Spread(gpus=tuple(_share(step, *ends) for ends in pairwise(accumulate(layers, initial=0))))


def n_gpus_needed(step: LayeredStep, usable_bytes: int, most: int = MOST_GPUS) -> int | None:
    """Return the fewest GPUs on each of which the step fits, None where not even `most` are enough.

    Args:
        step: The step.
        usable_bytes: Memory that training may take of each GPU.
        most: GPUs to look at.
    """
    numbers = range(1, min(most, max(1, step.layers)) + 1)
    at = bisect_left(numbers, True, key=lambda n: spread(step, n).peak_memory_bytes <= usable_bytes)
    return numbers[at] if at < len(numbers) else None


def partition(n_layers: int, n_parts: int, cost: Callable[[int, int], int]) -> tuple[int, ...]:
    """Return the layers of each of some contiguous parts, of which the most expensive is as cheap as can be.

    What room is left is in the last part.

    Args:
        n_layers: At least as many as parts.
        n_parts: At least one.
        cost: Of the layers from the first number to before the second; not less for more layers.
    """
    low, high = 0, cost(0, n_layers)
    while low < high:  # the least limit that these parts can keep
        limit = (low + high) // 2
        if _filled(n_layers, n_parts, cost, limit) is None:
            low = limit + 1
        else:
            high = limit
    found = _filled(n_layers, n_parts, cost, high)
    assert found is not None  # one part for all layers keeps the first limit
    return found


def _filled(n_layers: int, n_parts: int, cost: Callable[[int, int], int], limit: int) -> tuple[int, ...] | None:
    """Return parts that are filled up to a limit one after the other, None where some layers are left."""
    parts: list[int] = []
    first = 0
    while len(parts) < n_parts:
        most = n_layers - (n_parts - len(parts) - 1)  # a layer for each part to come
        last = first + bisect_right(range(first + 1, most + 1), limit, key=partial(cost, first))
        if last == first:
            return None
        parts.append(last - first)
        first = last
    return tuple(parts) if first == n_layers else None


def _share(step: LayeredStep, first: int, last: int) -> GpuShare:
    begin, end = _pieces(step, first, last)
    weights = _between(step.weights, begin, end)
    return GpuShare(
        first_layer=first, n_layers=last - first, weights_bytes=weights,
        peak_memory_bytes=_peak(step, first, last),
    )  # fmt: skip


def _peak(step: LayeredStep, first: int, last: int) -> int:
    """Return the peak of a GPU with layers from `first` to before `last`."""
    whole, (begin, end) = step.estimate, _pieces(step, first, last)
    trained, kept = (step.trained[end] - step.trained[begin], step.kept[end] - step.kept[begin])
    has_logits = first == 0 if step.logits_first else last == step.layers
    moving = trained * (whole.adapter_bytes + whole.optimizer_bytes + step.gradients_bytes)
    moving += kept * whole.activations_bytes + max(step.logits_bytes if has_logits else 0, step.passing_bytes)
    moving += whole.workspace_bytes
    one_gpu = whole.peak_reserved_bytes - whole.weights_bytes - whole.fragmentation_bytes
    slack = whole.fragmentation_bytes * min(1.0, moving / one_gpu) if one_gpu > 0 else whole.fragmentation_bytes
    bound = _between(step.weights, begin, end) + moving + slack + whole.context_bytes
    return min(whole.peak_memory_bytes, int(bound))


def _pieces(step: LayeredStep, first: int, last: int) -> tuple[int, int]:
    """Return the range of pieces of some layers: with what comes before the first layer and after the last one."""
    return 0 if first == 0 else first + 1, step.layers + 2 if last == step.layers else last + 1


def _between(running: Sequence[float], begin: int, end: int) -> int:
    # Rounded before they are subtracted, so that the parts add up to the whole.
    return round(running[end]) - round(running[begin])


def _layer_sizes(shape: Shape) -> list[int]:
    """Return the parameters of the linear layers of each layer; one of a decoder has attention to the encoder too."""
    attention = sum(one.inputs * one.outputs for one in shape.attention)
    feed_forward = sum(one.inputs * one.outputs for one in shape.feed_forward)
    return [attention + feed_forward] * shape.layers + [2 * attention + feed_forward] * shape.decoder_layers


def _weights(
    total: int, shape: Shape, sizes: Sequence[int], head: Head, quantization: Quantization | None
) -> list[float]:
    """Return the bytes of each piece, up to a common factor of the layers."""
    table, body = shape.vocab * shape.hidden, sum(sizes)
    n_tables = 1 if shape.tied or head == "sequence-classification" else 2
    if quantization is None:
        per_table = total * table / (body + n_tables * table)
    else:  # not quantized, and turned into float32 (`feasibility.memory`)
        per_table = min(_FP32_BYTES * table, total / (n_tables + 1))
    left = total - n_tables * per_table
    return [per_table, *(left * size / body for size in sizes), per_table * (n_tables - 1)]


def _kept(
    shape: Shape,
    sizes: Sequence[int],
    step: Step,
    method: str | None,
    hyperparameters: Mapping[str, object] | None,
) -> list[float]:
    source, target = _tokens(step)
    tokens = [source] * shape.layers + [target or source] * shape.decoder_layers
    kept = [0.0, *(float(size * n) for size, n in zip(sizes, tokens, strict=True)), 0.0]
    if method == "layer-freezing" and not shape.decoder_layers:
        top = _top(shape, whole_number(hyperparameters or {}, "trained_layers", 4))
        kept = [one * is_top for one, is_top in zip(kept, top, strict=True)]
    return kept


def _top(shape: Shape, n: int) -> list[float]:
    """Mark the trained layers at the top of each stack."""
    marks = [0.0]
    for depth in (shape.layers, shape.decoder_layers):
        marks += [1.0 if number >= depth - n else 0.0 for number in range(depth)]
    return [*marks, 0.0]


def _passing(
    shape: Shape,
    step: Step,
    precision: Precision,
    quantization: Quantization | None,
    method: str | None,
    hyperparameters: Mapping[str, object] | None,
    checkpointing: bool,
) -> int:
    name, settings = (method, hyperparameters or {}) if method is not None else _LIKE_LORA
    source, target = _tokens(step)
    total = activation_bytes(
        name, settings, shape, WIDTH_BYTES[precision], source, target, quantized=quantization is not None
    )
    layers = shape.layers + shape.decoder_layers
    return int((_RECOMPUTED if checkpointing else 1) * total / max(1, layers))


def _tokens(step: Step) -> tuple[int, int]:
    return step.batch_size * step.source_tokens, step.batch_size * step.target_tokens


def _running(values: Sequence[float], total: float) -> tuple[float, ...]:
    """Return running sums from 0 to exactly `total`; all of it in the first layer where there is nothing to divide."""
    whole = sum(values)
    if whole <= 0:
        return (0.0, *([float(total)] * len(values)))
    return (*(total * one / whole for one in accumulate(values[:-1], initial=0.0)), float(total))
