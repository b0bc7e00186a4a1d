"""A runner that does not start what will not fit: trials are placed by corrected estimates, not by trial and error."""

from dataclasses import replace
from pathlib import Path

from advisor.candidates import Candidate
from advisor.spec import GIB
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialFailure, TrialRunner, TrialSpec
from advisor.tuning.probe import CorrectedEstimates


class GuardedRunner:
    """Implements `advisor.trial.TrialRunner` around another one.

    A trial whose corrected estimate exceeds the device starts with a smaller micro-batch, which its reports name; the
    effective batch stays. One that does not fit at all is reported as infeasible, with the numbers.
    """

    def __init__(self, runner: TrialRunner, estimates: CorrectedEstimates) -> None:
        """Guard `runner` by `estimates`."""
        self._runner = runner
        self._estimates = estimates
        self._refused: dict[int, TrialFailure] = {}

    @property
    def slots(self) -> int:
        """How many trials may be live at once."""
        return self._runner.slots

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Start a trial as it fits, or keep it to be reported as infeasible."""
        asked = trial.candidate.micro_batch_size or trial.candidate.batch_size
        fitting = self._estimates.fitting_micro_batch(trial.candidate)
        if fitting == 0:
            self._refused[trial.number] = self._infeasible(trial.candidate)
        elif fitting < asked:
            fitted = replace(trial, candidate=replace(trial.candidate, micro_batch_size=fitting))
            self._runner.start(fitted, checkpoint=checkpoint)
        else:
            self._runner.start(trial, checkpoint=checkpoint)

    def advance(self) -> tuple[RungReport, ...]:
        """Report trials that were not started; without any, advance the others."""
        if not self._refused:
            return self._runner.advance()
        return tuple(
            RungReport(number=number, rung=0, step=0, metrics={}, train_loss=None, duration_s=0.0, failure=failure)
            for number, failure in self._refused.items()
        )

    def checkpoint(self, number: int, folder: Path) -> None:
        """See `TrialRunner`."""
        self._runner.checkpoint(number, folder)

    def measure_inference(self, number: int) -> Inference | None:
        """See `TrialRunner`."""
        return self._runner.measure_inference(number)

    def save(self, number: int, folder: Path) -> None:
        """See `TrialRunner`."""
        self._runner.save(number, folder)

    def stop(self, number: int) -> None:
        """Free the slot of a trial, if it ever had one."""
        if self._refused.pop(number, None) is None:
            self._runner.stop(number)

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """See `TrialRunner`."""
        return self._runner.evaluate(candidate, adapter, split, seed=seed, predictions=predictions)

    def _infeasible(self, candidate: Candidate) -> TrialFailure:
        probe = self._estimates.probe
        estimated = self._estimates.estimated_bytes(candidate, 1) or 0
        corrected = self._estimates.corrected_bytes(candidate, 1) or 0
        return TrialFailure(
            kind="infeasible",
            message=f"needs about {corrected / GIB:.2f} GiB with one example at once (estimate {estimated / GIB:.2f} "
            f"GiB x {probe.memory_ratio:.2f} as measured before the search), the device has "
            f"{probe.available_bytes / GIB:.2f} GiB",
        )
