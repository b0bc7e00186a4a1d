"""Ranked feasible candidates with the reasons for them: what `recommend` prints and `tune` reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from advisor import records
from advisor.candidates import Candidate, Hyperparameters
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.errors import DataError
from advisor.evidence.forecast import Forecast
from advisor.feasibility import Estimate
from advisor.spec import Architecture, Budget, Precision, Quantization

SCHEMA_VERSION = 3
# What version 3 added has defaults: forecasts, rivals, other cards.
READABLE_VERSIONS = (2, 3)

Confidence = Literal["high", "medium", "low", "no evidence"]
RivalKind = Literal["zero-shot", "icl", "full"]
Role = Literal["best", "cheapest", "safest", "pareto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one choice was made.

    Attributes:
        choice: What was chosen, such as "method" or "learning_rate".
        text: One sentence for the user.
        evidence: Ids of the rows of `knowledge/evidence.jsonl` behind it; empty when there is none.
        figures: The number that each of those rows gives for this choice, in their order; empty where the rows are
            cited for what they found, not for one number.
        contrary: Ids of rows that speak against it.
    """

    choice: str
    text: str
    evidence: tuple[str, ...] = ()
    figures: tuple[float, ...] = ()
    contrary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """What could be done instead of tuning with this method.

    Attributes:
        kind: Which alternative.
        better: Expected to be the better choice here.
        forecast: Its quality relative to full fine-tuning of the same base model.
        text: In a sentence.
        evidence: Ids behind the forecast.
    """

    kind: RivalKind
    better: bool
    forecast: Forecast
    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChange:
    """What another amount of device memory would change.

    Attributes:
        vram_gib: That amount in GiB, as GPUs are sold.
        base_model: Base model of the first candidate there; None when nothing fits.
        method: Its method.
        quantization: Its storage.
        text: In a sentence.
    """

    vram_gib: float
    base_model: str | None
    method: str | None
    quantization: Quantization | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCandidate:
    """One line of a recommendation: a candidate (same fields as `Candidate`) with rank and reasons.

    Attributes:
        forecast: Expected quality relative to full fine-tuning of the same base model.
        score: What it was ranked by (`ranking`), in units of ten points; larger is better.
        roles: Why it is in the list beside its rank.
        training_time_s: Seconds of training for the epochs advised on the user's rows; None without rows or GPU.
        rivals: Untuned and fully tuned alternatives on the same base model.
        adapters: As in `Candidate`; nobody is recommended any, `tune` puts in those that it is given.
    """

    rank: int
    base_model: str
    architecture: Architecture
    method: str
    hyperparameters: Hyperparameters
    precision: Precision
    quantization: Quantization | None
    batch_size: int
    max_seq_length: int
    estimate: Estimate | None
    confidence: Confidence
    reasons: tuple[Reason, ...]
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    forecast: Forecast | None = None
    score: float = 0.0
    roles: tuple[Role, ...] = ()
    training_time_s: float | None = None
    rivals: tuple[Rival, ...] = ()
    adapters: tuple[TrainedAdapter, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """The candidate without rank and reasons."""
        return Candidate(
            base_model=self.base_model,
            architecture=self.architecture,
            method=self.method,
            hyperparameters=self.hyperparameters,
            precision=self.precision,
            quantization=self.quantization,
            batch_size=self.batch_size,
            max_seq_length=self.max_seq_length,
            micro_batch_size=self.micro_batch_size,
            gradient_checkpointing=self.gradient_checkpointing,
            adapters=self.adapters,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedCandidate:
    """A combination that was looked at and dropped, with the reason in one sentence."""

    base_model: str
    method: str
    precision: Precision
    quantization: Quantization | None
    estimate: Estimate | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer to a `CodeTask`; saved as recommendation.json.

    Attributes:
        candidates: Best first.
        rejected: Looked at and left out.
        cards: What less and more memory would change; empty where the memory is unknown.
        notes: What else the user should know, a sentence each.
    """

    schema_version: int = SCHEMA_VERSION
    task: str
    budget: Budget
    candidates: tuple[RankedCandidate, ...]
    rejected: tuple[RejectedCandidate, ...] = ()
    cards: tuple[CardChange, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.schema_version not in READABLE_VERSIONS:
            expected = f"schema_version {self.schema_version} is not {SCHEMA_VERSION}"
            raise ValueError(f"{expected}; make the file anew with `recommend --json`")


def read_recommendation(path: Path) -> Recommendation:
    """Read a recommendation that the user named.

    Raises:
        DataError: The file is missing or no recommendation; where it is no JSON, what to give is said.
    """
    try:
        return records.read(Recommendation, path)
    except DataError as error:
        if "not valid JSON" not in str(error):
            raise
        raise DataError(f"{error}; give the file that `recommend --output` wrote") from error
