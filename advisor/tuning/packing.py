"""How many trials of a study are packed: what the user says, else what a measurement says, once for the whole study."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from advisor import records
from advisor.candidates import Candidate
from advisor.result import Packing
from advisor.trial import PackMeasurement
from advisor.tuning.events import PackingChosen, StageStarted

FILE_NAME = "packing.json"
LARGEST = 16


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
    on_event: Callable[[StageStarted | PackingChosen], None],
) -> Packing:
    """Return how the study packs: as in its earlier runs on this device, as asked, or as measured now.

    Args:
        folder: Run folder; the decision is kept there, since it decides which trials know of which.
        runner: Measures.
        candidate: The recommendation.
        asked: Trials in a pack; None to measure.
        n_trials: Of the study; a pack need not be larger.
        on_event: Told before something is measured, and what was decided.

    Raises:
        DataError: The saved decision is damaged.
    """
    path = folder / FILE_NAME
    known = records.read(Packing, path) if path.is_file() else None
    if known is not None and known.device == runner.device and (asked is None or asked == known.size):
        on_event(PackingChosen(packing=known))
        return known
    if asked is not None:
        packing = Packing(device=runner.device, size=asked, asked=True)
    else:
        on_event(StageStarted(text="measuring how many trials the device trains at once"))
        measured = runner.measure_packs(candidate, min(LARGEST, n_trials))
        packing = Packing(device=runner.device, size=_best(measured), asked=False, measured=measured)
    records.write(packing, path)
    on_event(PackingChosen(packing=packing))
    return packing


def _best(measured: tuple[PackMeasurement, ...]) -> int:
    from advisor.training.packing.choice import best_pack

    return best_pack(measured)
