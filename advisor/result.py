"""What a finished `tune` leaves: result.json, the record that the report is made from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from advisor.candidates import Candidate
from advisor.catalog.loaders import loaders_of
from advisor.catalog.prompts import Prompt
from advisor.trial import Evaluation, Objective, PackMeasurement, TradeOffs, TrialFailure, WorkerUse

# Version 2 has results of several seeds; what it adds has defaults, so that results of version 1 can still be read.
SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, SCHEMA_VERSION)
PROBE_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Trials in one pack, and why.

    Saved as packing.json, so that a study that is continued packs as it began: trials that are live together do not
    know of each other's results.

    Attributes:
        device: Where it was measured, for people.
        size: Trials that share forward and backward passes; 1 when packing is off.
        asked: The user gave the size.
        measured: Packs that were timed; empty when the user decided, when the candidate cannot be packed, or when
            memory has no room for two.
        bound: Most trials that memory has room for by an estimate, which larger packs were not tried for; None where
            nothing was estimated.
        bound_basis: How that was computed, such as "stored dry runs".
    """

    device: str
    size: int
    asked: bool
    measured: tuple[PackMeasurement, ...] = ()
    bound: int | None = None
    bound_basis: str = ""

    @property
    def reason(self) -> str:
        """One line for the user."""
        if self.asked:
            return f"{self.size} trials in a pack, as asked" if self.size > 1 else "packing off, as asked"
        if self.bound == 1:
            return f"packing off: memory has room for one trial (computed: {self.bound_basis})"
        if not self.measured:
            return "packing off: this candidate cannot share passes with others"
        alone = self.measured[0].trial_step_s
        if self.size > 1:
            gain = alone / next(one for one in self.measured if one.size == self.size).trial_step_s
            return f"{self.size} trials in a pack: {gain:.1f} times as many steps a second as one by one"
        if len(self.measured) == 1:
            return "packing off: memory has room for one trial"
        slower = self.measured[1].duration_s / self.measured[0].duration_s
        return f"packing off: device already full (a step of two together takes {slower:.1f} times as long as of one)"


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
        time_limit_s: Seconds of search, finals and final evaluation at most, None for no limit.
        rung_steps: Optimizer steps of the rungs of every trial.
        sampler: Optuna sampler's class name.
        pruner: Optuna pruner's class name.
        device: Such as "cpu" or "cuda (NVIDIA L4)".
        primary_metric: What the search maximises on the validation split.
        target: Value of the primary metric on the validation split at which the search ends, None for no target.
        final_seeds: Seeds that finalists are trained with, that of their trial included.
        objectives: What the search looks for; with more than quality every trial is trained to its end.
    """

    n_trials: int
    time_limit_s: float | None
    rung_steps: tuple[int, ...]
    sampler: str
    pruner: str
    device: str
    primary_metric: str
    target: float | None = None
    final_seeds: int = 1
    objectives: tuple[Objective, ...] = ("quality",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedValue:
    """How a finalist ended with one seed.

    Attributes:
        seed: Of head, adapter and dropout.
        value: Primary metric on the validation split at the end of training, None after a failure.
        failure: Why it has no value.
    """

    seed: int
    value: float | None
    failure: TrialFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A trial that was trained again with other seeds.

    Attributes:
        trial: Trial number.
        values: One per seed that was finished; the first is the trial itself.
    """

    trial: int
    values: tuple[SeedValue, ...]

    def complete(self, seeds: Collection[int]) -> tuple[float, ...]:
        """Return the values of those of the seeds with which it could be trained, in their order."""
        return tuple(one.value for one in self.values if one.seed in seeds and one.value is not None)

    def n_failed(self, seeds: Collection[int]) -> int:
        """Return with how many of the seeds it could not be trained."""
        return sum(one.seed in seeds and one.value is None for one in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """What the validation split says of the best trials, each trained with several seeds.

    Attributes:
        seeds: Planned; the first is the study's.
        counted: Those of them with which every finalist was finished: only they decide.
        finalists: Best first, as decided.
        recommendation: Trial of the recommendation, None when it is no finalist.
        stopped: Why there are not more: "all" is done, the "time" was over, or it was "interrupted".
    """

    seeds: tuple[int, ...]
    counted: tuple[int, ...]
    finalists: tuple[Finalist, ...]
    recommendation: int | None
    stopped: Literal["all", "time", "interrupted"]

    def __post_init__(self) -> None:
        if not self.finalists or not self.counted:
            raise ValueError("finals need a finalist and a seed that all finalists were trained with")

    @property
    def winner(self) -> int:
        """Trial that was decided for."""
        return self.finalists[0].trial


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """A contender as it was trained with one seed.

    Attributes:
        seed: Of head, adapter and dropout.
        validation: Primary metric on the validation split.
        evaluation: On the test split.
    """

    seed: int
    validation: float
    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the final comparison on the test split.

    Attributes:
        name: "recommendation", "best trial", or a baseline: "untuned base model", "majority class", "linear probe",
            "nearest training example", "examples in context", "retrieved examples in context", "full fine-tuning".
        trial: Trial number, None for a baseline.
        candidate: What was trained, None for a baseline that trains no part of the model.
        evaluation: On the test split; of several seeds the means, the seconds of all, and predictions and threshold of
            the seed with the best validation value.
        seeds: What the means are of; empty for a baseline that trains no part of the model.
    """

    name: str
    trial: int | None
    candidate: Candidate | None
    evaluation: Evaluation
    seeds: tuple[SeedResult, ...] = ()

    @property
    def note(self) -> str | None:
        """How a baseline comes to its answers, such as "logistic regression on ..."; None where nothing is noted."""
        return self.evaluation.note

    @property
    def delivered(self) -> SeedResult | None:
        """The seed with the best validation value, the earlier of equals: its adapter is the one to use."""
        return max(self.seeds, key=lambda one: one.validation, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Best trial minus another contender on the test split, paired over examples; means over seeds.

    Attributes:
        against: Name of the other contender.
        metric: Metric compared.
        value: Difference in the metric.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end.
        n_resamples: Bootstrap resamples.
        n_seeds: Seeds of the best trial. With more than one on either side the interval covers the choice of seeds
            too, else that of test examples alone.
        n_seeds_against: Seeds of the other contender, 1 for one that is not trained.
    """

    against: str
    metric: str
    value: float
    low: float
    high: float
    n_resamples: int
    n_seeds: int = 1
    n_seeds_against: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadCheck:
    """The saved adapter loaded in a fresh process that does not know how it was trained, evaluated on the test split.

    Attributes:
        passed: Whether every metric agrees within `tolerance`.
        metric: Name of the primary metric.
        expected: Value that training saw.
        reloaded: Value in the fresh process, with the threshold that the expected value was measured with.
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
        best_trial: Number of the winner on the validation split, after the finals where there were any.
        contenders: Comparison on the test split.
        differences: Best trial against the others.
        reload_check: Of the saved adapter: the best trial's, of the seed with the best validation value.
        stopped: Why the search ended: "trials", "time", "interrupted", or the "target" was reached.
        search_duration_s: Seconds of search, over all runs that resumed the study.
        versions: Package versions and Python's.
        device: As in the plan.
        finished_at: ISO 8601 time (UTC).
        warnings: What was odd about the data, one line each: overlaps between splits, dropped rows.
        probe: The step that was measured before the search, None where the device does not report its memory.
        finals: What decided between the best trials, None where no trial is complete.
        packing: How many trials shared passes, None in results of earlier versions.
        n_trials_finished: Trials on record when this was written, None in version 1.
        trade_offs: What quality costs in memory and time, None where no trial was measured.
        workers: How several workers were used; empty for one.
        prompt: What the best trial's decoder reads around a source; None for other models, and in results of earlier
            versions, which knew the plain template only.
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
    stopped: Literal["trials", "time", "interrupted", "target"]
    search_duration_s: float
    versions: Mapping[str, str]
    device: str
    finished_at: str
    warnings: tuple[str, ...] = ()
    probe: Probe | None = None
    finals: Finals | None = None
    packing: Packing | None = None
    n_trials_finished: int | None = None
    trade_offs: TradeOffs | None = None
    workers: tuple[WorkerUse, ...] = ()
    prompt: Prompt | None = None

    @property
    def threshold(self) -> float | None:
        """Probability from which on the saved adapter says the second of two labels, or any of a set of labels.

        None where it says the most probable answer, and in results of earlier versions.
        """
        best = next((row for row in self.contenders if row.trial == self.best_trial), None)
        return None if best is None or best.delivered is None else best.delivered.evaluation.threshold

    @property
    def loaders(self) -> str:
        """What loads the saved adapter, for people, such as "PEFT alone"."""
        best = next((row for row in self.contenders if row.trial == self.best_trial), None)
        return loaders_of("" if best is None or best.candidate is None else best.candidate.method)

    def __post_init__(self) -> None:
        if self.schema_version not in READABLE_VERSIONS:
            known = " or ".join(map(str, READABLE_VERSIONS))
            raise ValueError(f"schema_version {self.schema_version} is not {known}; it is from another peft-advisor")
