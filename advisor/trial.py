"""The contract between search (decides) and training (runs).

Search starts trials in the free slots of a `TrialRunner`, lets all of them advance to their next rung,
looks at what they report, stops or continues each, and starts new ones. A runner that packs several
adapters on one base model offers more slots than one; search does not see the difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from advisor.candidates import Candidate
from advisor.execution.outcome import Outcome

Split = Literal["train", "valid", "test"]
# "infeasible" is not started: its memory estimate, corrected by what was measured, exceeds the device.
FailureKind = Literal["out-of-memory", "infeasible", "nan-loss", "unsupported", "error"]
TrialState = Literal["complete", "pruned", "failed"]
# What a study looks for: the highest primary metric, the least memory and the least time of prediction.
Objective = Literal["quality", "memory", "latency"]
OBJECTIVES: tuple[Objective, ...] = ("quality", "memory", "latency")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One trial to run.

    Attributes:
        number: Optuna's trial number.
        candidate: What to train.
        seed: For head and adapter initialisation and dropout; the order of the data is the same for all trials.
        rung_steps: Optimizer steps at which the trial reports, ascending; the last is the end of training.
    """

    number: int
    candidate: Candidate
    seed: int
    rung_steps: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.rung_steps or list(self.rung_steps) != sorted(set(self.rung_steps)) or self.rung_steps[0] < 1:
            raise ValueError(f"rung_steps must be ascending positive steps, not {self.rung_steps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailure:
    """Why a trial could not go on; a recorded result, not a crash."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReport:
    """What a trial shows at a rung, or why it got no further.

    Attributes:
        number: Trial number.
        rung: Index into `TrialSpec.rung_steps`.
        step: Optimizer steps done.
        metrics: Validation metrics by name (primary metric included); empty after a failure.
        train_loss: Mean loss since the last rung, nats per target token or per example.
        duration_s: Seconds of training and evaluation since the trial started.
        peak_memory_bytes: Measured peak of device memory (on CPU: peak resident memory), None if unknown.
        trainable_params: Parameters trained, head included.
        micro_batch_size: Examples in memory at once, fewer than the candidate asks for where those did not fit; None
            if unknown.
        pack_size: Trials that shared the forward and backward passes since the last rung, this one included.
        failure: Set when the trial is over for a reason other than its end.
    """

    number: int
    rung: int
    step: int
    metrics: Mapping[str, float]
    train_loss: float | None
    duration_s: float
    peak_memory_bytes: int | None = None
    trainable_params: int | None = None
    micro_batch_size: int | None = None
    pack_size: int = 1
    failure: TrialFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMeasurement:
    """What one real optimizer step took, on a device that reports its memory.

    Attributes:
        peak_memory_bytes: Most that PyTorch's allocator held of the device, cached blocks included.
        available_bytes: Most that it could hold: what it held and what was free, so neither the context nor what
            other processes take.
        duration_s: Of one optimizer step, all its micro-batches and the update included.
        micro_batch_size: Examples in memory at once.
        source_tokens: Length that its longest row was padded to; for a causal language model source and target.
        target_tokens: Length of the longest target of an encoder-decoder language model, else 0.
    """

    peak_memory_bytes: int
    available_bytes: int
    duration_s: float
    micro_batch_size: int
    source_tokens: int
    target_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackMeasurement:
    """What one optimizer step of several trials in one pack took.

    Attributes:
        size: Trials in the pack.
        duration_s: Of a step of all of them.
        peak_memory_bytes: As in `StepMeasurement`; None where the device does not report it.
    """

    size: int
    duration_s: float
    peak_memory_bytes: int | None = None

    @property
    def trial_step_s(self) -> float:
        """Seconds of the device for one step of one trial."""
        return self.duration_s / self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One example with what was expected and what came out, as text.

    Attributes:
        example_id: Of the example.
        source: What was read.
        expected: Right answer.
        predicted: Answer.
        outcome: What became of the answer when it was run as a program with its tests; None where none was run.
        error: Exception or limit that ended it, one line; empty for one that passed, None where none was run.
        scores: Probabilities that a classifier gave: of the second label where there are two, else of each label in
            the order of their ids. None for other answers, for baselines without a model, and where there are too many
            classes to keep them.
    """

    example_id: str
    source: str
    expected: str
    predicted: str
    outcome: Outcome | None = None
    error: str | None = None
    scores: tuple[float, ...] | None = None

    @property
    def is_right(self) -> bool:
        """Did the answer pass its tests, or, where none were run, is it the expected one?"""
        return self.predicted == self.expected if self.outcome is None else self.outcome == "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Metrics of one model on one split.

    Attributes:
        metrics: Values by metric name; the primary metric of the task is among them.
        n_examples: Examples evaluated.
        duration_s: Seconds it took.
        predictions: A few examples for the report, chosen by the runner with a fixed rule.
        note: For people, how a baseline comes to its answers and from how many training examples; None for what was
            trained, and in results of earlier versions.
        threshold: Probability from which on the second of two labels, or any of a set of labels, is said; chosen on
            the validation split. None where the most probable answer is taken, and in results of earlier versions.
    """

    metrics: Mapping[str, float]
    n_examples: int
    duration_s: float
    predictions: tuple[Prediction, ...] = ()
    note: str | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What a trained model takes when it predicts: measured alone, on the same examples for all trials of a study.

    Attributes:
        latency_s: Seconds per example.
        memory_bytes: Most memory that weights, adapter and predictions take together.
        memory_basis: "measured" where the device reports its memory; "estimated" where the sizes of all tensors that
            were alive at a time were added up.
        form: How the model was used: its adapter "merged" into the weights, which PEFT does without loss for some
            methods; the "adapter" beside them; or a "model" without an adapter, after full fine-tuning.
        computation: Names what was computed (shapes of weights and batches). Models with equal names do the same
            arithmetic on other numbers, so that a difference between their figures is noise.
        n_examples: Validation examples that were predicted.
        batch_size: Of these at once, at most.
        new_tokens: Tokens generated for each, however long the model's own answer would be; 0 for classification.
    """

    latency_s: float
    memory_bytes: int
    memory_basis: Literal["measured", "estimated"]
    form: Literal["merged", "adapter", "model"]
    computation: str
    n_examples: int
    batch_size: int
    new_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.latency_s < float("inf") or self.memory_bytes < 1:
            raise ValueError(f"inference cannot take {self.latency_s} s and {self.memory_bytes} bytes")


class TrialRunner(Protocol):
    """Trains trials. Implemented by `training.runner.DeviceRunner`, and by a fake in the tests of search."""

    @property
    def slots(self) -> int:
        """How many trials may be live at once."""

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Place a trial in a free slot. Its first failure is reported by `advance`, not raised.

        Args:
            trial: What to train.
            checkpoint: Folder that `checkpoint` wrote for the same trial, to go on from there; None to begin. A
                folder that cannot be used raises DataError, and the slot stays free.
        """

    def advance(self) -> tuple[RungReport, ...]:
        """Train live trials to a rung; return one report for each that reached one or failed (never empty)."""

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write all that a live trial needs to go on from where it stands: whole or not at all.

        It may stand between rungs, when others of its pack have reached theirs.

        Raises:
            RuntimeError: It has nothing to go on from: it waits for its turn, or is over.
        """

    def measure_inference(self, number: int) -> Inference | None:
        """Measure what predicting with a live trial's model takes; nothing of it stays, and training can go on.

        Returns:
            None where it cannot be measured.

        Raises:
            RuntimeError: This trial is not live or has failed.
        """

    def save(self, number: int, folder: Path) -> None:
        """Write the live trial's adapter (ordinary PEFT format, or a model folder for full fine-tuning)."""

    def stop(self, number: int) -> None:
        """Free the slot of a finished, pruned or failed trial and its memory."""

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Evaluate a saved adapter, or the untuned base model when `adapter` is None, on a split.

        What was trained tells two classes, and sets of labels, on the test split by the threshold that is best on the
        validation split; elsewhere, and by the untuned model, the more probable answer is taken.

        Args:
            candidate: What the adapter was trained as; its base model, precision and lengths are used.
            adapter: Folder written by `save`, or None.
            split: Which split.
            seed: Of the untuned classification head, when there is one.
            predictions: File to write with one JSON object (`Prediction`) per example of the split, or None.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A finished trial: one line of trials.jsonl.

    Attributes:
        number: Optuna's trial number.
        state: How it ended.
        candidate: What was trained.
        seed: As in `TrialSpec`.
        origin: "recommendation" for a warm-start point, "sampler" for the rest; "retry" stands in studies of earlier
            versions, which ran interrupted trials again.
        value: Primary metric on the validation split at the last rung reached, None after a failure.
        reports: One per rung reached.
        started_at: ISO 8601 time (UTC).
        failure: Reason, when failed.
        inference: What prediction takes, measured at the end of training; None for a trial that did not get there, and
            in studies of earlier versions.
    """

    number: int
    state: TrialState
    candidate: Candidate
    seed: int
    origin: Literal["recommendation", "sampler", "retry"]
    value: float | None
    reports: tuple[RungReport, ...]
    started_at: str
    failure: TrialFailure | None = None
    inference: Inference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUse:
    """How one of several workers spent the time of search and finals, in this run of the study.

    Attributes:
        name: For people, with its device.
        n_trials: Trials and final runs that began on it.
        busy_s: Seconds in which it did something.
        idle_s: Seconds in which it waited.
        n_lost: How often its process ended and was replaced.
    """

    name: str
    n_trials: int
    busy_s: float
    idle_s: float
    n_lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """A complete trial by all that it may be chosen for.

    Attributes:
        trial: Trial number.
        quality: Primary metric on the validation split, of one run.
        memory_bytes: As in `Inference`; of the first trial that computed the same.
        latency_s: Likewise.
    """

    trial: int
    quality: float
    memory_bytes: int
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOffs:
    """What the user can choose from besides the best trial.

    Attributes:
        objectives: What the front is over.
        trials: Complete trials that were measured, in the order of their numbers.
        front: Those that no other is better than in one objective and as good as in the others: best quality first,
            of equals the one that takes less. Their adapters stay in the run folder.
        knee: The one nearest to the best of everything when each objective is scaled to its range on the front; None
            for a front of one or two.
    """

    objectives: tuple[Objective, ...]
    trials: tuple[TradeOff, ...]
    front: tuple[int, ...]
    knee: int | None

    def __post_init__(self) -> None:
        if not self.front or not {*self.front} <= {one.trial for one in self.trials}:
            raise ValueError("a front holds trials that were measured, and at least one")

    def of(self, trial: int) -> TradeOff | None:
        """Return a trial by number, None when it was not measured."""
        return next((one for one in self.trials if one.trial == trial), None)
