"""The contract between `tracking`, which knows studies, and the trackers, which know where to put things."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Scalar = bool | int | float | str
EndState = Literal["finished", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """One run of a tracker: the study itself, a trial, or a finalist with another seed.

    Attributes:
        key: Within the study: "study", "trial-3", "final-3-seed1".
        title: For people.
        kind: What it is.
        params: What fixes it; the same whenever it goes on.
        facts: What may change when it goes on, such as the command line.
    """

    key: str
    title: str
    kind: Literal["study", "trial", "final"]
    params: Mapping[str, Scalar]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Values at one step.

    Attributes:
        step: Optimizer steps done; for the study, trials finished.
        at_s: Seconds since the epoch.
        values: By name, finite.
    """

    step: int
    at_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
        state: An interrupted run may go on later.
        point: What is known at the end only; its values are never empty unless the run was interrupted.
        facts: Likewise, as text.
        files: To be kept with the run where the tracker can.
    """

    state: EndState
    point: Point
    facts: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()


class Tracker(Protocol):
    """Somewhere to log runs. Whatever it raises ends its use, not the study."""

    @property
    def place(self) -> str:
        """Where the runs are, so that a study that is continued elsewhere is logged anew there."""

    @property
    def is_empty(self) -> bool:
        """Is the place known to hold nothing, for instance because its files were removed?"""

    def begin(self, run: TrackedRun, *, is_new: bool, step: int) -> None:
        """Begin a run or go on with it.

        Args:
            run: What it is.
            is_new: Whether nothing of it was noted as logged; the tracker may hold it nevertheless, when the process
                was killed before that was noted.
            step: Last step that was noted as logged, 0 for none.
        """

    def log(self, key: str, point: Point) -> None:
        """Log values of a run that was begun. When this returns a killed process does not lose them."""

    def end(self, key: str, ending: Ending) -> None:
        """End a run that was begun."""

    def close(self) -> None:
        """Free what is held; all runs have ended."""
