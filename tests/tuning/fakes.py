"""A runner without models whose results depend on trial and seed, and trials as a search leaves them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from advisor.candidates import Candidate
from advisor.errors import DataError
from advisor.search.adapters import adapter_folder
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialFailure, TrialRecord, TrialSpec
from tests.search.fakes import candidate

METRIC = "f1"
RUNGS = (5, 10, 20)
SEED = 7


@dataclass
class SeededRunner:
    """Implements `TrialRunner`; the validation metric of a run is what `values` says of its learning rate and seed.

    Attributes:
        values: Learning rate and seed -> metric at the end, None for a failure.
        slots: Runs at once.
        second_per_step: Of the clock `now`.
    """

    values: Callable[[float, int], float | None]
    slots: int = 1
    now: float = 1_700_000_000.0
    second_per_step: float = 1.0
    live: dict[int, tuple[TrialSpec, int]] = field(default_factory=dict)
    started: list[tuple[float, int]] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        assert len(self.live) < self.slots, "more runs than slots"
        assert trial.number not in self.live
        rung = 0
        if checkpoint is not None:
            text = (checkpoint / "rung").read_text()
            if not text.isdecimal():
                raise DataError(f"{checkpoint}: broken")
            rung = int(text)
            self.resumed_at.append(rung)
        self.live[trial.number] = (trial, rung)
        self.started.append((rate(trial.candidate), trial.seed))

    def advance(self) -> tuple[RungReport, ...]:
        assert self.live, "nothing to advance"
        reports = []
        longest = 0
        for number, (spec, rung) in self.live.items():
            step = spec.rung_steps[rung]
            longest = max(longest, step - (spec.rung_steps[rung - 1] if rung else 0))
            value = self.values(rate(spec.candidate), spec.seed)
            failure = TrialFailure(kind="nan-loss", message="loss is NaN") if value is None else None
            metrics = {} if value is None else {METRIC: value * (rung + 1) / len(spec.rung_steps)}
            self.live[number] = (spec, rung + 1)
            reports.append(report(number, rung, step, metrics, failure))
        self.now += longest * self.second_per_step
        return tuple(reports)

    def checkpoint(self, number: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "rung").write_text(str(self.live[number][1]))

    def measure_inference(self, number: int) -> Inference | None:
        raise AssertionError("final runs are not measured: their trials were")

    def save(self, number: int, folder: Path) -> None:
        spec, _ = self.live[number]
        (folder / "adapter_config.json").write_text(f"{rate(spec.candidate)} {spec.seed}")
        self.saved.append(folder)

    def stop(self, number: int) -> None:
        del self.live[number]

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        raise AssertionError("the test split is not for this")


def rate(of: Candidate) -> float:
    return float(of.hyperparameters["learning_rate"])  # type: ignore[arg-type]


def report(
    number: int, rung: int, step: int, metrics: dict[str, float], failure: TrialFailure | None = None
) -> RungReport:
    return RungReport(
        number=number, rung=rung, step=step, metrics=metrics, train_loss=1.0, duration_s=float(step), failure=failure
    )


def finished(number: int, value: float, *, seed: int = SEED, learning_rate: float | None = None) -> TrialRecord:
    """Return a complete trial that took 20 s, with a learning rate of its own."""
    return TrialRecord(
        number=number,
        state="complete",
        candidate=candidate(learning_rate=(number + 1) / 100 if learning_rate is None else learning_rate),
        seed=seed,
        origin="sampler",
        value=value,
        reports=tuple(report(number, rung, step, {METRIC: value}) for rung, step in enumerate(RUNGS)),
        started_at="2026-01-01T00:00:00+00:00",
    )


def with_adapter(folder: Path, record: TrialRecord) -> TrialRecord:
    """Leave the adapter that a trial leaves, and return the trial."""
    adapter_folder(folder, record.number).mkdir(parents=True)
    return record
