"""A trial that is not finished: what the search knows of it, in memory and as it stands on disk."""

from dataclasses import dataclass, field, replace
from typing import Literal

import optuna

from advisor.trial import Inference, RungReport, TrialFailure, TrialRecord, TrialSpec, TrialState

Origin = Literal["recommendation", "sampler", "retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRecord:
    """A live trial on disk, as it was at the end of a round.

    Attributes:
        spec: What is trained.
        started_at: ISO 8601 time (UTC).
        reports: One per rung reached.
        checkpoint: Folder of its checkpoint, as seen from the folder of live trials; None while there is nothing to
            go on from.
    """

    spec: TrialSpec
    started_at: str
    reports: tuple[RungReport, ...]
    checkpoint: str | None


@dataclass(slots=True, kw_only=True)
class LiveTrial:
    """A trial that Optuna holds as running.

    Attributes:
        trial: Optuna's side of it.
        spec: What is trained.
        origin: As in `TrialRecord`.
        is_recommendation: Is it the first warm start?
        started_at: ISO 8601 time (UTC).
        reports: One per rung reached.
        checkpoint: As in `LiveRecord`.
        told_steps: Steps whose values Optuna has.
        is_undecided: Has its last report not been acted on yet?
        is_placed: Is it in a slot of the runner?
        is_lost: Has another process taken it over?
        inference: What prediction takes, once it has been measured at the end of training.
        since_s: When it last reported, or was placed, by the clock of the search.
    """

    trial: optuna.Trial
    spec: TrialSpec
    origin: Origin
    is_recommendation: bool
    started_at: str
    reports: list[RungReport] = field(default_factory=list)
    checkpoint: str | None = None
    told_steps: set[int] = field(default_factory=set)
    is_undecided: bool = False
    is_placed: bool = False
    is_lost: bool = False
    inference: Inference | None = None
    since_s: float = 0.0

    @property
    def number(self) -> int:
        """Optuna's trial number."""
        return self.spec.number

    @property
    def steps(self) -> int:
        """Optimizer steps done at the last rung."""
        return self.reports[-1].step if self.reports else 0

    @property
    def steps_to_next_rung(self) -> int:
        """Optimizer steps from the last rung to the next."""
        return next((step for step in self.spec.rung_steps if step > self.steps), self.steps) - self.steps

    @property
    def has_failed(self) -> bool:
        """Did its last report say that it is over?"""
        return bool(self.reports) and self.reports[-1].failure is not None

    def fail(self, message: str) -> None:
        """Turn its last report into that of a failure."""
        self.reports[-1] = replace(self.reports[-1], failure=TrialFailure(kind="error", message=message))

    def on_disk(self) -> LiveRecord:
        """Return the trial as it is kept for a later run."""
        return LiveRecord(
            spec=self.spec, started_at=self.started_at, reports=tuple(self.reports), checkpoint=self.checkpoint
        )

    def record(self, state: TrialState, metric: str) -> TrialRecord:
        """Return the trial as it stands in trials.jsonl if it ends now."""
        failure = self.reports[-1].failure if self.reports else None
        return TrialRecord(
            number=self.spec.number,
            state=state,
            candidate=self.spec.candidate,
            seed=self.spec.seed,
            origin=self.origin,
            value=None if failure else self.reports[-1].metrics[metric],
            reports=tuple(self.reports),
            started_at=self.started_at,
            failure=failure,
            inference=self.inference,
        )
