"""The step that is measured before a search, and what it says about the estimates of the rest of the study."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from advisor import records
from advisor.candidates import Candidate
from advisor.catalog.base_models import find_base_model
from advisor.catalog.gpus import Gpu, find_gpu
from advisor.catalog.tasks import Task, head_of
from advisor.errors import AdvisorError, UnknownNameError
from advisor.feasibility import Estimate
from advisor.feasibility.activations import FUSED
from advisor.feasibility.memory import Step
from advisor.feasibility.stored import estimate_step
from advisor.result import Probe
from advisor.trial import StepMeasurement
from advisor.tuning.events import StageStarted

FILE_NAME = "probe.json"
Estimator = Callable[[Candidate, Step], Estimate | None]


class Prober(Protocol):
    """A runner that can measure a step, such as `training.runner.DeviceRunner`."""

    @property
    def device(self) -> str:
        """The device for people."""

    @property
    def reports_memory(self) -> bool:
        """Does the device say how much memory a step took?"""

    def probe(self, candidate: Candidate) -> StepMeasurement | None:
        """Measure one real training step of a candidate, None where that is not possible."""


def find_probe(
    folder: Path,
    runner: Prober,
    candidate: Candidate,
    estimate: Estimator,
    on_event: Callable[[StageStarted], None],
) -> Probe | None:
    """Return the probe of an earlier run of the study, or measure and save one.

    Args:
        folder: Run folder.
        runner: Measures.
        candidate: The recommendation.
        estimate: Computes what is measured.
        on_event: Told before something is measured.

    Returns:
        None where the device does not report its memory, the step cannot be run, or there is no estimate of it.

    Raises:
        DataError: The saved probe is damaged.
    """
    if not runner.reports_memory:
        return None
    path = folder / FILE_NAME
    if path.is_file():
        known = records.read(Probe, path)
        if known.device == runner.device and records.to_plain(known.candidate) == records.to_plain(candidate):
            return known
    on_event(StageStarted(text="measuring one training step of the recommendation"))
    measured = runner.probe(candidate)
    expected = None if measured is None else estimate(candidate, step_of(measured))
    if measured is None or expected is None:
        return None
    # What the allocator reserves is what a probe sees; the device's context is not in it.
    probe = Probe(
        candidate=candidate,
        device=runner.device,
        basis=expected.basis,
        micro_batch_size=measured.micro_batch_size,
        source_tokens=measured.source_tokens,
        target_tokens=measured.target_tokens,
        estimated_memory_bytes=expected.peak_reserved_bytes,
        measured_memory_bytes=measured.peak_memory_bytes,
        available_bytes=measured.available_bytes,
        estimated_step_s=expected.step_time_s,
        measured_step_s=measured.duration_s,
    )
    records.write(probe, path)
    return probe


def step_of(measured: StepMeasurement) -> Step:
    """Return the step that was measured as one that can be estimated."""
    return Step(
        batch_size=measured.micro_batch_size,
        source_tokens=measured.source_tokens,
        target_tokens=measured.target_tokens,
    )


def estimator_for(task: Task, device: str = "") -> Estimator:
    """Return what estimates a step of any candidate for a task.

    It has no estimate for base models that nothing is known about.

    Args:
        task: Decides the head.
        device: Name of the device as its driver gives it; time is estimated where the catalogue knows it.
    """
    gpu = _gpu(device)

    def estimate(candidate: Candidate, step: Step) -> Estimate | None:
        try:
            model = find_base_model(candidate.base_model)
        except AdvisorError:
            return None
        sizes = {**candidate.hyperparameters, **({FUSED: len(candidate.adapters)} if candidate.adapters else {})}
        return estimate_step(
            model, candidate.method, sizes, head_of(task, candidate.architecture), step,
            candidate.precision, candidate.quantization, gradient_checkpointing=candidate.gradient_checkpointing,
            accumulation=-(-candidate.batch_size // step.batch_size), gpu=gpu,
        )  # fmt: skip

    return estimate


def _gpu(device: str) -> Gpu | None:
    """Find the GPU of a description such as "cuda (NVIDIA L4)"."""
    name = device.partition("(")[2].rstrip(")") or device
    try:
        return find_gpu(name)
    except UnknownNameError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedEstimates:
    """Estimates of the study's candidates, multiplied by what the probe showed.

    One ratio stands for all of them: they share precision and data, and the base model unless several are searched. It
    says less about a method, or another base model, whose memory is made up differently.

    Attributes:
        probe: Measured and estimated memory of the recommendation.
        task: Gives the length of targets.
        estimate: Computes the estimate of a step.
    """

    probe: Probe
    task: Task
    estimate: Estimator

    def estimated_bytes(self, candidate: Candidate, micro_batch_size: int) -> int | None:
        """Return the uncorrected estimate with that many examples in memory at once, None where there is none."""
        found = self.estimate(candidate, self._step(candidate, micro_batch_size))
        return None if found is None else found.peak_reserved_bytes

    def corrected_bytes(self, candidate: Candidate, micro_batch_size: int) -> int | None:
        """Return the corrected estimate, None where there is none."""
        found = self.estimated_bytes(candidate, micro_batch_size)
        return None if found is None else round(found * self.probe.memory_ratio)

    def fitting_micro_batch(self, candidate: Candidate) -> int:
        """Return the candidate's micro-batch or the first of its halves that fits, 0 when single examples do not.

        Without an estimate everything is taken to fit.
        """
        size = candidate.micro_batch_size or candidate.batch_size
        while size >= 1:
            needed = self.corrected_bytes(candidate, size)
            if needed is None or needed <= self.probe.available_bytes:
                break
            size //= 2
        return size

    def _step(self, candidate: Candidate, micro_batch_size: int) -> Step:
        """Return the longest step: as long as the data, where the candidate reads as much of them as the probe did.

        Another base model has another tokenizer: there it is as long as can be.
        """
        probed, head = self.probe.candidate, head_of(self.task, candidate.architecture)
        is_same_base = candidate.base_model == probed.base_model
        source, target = self.probe.source_tokens, self.probe.target_tokens
        if not (is_same_base and candidate.max_seq_length == probed.max_seq_length):
            source = candidate.max_seq_length + (self.task.max_target_length if head == "causal-lm" else 0)
        if not is_same_base:
            target = self.task.max_target_length if head == "seq2seq-lm" else 0
        return Step(batch_size=micro_batch_size, source_tokens=source, target_tokens=target)
