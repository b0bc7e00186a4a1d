"""A `TrialRunner` whose rungs take as much processor time as they are told, or none at all."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from advisor import durable
from advisor.candidates import Candidate
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialSpec

METRIC = "f1"
_BLOCK = bytes(4096)


def make_runner(n_blocks: int) -> "InstantRunner":
    """Make the runner in the process of a worker."""
    return InstantRunner(n_blocks=n_blocks)


def burn(n_blocks: int) -> str:
    """Do a fixed amount of work on one core: hash so many blocks, each after the one before."""
    digest = hashlib.sha256()
    for _ in range(n_blocks):
        digest.update(_BLOCK[:2000])  # below 2,048 bytes hashlib keeps the interpreter's lock: one thread, one core
    return digest.hexdigest()


@dataclass(slots=True, kw_only=True)
class InstantRunner:
    """Implements `advisor.trial.TrialRunner` with one slot; all trials are equally good, so none is pruned.

    Attributes:
        n_blocks: Work of each rung.
    """

    n_blocks: int
    slots: int = 1
    _rungs: dict[int, int] = field(default_factory=dict)
    _specs: dict[int, TrialSpec] = field(default_factory=dict)

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Place a trial.

        Raises:
            RuntimeError: The slot is taken.
        """
        if self._specs:
            raise RuntimeError(f"the slot is taken; trial {trial.number} must wait")
        self._specs[trial.number] = trial
        self._rungs[trial.number] = int((checkpoint / "rung").read_text()) if checkpoint else 0

    def advance(self) -> tuple[RungReport, ...]:
        """Bring the live trial to its next rung."""
        ((number, spec),) = self._specs.items()
        burn(self.n_blocks)
        rung = self._rungs[number]
        self._rungs[number] += 1
        return (
            RungReport(
                number=number, rung=rung, step=spec.rung_steps[rung], metrics={METRIC: 0.5}, train_loss=1.0,
                duration_s=0.0,
            ),
        )  # fmt: skip

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write how far the live trial is."""
        part = folder.with_name(folder.name + ".part")
        part.mkdir()
        (part / "rung").write_text(str(self._rungs[number]))
        durable.put_in_place(part, folder)

    def measure_inference(self, number: int) -> Inference | None:
        """Return nothing: there is no model."""
        return None

    def save(self, number: int, folder: Path) -> None:
        """Write something in the place of an adapter."""
        (folder / "rung").write_text(str(self._rungs[number]))

    def stop(self, number: int) -> None:
        """Free the slot."""
        del self._specs[number], self._rungs[number]

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Refuse: a search does not evaluate.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a search does not evaluate")
