"""Ranked feasible candidates with the reasons for them: what `recommend` prints and `tune` reads."""

from dataclasses import dataclass
from typing import Literal

from advisor.candidates import Candidate, Hyperparameters
from advisor.feasibility import Estimate
from advisor.spec import Architecture, Budget, Precision, Quantization

SCHEMA_VERSION = 2

Confidence = Literal["high", "medium", "low", "no evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one choice was made.

    Attributes:
        choice: What was chosen, such as "method" or "learning_rate".
        text: One sentence for the user.
        evidence: Ids of the rows of `knowledge/evidence.jsonl` behind it; empty when there is none.
    """

    choice: str
    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCandidate:
    """One line of a recommendation: a candidate (same fields as `Candidate`) with rank and reasons."""

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
    """The answer to a `CodeTask`; saved as recommendation.json."""

    schema_version: int = SCHEMA_VERSION
    task: str
    budget: Budget
    candidates: tuple[RankedCandidate, ...]
    rejected: tuple[RejectedCandidate, ...] = ()

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            expected = f"schema_version {self.schema_version} is not {SCHEMA_VERSION}"
            raise ValueError(f"{expected}; make the file anew with `recommend --json`")
