"""What a finished `tune` leaves: result.json, the record that the report is made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from advisor.candidates import Candidate
from advisor.trial import Evaluation

SCHEMA_VERSION = 1
PROBE_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One real training step of the recommendation, measured before the search, beside what was estimated for it.

    Saved as probe.json, so that a study that is continued does not measure again. Memory is what PyTorch's allocator
    holds of the device.

    Attributes:
        schema_version: Of this record.
        candidate: What was trained: the recommendation.
        device: Such as "cuda:0 (NVIDIA L4)".
        basis: How the estimate was computed, such as "dry run".
        micro_batch_size: Examples in memory at once; fewer than the candidate asks for when those did not fit.
        source_tokens: As in `StepMeasurement`.
        target_tokens: As in `StepMeasurement`.
        estimated_memory_bytes: Computed peak of this step.
        measured_memory_bytes: Observed peak of this step.
        available_bytes: Most that the allocator could hold, as observed.
        estimated_step_s: Computed time of an optimizer step, None when no time was estimated.
        measured_step_s: Observed time of an optimizer step.
    """

    schema_version: int = PROBE_SCHEMA_VERSION
    candidate: Candidate
    device: str
    basis: str
    micro_batch_size: int
    source_tokens: int
    target_tokens: int
    estimated_memory_bytes: int
    measured_memory_bytes: int
    available_bytes: int
    estimated_step_s: float | None
    measured_step_s: float

    def __post_init__(self) -> None:
        if self.schema_version != PROBE_SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is not {PROBE_SCHEMA_VERSION}; remove the file")
        for name in ("micro_batch_size", "estimated_memory_bytes", "measured_memory_bytes", "available_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.estimated_step_s is not None and not self.estimated_step_s > 0:
            raise ValueError("estimated_step_s must be positive")

    @property
    def memory_ratio(self) -> float:
        """Measured over estimated memory: what other estimates of the study are multiplied by."""
        return self.measured_memory_bytes / self.estimated_memory_bytes

    @property
    def time_ratio(self) -> float | None:
        """Measured over estimated time of a step, None when no time was estimated."""
        return None if self.estimated_step_s is None else self.measured_step_s / self.estimated_step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """One split as it was read.

    Attributes:
        path: As the user gave it.
        sha256: Of the file's bytes.
        n_examples: Rows used.
        label_counts: Rows per label for classification, else empty.
        median_tokens: Median length of the tokenized source (pair) in tokens, before truncation.
        truncated: Rows longer than the candidate's `max_seq_length`.
    """

    path: str
    sha256: str
    n_examples: int
    label_counts: Mapping[str, int]
    median_tokens: float | None
    truncated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was decided before the first step.

    Attributes:
        n_trials: Trials to run at most.
        time_limit_s: Seconds of search at most, None for no limit.
        rung_steps: Optimizer steps of the rungs of every trial.
        sampler: Optuna sampler's class name.
        pruner: Optuna pruner's class name.
        device: Such as "cpu" or "cuda (NVIDIA L4)".
        primary_metric: What the search maximises on the validation split.
    """

    n_trials: int
    time_limit_s: float | None
    rung_steps: tuple[int, ...]
    sampler: str
    pruner: str
    device: str
    primary_metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the final comparison on the test split.

    Attributes:
        name: "untuned base model", "majority class", "recommendation" or "best trial".
        trial: Trial number, None for a baseline.
        candidate: What was trained, None for a baseline that trains nothing.
        evaluation: On the test split.
    """

    name: str
    trial: int | None
    candidate: Candidate | None
    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Best trial minus another contender on the test split, paired over examples.

    Attributes:
        against: Name of the other contender.
        metric: Metric compared.
        value: Difference in the metric.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end.
        n_resamples: Bootstrap resamples.
    """

    against: str
    metric: str
    value: float
    low: float
    high: float
    n_resamples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadCheck:
    """The saved adapter loaded by PEFT alone in a fresh process, evaluated on the test split.

    Attributes:
        passed: Whether every metric agrees within `tolerance`.
        metric: Name of the primary metric.
        expected: Value that training saw.
        reloaded: Value in the fresh process.
        tolerance: Greatest difference allowed.
    """

    passed: bool
    metric: str
    expected: float
    reloaded: float
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """Saved as result.json. Trials stand in trials.jsonl, the recommendation in recommendation.json.

    Attributes:
        schema_version: Of this record.
        task: Task slug.
        seed: The study's seed.
        command: The command line that was run, for reproduction.
        plan: What was decided before the first step.
        data: Facts by split.
        best_trial: Number of the winner on the validation split.
        contenders: Comparison on the test split.
        differences: Best trial against the others.
        reload_check: Of the saved adapter.
        stopped: Why the search ended: "trials", "time" or "interrupted".
        search_duration_s: Seconds of search, over all runs that resumed the study.
        versions: Package versions and Python's.
        device: As in the plan.
        finished_at: ISO 8601 time (UTC).
        warnings: What was odd about the data, one line each: overlaps between splits, dropped rows.
        probe: The step that was measured before the search, None where the device does not report its memory.
    """

    schema_version: int = SCHEMA_VERSION
    task: str
    seed: int
    command: str
    plan: Plan
    data: Mapping[str, DatasetFacts]
    best_trial: int
    contenders: tuple[Contender, ...]
    differences: tuple[Difference, ...]
    reload_check: ReloadCheck
    stopped: Literal["trials", "time", "interrupted"]
    search_duration_s: float
    versions: Mapping[str, str]
    device: str
    finished_at: str
    warnings: tuple[str, ...] = ()
    probe: Probe | None = None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is not {SCHEMA_VERSION}; run `tune` again")
