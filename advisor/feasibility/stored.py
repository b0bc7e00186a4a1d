"""The estimate of one training step in the fast zone: from a stored profile, else from the formula."""

from collections.abc import Mapping

from advisor.catalog.base_models import BaseModel
from advisor.catalog.gpus import Gpu
from advisor.catalog.tasks import Head
from advisor.errors import InputError
from advisor.feasibility.device import context_bytes, cublas_workspace_bytes
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.memory import Step, estimate_memory
from advisor.feasibility.profiles import (
    Point,
    ProfiledStep,
    StepProfile,
    find_profile,
    has_other_tensors,
    size_at,
)
from advisor.feasibility.step_time import OperatorTotals, time_of_totals
from advisor.spec import Precision, Quantization

BASIS = "stored dry runs"


def estimate_step(
    model: BaseModel,
    method: str,
    hyperparameters: Mapping[str, object],
    head: Head,
    step: Step,
    precision: Precision,
    quantization: Quantization | None = None,
    *,
    gradient_checkpointing: bool = False,
    accumulation: int = 1,
    gpu: Gpu | None = None,
) -> Estimate | None:
    """Estimate the step that `tune` would run.

    Args:
        model: The base model.
        method: Slug of the method.
        hyperparameters: The method's, under PEFT's names.
        head: Task head on the model.
        step: What one pass processes.
        precision: Arithmetic.
        quantization: Storage of the frozen base.
        gradient_checkpointing: Layers are computed anew in the backward pass.
        accumulation: Passes per optimizer step.
        gpu: Device to estimate time for.

    Returns:
        None where there is neither a profile nor a formula: checkpointing of models that no profile is stored for, and
        mixtures of experts.
    """
    profile = None
    if not model.local and not has_other_tensors(method, hyperparameters):
        profile = find_profile(model.hf_id, head, method, precision, quantization, gradient_checkpointing)
    if profile is not None:
        size = size_at(method, hyperparameters, model.shape)
        return _from_profile(profile, size, step, precision, accumulation, gpu)
    # Formulas know the active path of a mixture of experts only, neither all that is stored nor what is trained.
    if gradient_checkpointing or "mixture-of-experts" in model.traits:
        return None
    return estimate_memory(model, method, hyperparameters, head, step, precision, quantization)


def _from_profile(
    profile: StepProfile,
    size: int,
    step: Step,
    precision: Precision,
    accumulation: int,
    gpu: Gpu | None,
) -> Estimate:
    found = profile.at(
        Point(
            batch_size=step.batch_size, source_tokens=step.source_tokens, target_tokens=step.target_tokens, size=size
        ),
        accumulating=accumulation > 1,
    )
    workspace, context = cublas_workspace_bytes(gpu), context_bytes(gpu)
    allocated = found.requested_bytes + workspace
    kept = found.alive_bytes - found.gradients_bytes - found.logits_bytes - found.workspace_bytes
    return Estimate(
        peak_memory_bytes=allocated + found.overhead_bytes + context,
        peak_reserved_bytes=allocated + found.overhead_bytes,
        peak_allocated_bytes=allocated,
        basis=BASIS,
        weights_bytes=found.weights_bytes,
        adapter_bytes=found.adapter_bytes,
        gradients_bytes=found.gradients_bytes,
        optimizer_bytes=found.optimizer_bytes,
        activations_bytes=kept,
        logits_bytes=found.logits_bytes,
        workspace_bytes=found.workspace_bytes + workspace,
        fragmentation_bytes=found.overhead_bytes,
        context_bytes=context,
        trainable_params=found.trainable_params,
        step_time_s=_step_time_s(found, gpu, precision, accumulation),
    )


def _step_time_s(found: ProfiledStep, gpu: Gpu | None, precision: Precision, accumulation: int) -> float | None:
    if gpu is None:
        return None
    try:
        totals = OperatorTotals(**{name: max(0.0, value) for name, value in found.totals.items()})
        return time_of_totals(totals, gpu, precision, accumulation=accumulation).step_time_s
    except InputError:  # the catalogue lacks a rate of this GPU
        return None
