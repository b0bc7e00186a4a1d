"""The dry run of a measured case, kept so that other constants can be tried on it."""

from dataclasses import dataclass

from advisor.catalog.gpus import Gpu
from advisor.catalog.tasks import Head
from advisor.dryrun.allocator import Peaks
from advisor.dryrun.generation import Inference, inference_peaks
from advisor.dryrun.interpretation import has_flash
from advisor.dryrun.peaks import peaks_of
from advisor.dryrun.peft_methods import config_from_dict
from advisor.dryrun.roofline import simulate
from advisor.dryrun.step import StepTrace, run_step
from advisor.dryrun.workload import Workload
from advisor.feasibility.device import cublas_workspace_bytes
from advisor.feasibility.step_time import CONSTANTS, RooflineConstants, StepTime
from advisor.modeling.meta import read_model_source
from studies.step_accuracy.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What the dry run found, before any constant of a device comes in.

    Attributes:
        workload: The step.
        gpu: Where it was measured.
        trace: Of a training step, None without training.
        peaks: Without training, None otherwise.
    """

    workload: Workload
    gpu: Gpu
    trace: StepTrace | None = None
    peaks: Peaks | None = None

    def as_shipped(self) -> dict[str, float | None]:
        """Return the quantities with the constants that the library has."""
        return self.with_(cublas_workspace_bytes(self.gpu), CONSTANTS)

    def with_(self, workspace_bytes: int, constants: RooflineConstants) -> dict[str, float | None]:
        """Return the quantities, by the names of the measured ones, with these constants."""
        if self.trace is None:
            assert self.peaks is not None
            return {
                "allocated_bytes": self.peaks.allocated_bytes + workspace_bytes,
                "reserved_bytes": self.peaks.reserved_bytes + workspace_bytes,
            }
        peaks = peaks_of(self.trace, workspace_bytes=workspace_bytes)
        time = self.time(constants)
        return {
            "resident_bytes": sum(nbytes for _, nbytes in self.trace.events[: self.trace.step_begins]),
            "allocated_bytes": peaks.allocated_bytes,
            "reserved_bytes": peaks.reserved_bytes,
            "step_s": time.step_time_s,
            "kernel_s": time.device_s,
        }

    def time(self, constants: RooflineConstants) -> StepTime:
        """Return the time of a training step with these constants."""
        assert self.trace is not None
        return simulate(self.trace.costs, self.gpu, accumulation=self.workload.accumulation, constants=constants)


def dry_run(case: Case, gpu: Gpu) -> DryRun:
    """Dry-run a case.

    Raises:
        AdvisorError: The library refuses it.
    """
    workload = workload_of(case, gpu)
    if case.mode == "training":
        return DryRun(workload=workload, gpu=gpu, trace=run_step(workload))
    inference = Inference(batch_size=case.batch_size, seq_length=case.seq_length, new_tokens=case.new_tokens)
    return DryRun(workload=workload, gpu=gpu, peaks=inference_peaks(workload, inference))


def workload_of(case: Case, gpu: Gpu) -> Workload:
    """Return what the dry run takes for the same step."""
    head: Head = case.head  # type: ignore[assignment]
    return Workload(
        source=read_model_source(case.base_model), head=head,
        peft_config=None if case.adapter is None else config_from_dict(case.adapter, source=case.name),
        precision=case.precision, quantization=case.quantization, autocast=case.autocast, optimizer=case.optimizer,
        gradient_checkpointing=case.gradient_checkpointing, attention=case.attention, batch_size=case.batch_size,
        seq_length=case.seq_length, target_length=case.target_length, accumulation=case.accumulation,
        holds_outputs=case.holds_outputs, flash_capable=has_flash(gpu),
    )  # type: ignore[arg-type]  # fmt: skip
