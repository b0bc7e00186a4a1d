"""What might make a step fit that does not: cheap hints from the parts of its memory, without further dry runs."""

from advisor.candidates import WITHOUT_CHECKPOINTING
from advisor.catalog.gpus import Gpu, all_gpus
from advisor.dryrun.estimate import DryRun
from advisor.dryrun.workload import Workload
from advisor.modeling.meta import hidden_size
from advisor.spec import GIB, Precision

# Rough shares of a part that a change gives back; the next dry run tells.
_CHECKPOINTED = 0.9  # all but the inputs of the layers and one layer's activations
_FOUR_BIT = 0.72  # 16-bit numbers become about 4.5-bit ones
_EIGHT_BIT_STATE = 0.74
_WORTH_NAMING = 0.05  # of what is missing
_HEADROOM = 1.03  # of the estimate, which may be off by a few per cent


def relief(workload: Workload, run: DryRun) -> str:
    """Return one sentence on what to try when a run does not fit its device; empty when it does.

    Args:
        workload: What was run.
        run: Its dry run, of a known device.
    """
    if run.margin_bytes is None or run.margin_bytes >= 0:
        return ""
    missing, larger = -run.margin_bytes, _larger_device(run, workload.precision)
    if run.usable_bytes is not None and run.estimate.peak_memory_bytes <= run.usable_bytes:
        return f"Only evaluation is too large: give --evaluate fewer sequences at once{larger}."
    ways = [way for way in _ways(workload, run) if way[0] > _WORTH_NAMING * missing]
    chosen = _enough(ways, missing)
    if chosen:
        return f"Try {' and '.join(text for _, text in chosen)}{larger}."
    if not ways:
        return f"Try a shorter --seq-len{larger}."
    return f"Hardly enough: {' and '.join(text for _, text in ways)}; then a shorter --seq-len{larger}."


def smallest_gpu_for(nbytes: int, precision: Precision) -> Gpu | None:
    """Return the NVIDIA GPU of the catalogue with the least memory that holds as many bytes with some to spare.

    Args:
        nbytes: Peak of the process.
        precision: Arithmetic that the GPU must have.
    """
    holding = [
        gpu
        for gpu in all_gpus()
        if gpu.vendor == "nvidia" and gpu.usable_gib * GIB >= _HEADROOM * nbytes
        and (precision != "bf16" or gpu.supports_bf16)
    ]  # fmt: skip
    return min(holding, key=lambda gpu: (gpu.vram_gb, gpu.name), default=None)


def _ways(workload: Workload, run: DryRun) -> list[tuple[float, str]]:
    """Return bytes given back and what to do for it; the changes that leave training as it is come first."""
    parts, batch = run.estimate, workload.batch_size
    ways: list[tuple[float, str]] = []
    if batch > 1:
        growing = parts.activations_bytes + parts.logits_bytes + parts.workspace_bytes
        ways.append((growing * (1 - 1 / batch), f"--batch-size below {batch} with --accumulation"))
    if not workload.gradient_checkpointing and _method(workload) not in WITHOUT_CHECKPOINTING:
        kept = _gib(parts.activations_bytes)
        ways.append((_CHECKPOINTED * parts.activations_bytes, f"--gradient-checkpointing (activations {kept})"))
    if workload.peft_config is not None and workload.quantization is None:
        ways.append((_quantizable(workload, run), f"--quantization 4bit (weights {_gib(parts.weights_bytes)})"))
    if workload.optimizer in ("adamw", "adamw-fused"):
        state = _gib(parts.optimizer_bytes)
        ways.append((_EIGHT_BIT_STATE * parts.optimizer_bytes, f"--optimizer adamw-8bit (its state {state})"))
    if workload.peft_config is None:
        ways.append((parts.optimizer_bytes + parts.gradients_bytes, "--method lora"))
    return ways


def _enough(ways: list[tuple[float, str]], missing: int) -> list[tuple[float, str]]:
    """Return the first single way that gives enough, else the largest that do together, else none."""
    for way in ways:
        if way[0] >= missing:
            return [way]
    chosen: list[tuple[float, str]] = []
    for way in sorted(ways, reverse=True):
        chosen.append(way)
        if sum(freed for freed, _ in chosen) >= missing:
            return chosen
    return []


def _quantizable(workload: Workload, run: DryRun) -> float:
    """Return what 4 bits give back; embeddings and the output layer are not quantized but raised to float32."""
    config = workload.source.config
    vocabulary = getattr(config, "vocab_size", 0) * hidden_size(config)
    tables = 1 if getattr(config, "tie_word_embeddings", False) or workload.head == "sequence-classification" else 2
    width = 4 if workload.precision == "fp32" else 2
    unquantized = vocabulary * tables * width
    raised = vocabulary * tables * (4 - width)
    return _FOUR_BIT * max(0, run.estimate.weights_bytes - unquantized) - raised


def _method(workload: Workload) -> str:
    kind = getattr(workload.peft_config, "peft_type", "")
    return str(getattr(kind, "value", kind)).lower().replace("_", "-")


def _larger_device(run: DryRun, precision: Precision) -> str:
    gpu = smallest_gpu_for(run.peak_memory_bytes, precision)
    return f", or a GPU such as the {gpu.name}" if gpu is not None else ""


def _gib(nbytes: int) -> str:
    return f"{nbytes / GIB:.1f} GiB"
