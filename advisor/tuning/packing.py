"""How many trials of a study are packed: what the user says, else what a measurement says, once for the whole study."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from advisor import records
from advisor.candidates import Candidate
from advisor.trial import PackMeasurement
from advisor.tuning.events import StageStarted

FILE_NAME = "packing.json"
LARGEST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Trials in one pack, and why.

    Attributes:
        device: Where it was measured, for people.
        size: Trials that share forward and backward passes; 1 when packing is off.
        asked: The user gave the size.
        measured: Packs that were timed; empty when the user decided, or when the candidate cannot be packed.
    """

    device: str
    size: int
    asked: bool
    measured: tuple[PackMeasurement, ...] = ()

    @property
    def reason(self) -> str:
        """One line for the user."""
        if self.asked:
            return f"{self.size} trials in a pack, as asked" if self.size > 1 else "packing off, as asked"
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


class PackMeasurer(Protocol):
    """A runner that can time packs, such as `training.runner.DeviceRunner`."""

    @property
    def device(self) -> str:
        """The device for people."""

    def measure_packs(self, candidate: Candidate, at_most: int) -> tuple[PackMeasurement, ...]:
        """Time training steps of larger and larger packs of a candidate."""


def find_packing(
    folder: Path,
    runner: PackMeasurer,
    candidate: Candidate,
    *,
    asked: int | None,
    n_trials: int,
    on_event: Callable[[StageStarted], None],
) -> Packing:
    """Return how the study packs: as in its earlier runs on this device, as asked, or as measured now.

    Args:
        folder: Run folder; the decision is kept there, since it decides which trials know of which.
        runner: Measures.
        candidate: The recommendation.
        asked: Trials in a pack; None to measure.
        n_trials: Of the study; a pack need not be larger.
        on_event: Told before something is measured.

    Raises:
        DataError: The saved decision is damaged.
    """
    path = folder / FILE_NAME
    if path.is_file():
        known = records.read(Packing, path)
        if known.device == runner.device and (asked is None or asked == known.size):
            return known
    if asked is not None:
        packing = Packing(device=runner.device, size=asked, asked=True)
    else:
        on_event(StageStarted(text="measuring how many trials the device trains at once"))
        measured = runner.measure_packs(candidate, min(LARGEST, n_trials))
        packing = Packing(device=runner.device, size=_best(measured), asked=False, measured=measured)
    records.write(packing, path)
    return packing


def _best(measured: tuple[PackMeasurement, ...]) -> int:
    from advisor.training.packing.choice import best_pack

    return best_pack(measured)
