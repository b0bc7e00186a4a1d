"""How many GPUs a candidate needs, and how its layers go to those that there are."""

from collections.abc import Mapping

from advisor.candidates import Candidate, Proposal
from advisor.catalog.base_models import BaseModel, find_base_model
from advisor.catalog.tasks import Head, Task, head_of
from advisor.errors import AdvisorError
from advisor.feasibility.activations import FUSED
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.fit import Device, Fit, step_of
from advisor.feasibility.memory import Step
from advisor.feasibility.spread import LayeredStep, Spread, layered, n_gpus_needed, spread
from advisor.feasibility.stored import estimate_step
from advisor.spec import GIB, Precision, Quantization


def layers_per_gpu(candidate: Candidate, task: Task, n_gpus: int) -> tuple[int, ...]:
    """Return how many layers go to each GPU for the longest step of a candidate.

    Returns:
        Empty where nothing is known about the base model or the step.
    """
    try:
        model = find_base_model(candidate.base_model)
    except AdvisorError:
        return ()
    head, batch = head_of(task, candidate.architecture), candidate.micro_batch_size or candidate.batch_size
    target = task.max_target_length
    step = Step(
        batch_size=batch,
        source_tokens=candidate.max_seq_length + (target if head == "causal-lm" else 0),
        target_tokens=target if head == "seq2seq-lm" else 0,
    )
    sizes = {**candidate.hyperparameters, **({FUSED: len(candidate.adapters)} if candidate.adapters else {})}
    found = estimate_step(
        model, candidate.method, sizes, head, step, candidate.precision, candidate.quantization,
        gradient_checkpointing=candidate.gradient_checkpointing, accumulation=-(-candidate.batch_size // batch),
    )  # fmt: skip
    if found is None:
        return ()
    divided = _layered(
        found, model, head, step, candidate.method, sizes, candidate.precision, candidate.quantization,
        candidate.gradient_checkpointing,
    )  # fmt: skip
    return spread(divided, n_gpus).layers_per_gpu


def spread_that_fits(proposal: Proposal, task: Task, found: Fit, device: Device) -> Spread | None:
    """Return a way to train over the fewest GPUs of a kind, each of which it fits.

    Args:
        proposal: What is trained.
        task: Gives the lengths.
        found: The way to train it that does not fit on one.
        device: The kind of GPU.

    Returns:
        None where it fits on one, or not on any number of them, or nothing is known about the memory.
    """
    if found.fits or device.usable_bytes is None:
        return None
    divided = _layered(
        found.estimate, proposal.model, proposal.head, step_of(proposal, task, found.micro_batch_size),
        proposal.method.slug, proposal.hyperparameters, found.precision, found.quantization,
        found.gradient_checkpointing,
    )  # fmt: skip
    n = n_gpus_needed(divided, device.usable_bytes)
    return None if n is None else spread(divided, n)


def told(over: Spread | None, device: Device) -> str:
    """Name the GPUs that a step needs, as the end of a sentence about one that is too small; empty without any."""
    if over is None:
        return ""
    gpus = f"{len(over.gpus)} x {device.gpu.name}" if device.gpu is not None else f"{len(over.gpus)} such GPUs"
    return f"; {gpus} would do ({over.peak_memory_bytes / GIB:.1f} GiB at most on one)"


def _layered(
    estimate: Estimate,
    model: BaseModel,
    head: Head,
    step: Step,
    method: str,
    hyperparameters: Mapping[str, object],
    precision: Precision,
    quantization: Quantization | None,
    checkpointing: bool,
) -> LayeredStep:
    return layered(
        estimate, model.shape, head=head, step=step, precision=precision, quantization=quantization, method=method,
        hyperparameters=hyperparameters, gradient_checkpointing=checkpointing,
    )  # fmt: skip
