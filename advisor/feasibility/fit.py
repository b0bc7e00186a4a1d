"""Make a proposal fit a budget: precision, quantization, checkpointing, and the examples in memory at once."""

from dataclasses import dataclass

from advisor.candidates import WITHOUT_CHECKPOINTING, Proposal
from advisor.catalog.gpus import Gpu, find_gpu, usable_gib
from advisor.catalog.tasks import Task
from advisor.errors import InputError
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.memory import Step
from advisor.feasibility.stored import estimate_step
from advisor.spec import GIB, Architecture, Budget, Precision, Quantization, QuantizationChoice

# Examples per optimizer step. LoRA wants effective batches of at most 32 (trl2026docs-002,
# tinker2026cookbook-008); decoders of the evidence ran with 16 to 32, encoders with 32 to 64.
PREFERRED_BATCH: dict[Architecture, int] = {"encoder-only": 32, "encoder-decoder": 32, "decoder-only": 16}
BATCH_EVIDENCE = ("trl2026docs-002",)
# With fewer examples in memory at once a GPU is badly used; quantizing the base is then worth trying.
COMFORTABLE_MICRO_BATCH = 4
# Kept back because estimates err: dry runs missed published peaks by up to 5 % (studies/memory_accuracy), the formula
# for models without a stored profile by up to 4 % (feasibility.memory).
PLANNED_SHARE = 0.95
# GB and GiB are mixed up often enough to forgive the difference.
_MORE_THAN_THERE = 1.02
# Quantizing a small model saves little and costs time: its activations outweigh its weights.
LEAST_PARAMS_TO_QUANTIZE = 400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is known about the device.

    Attributes:
        usable_bytes: Memory that training may take, None when unknown.
        usable_gib: The same in GiB.
        low_precision: 16-bit type to train in, None for float32.
        told: How that follows from the budget, for the user.
        gpu: The catalogue's entry when a GPU was named.
    """

    usable_bytes: int | None
    low_precision: Precision | None
    told: str
    gpu: Gpu | None = None

    @property
    def usable_gib(self) -> float:
        """Memory that training may take in GiB; 0 when unknown."""
        return (self.usable_bytes or 0) / GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A way to train a proposal, within the budget or not.

    Attributes:
        precision: Arithmetic.
        quantization: Storage of the frozen base.
        batch_size: Examples per optimizer step.
        micro_batch_size: Examples in memory at once.
        estimate: Memory of it.
        fits: Within the budget (always true when the budget is unknown).
        gradient_checkpointing: Layers are computed anew in the backward pass.
    """

    precision: Precision
    quantization: Quantization | None
    batch_size: int
    micro_batch_size: int
    estimate: Estimate
    fits: bool
    gradient_checkpointing: bool = False


def device_of(budget: Budget) -> Device:
    """Return what a budget says about the device.

    Raises:
        UnknownNameError: The GPU is not in the catalogue.
        InputError: More memory is asked for than that GPU has.
    """
    if budget.gpu is None:
        if budget.vram_gib is None:
            return Device(usable_bytes=None, low_precision=None, told="no memory budget given: nothing was checked")
        usable = PLANNED_SHARE * usable_gib(budget.vram_gib)
        told = f"{usable:.1f} GiB usable of {budget.vram_gib:g}, bfloat16 assumed (name the GPU with --gpu to be sure)"
        return Device(usable_bytes=int(usable * GIB), low_precision="bf16", told=told)
    gpu = find_gpu(budget.gpu)
    if budget.vram_gib is not None and budget.vram_gib > _MORE_THAN_THERE * gpu.vram_gb:
        raise InputError(
            f"--vram {budget.vram_gib:g}: the {gpu.name} has {gpu.vram_gb:g} GB; leave --vram out, or name another GPU"
        )
    own = gpu.usable_gib if budget.vram_gib is None else min(gpu.usable_gib, usable_gib(budget.vram_gib))
    usable = PLANNED_SHARE * own
    precision: Precision = "bf16" if gpu.supports_bf16 else "fp16"
    told = f"{gpu.name}: {usable:.1f} GiB usable" + ("" if gpu.supports_bf16 else ", no bfloat16")
    return Device(usable_bytes=int(usable * GIB), low_precision=precision, told=told, gpu=gpu)


