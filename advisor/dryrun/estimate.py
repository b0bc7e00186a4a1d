"""Memory, time and cost of a workload by a dry run: what `peft-advisor estimate` prints."""

from dataclasses import dataclass

from advisor.catalog.gpus import Gpu
from advisor.dryrun.allocator import Peaks
from advisor.dryrun.generation import Inference, inference_peaks
from advisor.dryrun.peaks import TrainingPeaks, peaks_of
from advisor.dryrun.roofline import step_time
from advisor.dryrun.step import StepTrace, run_step
from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from advisor.feasibility.device import context_bytes, cublas_workspace_bytes
from advisor.feasibility.estimate import Estimate
from advisor.spec import GIB

BASIS = "dry run"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a dry run says about a workload.

    Attributes:
        estimate: Memory and time of training.
        total_params: Parameters of base model and adapter.
        tokens_per_step: Tokens that one optimizer step processes.
        paged_bytes: Optimizer state in pageable memory, in no peak.
        inference_peak_bytes: Peak of evaluation or generation with the context, None when not asked for.
        usable_bytes: Memory that the process may take, None when no device was named.
        time_unknown: Why a GPU was named and there is no time, empty otherwise.
    """

    estimate: Estimate
    total_params: int
    tokens_per_step: int
    paged_bytes: int = 0
    inference_peak_bytes: int | None = None
    usable_bytes: int | None = None
    time_unknown: str = ""

    @property
    def peak_memory_bytes(self) -> int:
        """The larger of the peaks of training and of evaluation or generation."""
        return max(self.estimate.peak_memory_bytes, self.inference_peak_bytes or 0)

    @property
    def margin_bytes(self) -> int | None:
        """What is left of the device (negative when it is too small), None when no device was named."""
        return None if self.usable_bytes is None else self.usable_bytes - self.peak_memory_bytes

    @property
    def fits(self) -> bool | None:
        """Does it fit the device? None when no device was named."""
        return None if self.margin_bytes is None else self.margin_bytes >= 0

    @property
    def tokens_per_s(self) -> float | None:
        """Throughput on the named GPU, padding included."""
        step_time_s = self.estimate.step_time_s
        return None if step_time_s is None else self.tokens_per_step / step_time_s


def estimate_workload(
    workload: Workload,
    *,
    gpu: Gpu | None = None,
    usable_gib: float | None = None,
    inference: Inference | None = None,
) -> DryRun:
    """Dry-run a workload.

    Args:
        workload: The training step.
        gpu: Device to estimate time for, and to fit into.
        usable_gib: Memory to fit into, instead of the GPU's own.
        inference: Evaluation or generation to look at as well.

    Raises:
        InputError: Model, head, method and options do not go together.
    """
    trace = run_step(workload)
    workspace = cublas_workspace_bytes(gpu)
    peaks = peaks_of(trace, pack_size=workload.pack_size, workspace_bytes=workspace)
    evaluated = inference_peaks(workload, inference) if inference is not None else None
    step_time_s, time_unknown = _time(trace, workload, gpu)
    usable = usable_gib if usable_gib is not None else gpu.usable_gib if gpu is not None else None
    return DryRun(
        estimate=_estimate(trace, peaks, gpu, step_time_s),
        total_params=trace.total_params,
        tokens_per_step=workload.tokens,
        paged_bytes=peaks.paged_bytes,
        inference_peak_bytes=_with_context(evaluated, workspace, gpu),
        usable_bytes=None if usable is None else int(usable * GIB),
        time_unknown=time_unknown,
    )


def _time(trace: StepTrace, workload: Workload, gpu: Gpu | None) -> tuple[float | None, str]:
    """Return the step's time, or None and the reason: memory can be told without the rates of a GPU."""
    if gpu is None:
        return None, ""
    try:
        return step_time(trace.costs, gpu, accumulation=workload.accumulation), ""
    except InputError as error:
        return None, str(error)


def _estimate(trace: StepTrace, peaks: TrainingPeaks, gpu: Gpu | None, step_time_s: float | None) -> Estimate:
    context = context_bytes(gpu)
    parts = peaks.breakdown
    return Estimate(
        peak_memory_bytes=peaks.reserved_bytes + context,
        peak_reserved_bytes=peaks.reserved_bytes,
        peak_allocated_bytes=peaks.allocated_bytes,
        basis=BASIS,
        weights_bytes=parts.get("weights", 0),
        adapter_bytes=parts.get("adapter", 0),
        gradients_bytes=parts.get("gradients", 0),
        optimizer_bytes=parts.get("optimizer", 0),
        activations_bytes=parts.get("activations", 0) + parts.get("inputs", 0),
        logits_bytes=parts.get("logits", 0),
        workspace_bytes=parts.get("workspace", 0),
        fragmentation_bytes=peaks.reserved_bytes - peaks.allocated_bytes,
        context_bytes=context,
        trainable_params=trace.trainable_params,
        step_time_s=step_time_s,
    )


def _with_context(peaks: Peaks | None, workspace: int, gpu: Gpu | None) -> int | None:
    return None if peaks is None else peaks.reserved_bytes + workspace + context_bytes(gpu)
