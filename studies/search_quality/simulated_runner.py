"""A `TrialRunner` that trains nothing: reports come from the surrogate of the recorded table."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from advisor import durable
from advisor.candidates import Candidate
from advisor.errors import DataError, InputError
from advisor.records import to_plain
from advisor.search_space import SearchSpace
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialSpec
from studies.search_quality.surrogate import Point

# (point, seed) -> step -> value
Curves = Callable[[Point, int], dict[int, float]]


@dataclass(slots=True)
class _Live:
    spec: TrialSpec
    curve: dict[int, float]
    rung: int = 0


@dataclass(slots=True, kw_only=True)
class SimulatedRunner:
    """Implements `advisor.trial.TrialRunner`: every trial advances by one rung at a time, one after the other.

    Attributes:
        space: What the trials are drawn from.
        curves: Values of a point at every recorded step.
        metric: Name under which they are reported.
        noise_seed: Of the study; goes into the noise in place of the trial's own seed.
        slots: Trials that may be live at once.
        steps_trained: Optimizer steps that the reports so far stand for.
    """

    space: SearchSpace
    curves: Curves
    metric: str
    noise_seed: int
    slots: int = 1
    steps_trained: int = 0
    _live: dict[int, _Live] = field(default_factory=dict)

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Place a trial in a free slot.

        Raises:
            RuntimeError: All slots are taken, or the trial is live already.
            DataError: The checkpoint is not one of this trial.
        """
        if len(self._live) >= self.slots or trial.number in self._live:
            raise RuntimeError(f"no free slot for trial {trial.number}")
        rung = 0 if checkpoint is None else _read_rung(checkpoint, trial)
        curve = self.curves(point_of(trial.candidate, self.space), self.noise_seed)
        if missing := set(trial.rung_steps) - set(curve):
            raise InputError(f"no values at steps {sorted(missing)}: the table has {sorted(curve)}")
        self._live[trial.number] = _Live(trial, curve, rung)

    def advance(self) -> tuple[RungReport, ...]:
        """Bring every live trial to its next rung.

        Raises:
            RuntimeError: There is no live trial, or one has reached its last rung.
        """
        if not self._live or any(live.rung == len(live.spec.rung_steps) for live in self._live.values()):
            raise RuntimeError("no live trial that could be advanced")
        return tuple(self._report(live) for live in self._live.values())

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write how far a live trial is."""
        live = self._live[number]
        part = folder.with_name(folder.name + ".part")
        part.mkdir()
        (part / "trial.json").write_text(json.dumps({"candidate": to_plain(live.spec.candidate), "rung": live.rung}))
        durable.put_in_place(part, folder)

    def measure_inference(self, number: int) -> Inference | None:
        """Return nothing: the table knows neither memory nor time."""
        return None

    def save(self, number: int, folder: Path) -> None:
        """Write the metric of a live trial in the place of an adapter."""
        live = self._live[number]
        (folder / "metrics.json").write_text(json.dumps({self.metric: self._value(live)}))

    def stop(self, number: int) -> None:
        """Free the slot of a trial."""
        del self._live[number]

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Return the metric that `save` wrote.

        Raises:
            InputError: The table knows neither untuned models nor another split than the validation split.
        """
        if adapter is None or split != "valid":
            raise InputError("the table holds validation metrics of trained adapters only")
        return Evaluation(metrics=json.loads((adapter / "metrics.json").read_text()), n_examples=0, duration_s=0.0)

    def _value(self, live: _Live) -> float:
        return live.curve[live.spec.rung_steps[live.rung - 1]]

    def _report(self, live: _Live) -> RungReport:
        steps = live.spec.rung_steps
        self.steps_trained += steps[live.rung] - (steps[live.rung - 1] if live.rung else 0)
        live.rung += 1
        return RungReport(
            number=live.spec.number,
            rung=live.rung - 1,
            step=steps[live.rung - 1],
            metrics={self.metric: self._value(live)},
            train_loss=None,
            duration_s=float(steps[live.rung - 1]),
        )


def point_of(candidate: Candidate, space: SearchSpace) -> Point:
    """Return a candidate as a point of the space."""
    part = next(part for part in space.methods if part.method == candidate.method)
    return candidate.method, {
        dimension.name: candidate.hyperparameters[dimension.name]  # type: ignore[misc]
        for dimension in part.dimensions
    }


def _read_rung(checkpoint: Path, trial: TrialSpec) -> int:
    try:
        kept = json.loads((checkpoint / "trial.json").read_text())
        if kept["candidate"] != to_plain(trial.candidate):
            raise ValueError("another candidate")
        return int(kept["rung"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{checkpoint}: not a checkpoint of trial {trial.number} ({error})") from error