def precision_for(device: Device, architecture: Architecture) -> Precision:
    """Return the arithmetic to train in.

    T5-type models overflow in float16 (transformers keeps parts of them in float32 for that reason), so without
    bfloat16 encoder-decoders train in float32.
    """
    if device.low_precision is None:
        return "fp32"
    if device.low_precision == "fp16" and architecture == "encoder-decoder":
        return "fp32"
    return device.low_precision


def fit(
    proposal: Proposal,
    task: Task,
    device: Device,
    forced: QuantizationChoice | None = None,
    *,
    most_at_once: int | None = None,
) -> Fit | None:
    """Return the best way to train a proposal on a device.

    The first way that leaves room for a few examples at once: as it is; with gradient checkpointing, which costs
    time; with the base in 4 bits, which costs time and a little quality; with both. When none does, the one with
    most examples at once. When nothing fits, the smallest way is returned with `fits` false.

    Args:
        proposal: What is trained.
        task: Gives the lengths.
        device: What there is.
        forced: Storage of the base weights that was asked for; None to choose between 4 bits and none.
        most_at_once: Examples in memory at once at most, even where there is room for more; None for the whole batch.

    Returns:
        None where nothing can be said without a dry run.
    """
    precision = precision_for(device, proposal.model.architecture)
    stored: tuple[Quantization | None, ...] = (None, "4bit") if _may_quantize(proposal) else (None,)
    if forced is not None:
        stored = (None if forced == "none" else forced,)
    ways: list[Fit] = []
    for quantization in stored:
        for checkpointing in (False, True):
            way = _largest(proposal, task, device, precision, quantization, checkpointing, most_at_once)
            if way is not None and way.fits and way.micro_batch_size >= COMFORTABLE_MICRO_BATCH:
                return way
            ways += [way] if way is not None else []
    if not ways:
        return None
    fitting = [way for way in ways if way.fits]
    if not fitting:
        return min(ways, key=lambda way: way.estimate.peak_memory_bytes)
    return max(fitting, key=lambda way: way.micro_batch_size)


def step_of(proposal: Proposal, task: Task, batch_size: int) -> Step:
    """Return what one forward and backward pass of a proposal processes, padded to its longest."""
    if proposal.head == "causal-lm":
        limit = proposal.model.context_length or 10**9
        length = min(proposal.max_seq_length + task.max_target_length, limit)
        return Step(batch_size=batch_size, source_tokens=length)
    if proposal.head == "seq2seq-lm":
        return Step(batch_size=batch_size, source_tokens=proposal.max_seq_length, target_tokens=task.max_target_length)
    return Step(batch_size=batch_size, source_tokens=proposal.max_seq_length)


def _may_quantize(proposal: Proposal) -> bool:
    return proposal.method.works_quantized and proposal.model.params >= LEAST_PARAMS_TO_QUANTIZE


def _largest(
    proposal: Proposal,
    task: Task,
    device: Device,
    precision: Precision,
    quantization: Quantization | None,
    checkpointing: bool,
    most_at_once: int | None,
) -> Fit | None:
    """Return the way with the largest power-of-two part of the batch that fits, None where it cannot be estimated."""
    if checkpointing and proposal.method.slug in WITHOUT_CHECKPOINTING:
        return None
    batch = PREFERRED_BATCH[proposal.model.architecture]

    def estimate(micro: int) -> Estimate | None:
        return estimate_step(
            proposal.model, proposal.method.slug, proposal.hyperparameters, proposal.head,
            step_of(proposal, task, micro), precision, quantization, gradient_checkpointing=checkpointing,
            accumulation=-(-batch // micro), gpu=device.gpu,
        )  # fmt: skip

    def way(micro: int) -> Fit | None:
        found = estimate(micro)
        if found is None:
            return None
        return Fit(
            precision=precision, quantization=quantization, batch_size=batch, micro_batch_size=micro, estimate=found,
            fits=device.usable_bytes is None or found.peak_memory_bytes <= device.usable_bytes,
            gradient_checkpointing=checkpointing,
        )  # fmt: skip

    micro = min(batch, most_at_once or batch)
    found = way(micro)
    if found is None or found.fits or micro == 1:
        return found
    least = way(1)  # tells whether anything between needs to be tried
    if least is None or not least.fits:
        return least
    while (micro := micro // 2) > 1:
        found = way(micro)
        if found is None or found.fits:
            return found
    return least
