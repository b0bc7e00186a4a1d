"""How many trials of a study are packed: what the user says, else what a measurement says, once for the whole study.

No pack is tried that cannot fit the device by the corrected estimates, since running out of memory takes long on some
devices and can fail other processes on them. Without such an estimate (a CPU, a base model that nothing is known about)
the measurements say by themselves when to stop.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from advisor import records
from advisor.candidates import Candidate
from advisor.feasibility import Estimate
from advisor.feasibility.memory import Step
from advisor.result import Packing
from advisor.trial import PackMeasurement
from advisor.tuning.events import PackingChosen, StageStarted
from advisor.tuning.probe import CorrectedEstimates

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
    estimates: CorrectedEstimates | None = None,
    on_event: Callable[[StageStarted | PackingChosen], None],
) -> Packing:
    """Return how the study packs: as in its earlier runs on this device, as asked, or as measured now.

    Args:
        folder: Run folder; the decision is kept there, since it decides which trials know of which.
        runner: Measures.
        candidate: The recommendation.
        asked: Trials in a pack; None to measure.
        n_trials: Of the study; a pack need not be larger.
        estimates: Say what fits; None where the device does not report its memory or nothing could be estimated.
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
        packing = _measured(runner, candidate, min(LARGEST, n_trials), estimates)
    records.write(packing, path)
    on_event(PackingChosen(packing=packing))
    return packing


def pack_bytes(alone: Estimate, batch: Estimate, size: int) -> int:
    """Return what the allocator holds for a pack: one graph over the rows of all, and an adapter for each.

    The same sum as a dry run of a pack makes (`dryrun.peaks`), and beside it the copies of the adapters that the
    pack's batched products run on, with their gradients (`training.packing.lora`).

    Args:
        alone: Step of one trial.
        batch: Step of one trial over the rows of all.
        size: Trials in the pack.
    """
    of_each = alone.adapter_bytes + alone.gradients_bytes + alone.optimizer_bytes
    copies = size * (alone.adapter_bytes + alone.gradients_bytes) if size > 1 else 0
    return batch.peak_reserved_bytes + (size - 1) * of_each + copies


def fitting_pack(candidate: Candidate, estimates: CorrectedEstimates, at_most: int) -> tuple[int, str] | None:
    """Return the largest pack of a candidate that fits by the corrected estimates, at least 1, and their basis.

    Args:
        candidate: That of the probe.
        estimates: With the step that was probed.
        at_most: Largest pack that is asked about.

    Returns:
        None where nothing is known about the base model.
    """
    from advisor.training.packing.choice import LARGEST_SHARE

    probe = estimates.probe
    rows = probe.micro_batch_size
    alone = _of_batch(candidate, estimates, rows, 1)
    if alone is None:
        return None
    for size in range(at_most, 1, -1):
        batch = _of_batch(candidate, estimates, rows, size)
        needed = None if batch is None else pack_bytes(alone, batch, size) * probe.memory_ratio
        if needed is not None and needed <= LARGEST_SHARE * probe.available_bytes:
            return size, alone.basis
    return 1, alone.basis


def _of_batch(candidate: Candidate, estimates: CorrectedEstimates, rows: int, size: int) -> Estimate | None:
    """Estimate a step of one trial that has the rows of as many trials in memory at once."""
    probe = estimates.probe
    step = Step(batch_size=rows * size, source_tokens=probe.source_tokens, target_tokens=probe.target_tokens)
    # As many micro-batches to a step as each trial has.
    return estimates.estimate(replace(candidate, batch_size=candidate.batch_size * size, micro_batch_size=None), step)


def _measured(
    runner: PackMeasurer, candidate: Candidate, at_most: int, estimates: CorrectedEstimates | None
) -> Packing:
    bound = None if estimates is None else fitting_pack(candidate, estimates, at_most)
    if bound is None:
        measured = runner.measure_packs(candidate, at_most)
        return Packing(device=runner.device, size=_best(measured), asked=False, measured=measured)
    size, basis = bound
    measured = runner.measure_packs(candidate, size) if size > 1 else ()
    return Packing(
        device=runner.device, size=_best(measured), asked=False, measured=measured, bound=size, bound_basis=basis
    )


def _best(measured: tuple[PackMeasurement, ...]) -> int:
    from advisor.training.packing.choice import best_pack

    return best_pack(measured)
