"""What the search tells the one who watches it."""

import signal
from dataclasses import dataclass

from advisor.trial import TrialRecord, TrialSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the study is.

    Attributes:
        n_finished: Trials finished, over all runs of the study.
        n_trials: Trials to run at most.
        best_number: Best trial so far, None before the first complete one.
        best_value: Its primary metric on the validation split.
        elapsed_s: Seconds of search, over all runs of the study.
        eta_s: Seconds to the end of the search, None before the first rung is measured.
    """

    n_finished: int
    n_trials: int
    best_number: int | None
    best_value: float | None
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A trial got a slot."""

    spec: TrialSpec
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReached:
    """A trial reported at a rung and goes on.

    Attributes:
        spec: The trial.
        rung: Index into its `rung_steps`.
        value: Primary metric on the validation split.
        progress: Of the search.
        peak_memory_bytes: As in `RungReport`.
    """

    spec: TrialSpec
    rung: int
    value: float
    progress: Progress
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFinished:
    """A trial is over: complete, pruned or failed.

    Attributes:
        record: The trial.
        is_best: Is it the best so far?
        progress: Of the search.
        elsewhere: Did another process finish it?
    """

    record: TrialRecord
    is_best: bool
    progress: Progress
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDropped:
    """A trial left this process without an end: another one has taken it over."""

    spec: TrialSpec
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptRequested:
    """Ctrl-C was pressed once, or another signal came: the search ends at the next rung.

    Attributes:
        signal: Its number.
    """

    signal: int = signal.SIGINT


SearchEvent = TrialStarted | RungReached | TrialFinished | TrialDropped | InterruptRequested
