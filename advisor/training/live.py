"""A trial between its start and its end on the device."""

from dataclasses import dataclass

from advisor.errors import AdvisorError
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel, changes_base
from advisor.modeling.devices import is_out_of_memory
from advisor.training.loop import NonFiniteLossError, Training
from advisor.training.packing.pack import pack_key
from advisor.trial import RungReport, TrialFailure, TrialSpec


@dataclass(slots=True, kw_only=True)
class LiveTrial:
    """A trial in a slot; without `training` while it waits for its turn, or when it failed to start.

    Attributes:
        spec: What is trained.
        attached: Model with its adapter.
        training: Its loop.
        failure: Why it is over.
        rung: The next rung that it is to reach.
        duration_s: Seconds of training and evaluation in which it took part.
        peak_memory_bytes: Highest peak of the device's memory while it took part.
        pack_size: Trials that shared its last passes.
        turn: Counts calls of `advance`; that of its last one.
    """

    spec: TrialSpec
    attached: AttachedModel | None = None
    training: Training | None = None
    failure: TrialFailure | None = None
    rung: int = 0
    duration_s: float = 0.0
    peak_memory_bytes: int | None = None
    pack_size: int = 1
    turn: int = 0

    @property
    def has_begun(self) -> bool:
        """Is it on the device, or over?"""
        return self.training is not None or self.failure is not None

    @property
    def is_exclusive(self) -> bool:
        """Must it have the base model for itself?"""
        return changes_base(self.spec.candidate)

    @property
    def target(self) -> int:
        """Optimizer step of its next rung."""
        return self.spec.rung_steps[self.rung]

    @property
    def pack_key(self) -> tuple[object, ...] | None:
        """What those must have in common with it that train in the same passes; None when it trains alone."""
        if self.attached is None:
            return None
        candidate = self.spec.candidate
        key = pack_key(self.attached, gradient_checkpointing=candidate.gradient_checkpointing)
        return None if key is None else (*key, candidate.precision, candidate.max_seq_length)

    def note(self, duration_s: float, peak_memory_bytes: int | None, pack_size: int) -> None:
        """Add what the last stretch of training or evaluation took."""
        self.duration_s += duration_s
        self.pack_size = pack_size
        peaks = [peak for peak in (self.peak_memory_bytes, peak_memory_bytes) if peak is not None]
        self.peak_memory_bytes = max(peaks, default=None)

    def report(self, metrics: dict[str, float], train_loss: float | None) -> RungReport:
        """Return what it shows at the rung that it has reached, or why it got no further."""
        training = self.training
        return RungReport(
            number=self.spec.number,
            rung=self.rung,
            step=training.step if training else 0,
            metrics={} if self.failure else metrics,
            train_loss=None if self.failure else train_loss,
            duration_s=self.duration_s,
            peak_memory_bytes=self.peak_memory_bytes,
            trainable_params=training.trainable_params if training else None,
            micro_batch_size=training.micro_batch_size if training else None,
            pack_size=self.pack_size,
            failure=self.failure,
        )


def failure_of(error: Exception) -> TrialFailure:
    """Say why a trial is over; what was not foreseen is recorded with its class, not raised."""
    message = " ".join(str(error).split())[:500] or type(error).__name__
    if is_out_of_memory(error):
        return TrialFailure(kind="out-of-memory", message=message)
    if isinstance(error, NonFiniteLossError):
        return TrialFailure(kind="nan-loss", message=message)
    if isinstance(error, UnsupportedCandidateError):
        return TrialFailure(kind="unsupported", message=message)
    if isinstance(error, AdvisorError):
        return TrialFailure(kind="error", message=message)
    return TrialFailure(kind="error", message=f"{type(error).__name__}: {message}")
