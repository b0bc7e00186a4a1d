"""A runner without models: learning curves computed from hyperparameters, failures on command, a clock by hand."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from advisor import durable
from advisor.candidates import Candidate
from advisor.errors import DataError
from advisor.records import to_plain
from advisor.result import Plan
from advisor.search.settings import StudySettings
from advisor.search_space import Dimension, MethodSpace, SearchSpace
from advisor.trial import Evaluation, FailureKind, Inference, RungReport, Split, TrialFailure, TrialSpec

METRIC = "f1"
SECONDS_PER_STEP = 1.0
BEST_LEARNING_RATE = {"lora": 1e-3, "ia3": 5e-3}
CEILING = {"lora": 0.9, "ia3": 0.8}


class FakeClock:
    """Seconds that pass only when told."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeLive:
    """A trial in a slot: how far it is is all that it has to remember."""

    spec: TrialSpec
    step: int = 0
    rung: int = 0

    @property
    def steps_to_rung(self) -> int:
        return self.spec.rung_steps[self.rung] - self.step


@dataclass
class FakeRunner:
    """Implements `TrialRunner`; the curve of a trial rises towards a level that its learning rate decides.

    All live trials advance together until one of them reaches its rung, as packed trials do.
    """

    slots: int = 1
    clock: FakeClock = field(default_factory=FakeClock)
    fails: Callable[[TrialSpec], FailureKind | None] = lambda spec: None
    level: Callable[[Candidate], float] | None = None
    taken: Callable[[Candidate], Inference | None] = lambda candidate: None
    before_advance: Callable[[], None] = lambda: None
    live: dict[int, FakeLive] = field(default_factory=dict)
    started: list[TrialSpec] = field(default_factory=list)
    resumed: list[tuple[int, int]] = field(default_factory=list)  # number, step
    steps_trained: int = 0

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        assert len(self.live) < self.slots, "more trials than slots"
        assert trial.number not in self.live, "the same trial twice"
        if checkpoint is None:
            self.live[trial.number] = FakeLive(trial)
            self.started.append(trial)
            return
        try:
            kept = json.loads((checkpoint / "progress.json").read_text())
            if kept["candidate"] != to_plain(trial.candidate):
                raise ValueError("another candidate")
            self.live[trial.number] = FakeLive(trial, kept["step"], kept["rung"])
        except (OSError, ValueError) as error:
            raise DataError(f"{checkpoint}: not a checkpoint of this trial ({error})") from error
        self.resumed.append((trial.number, kept["step"]))

    def advance(self) -> tuple[RungReport, ...]:
        assert self.live, "nothing to advance"
        self.before_advance()
        failed = {number: kind for number, live in self.live.items() if (kind := self.fails(live.spec)) is not None}
        alive = [live for number, live in self.live.items() if number not in failed]
        n_steps = min((live.steps_to_rung for live in alive), default=0)
        reports = []
        for number, live in self.live.items():
            if number in failed:
                told = TrialFailure(kind=failed[number], message=f"{live.spec.candidate.method} cannot run")
                reports.append(_report(number, live.rung, live.step, {}, failure=told))
                continue
            live.step += n_steps
            if live.steps_to_rung == 0:
                value = self.value(live.spec.candidate, live.step, live.spec.rung_steps[-1])
                reports.append(_report(number, live.rung, live.step, {METRIC: value, "accuracy": value / 2}))
                live.rung += 1
        self.steps_trained += n_steps * len(alive)
        self.clock.now += n_steps * SECONDS_PER_STEP
        return tuple(reversed(reports))

    def value(self, candidate: Candidate, step: int, n_steps: int) -> float:
        level = self.level(candidate) if self.level else level_of(candidate)
        return level * (1 - math.exp(-4 * step / n_steps))

    def checkpoint(self, number: int, folder: Path) -> None:
        live = self.live[number]
        kept = {"step": live.step, "rung": live.rung, "candidate": to_plain(live.spec.candidate)}
        part = folder.with_name(folder.name + ".part")
        part.mkdir(exist_ok=True)
        (part / "progress.json").write_text(json.dumps(kept))
        durable.put_in_place(part, folder)

    def measure_inference(self, number: int) -> Inference | None:
        return self.taken(self.live[number].spec.candidate)

    def save(self, number: int, folder: Path) -> None:
        rung = self.live[number].rung
        (folder / "adapter_config.json").write_text(json.dumps({"number": number, "rung": rung - 1}))

    def stop(self, number: int) -> None:
        del self.live[number]

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        raise NotImplementedError("search does not evaluate")


def level_of(candidate: Candidate) -> float:
    """Height of the curve: best at the method's own learning rate, falling by orders of magnitude."""
    learning_rate = float(candidate.hyperparameters["learning_rate"])  # type: ignore[arg-type]
    off = math.log10(learning_rate / BEST_LEARNING_RATE.get(candidate.method, 1e-3))
    return CEILING.get(candidate.method, 0.5) * math.exp(-(off**2))


def inference(memory_bytes: int, latency_s: float, computation: str | None = None) -> Inference:
    """Return what prediction takes; a computation of its own unless one is given."""
    return Inference(
        latency_s=latency_s,
        memory_bytes=memory_bytes,
        memory_basis="estimated",
        form="adapter",
        computation=computation or f"{memory_bytes} {latency_s}",
        n_examples=24,
        batch_size=8,
    )


def candidate(method: str = "lora", learning_rate: float = 3e-4, **hyperparameters: object) -> Candidate:
    """Return a candidate inside `space()`."""
    own: dict[str, object] = {"r": 8} if method == "lora" else {}
    return Candidate(
        base_model="base",
        architecture="encoder-only",
        method=method,
        hyperparameters={"learning_rate": learning_rate, **own, **hyperparameters},
    )


def space(*methods: str) -> SearchSpace:
    """Return a conditional space over `methods` ("lora" and "ia3" when none are given)."""
    learning_rate = Dimension(name="learning_rate", kind="float", low=1e-5, high=1e-1, log=True)
    rank = Dimension(name="r", kind="categorical", choices=(4, 8, 16))
    dimensions = {"lora": (learning_rate, rank)}
    return SearchSpace(
        methods=tuple(
            MethodSpace(method=method, dimensions=dimensions.get(method, (learning_rate,)))
            for method in methods or ("lora", "ia3")
        )
    )


def settings(**changes: object) -> StudySettings:
    """Return settings of a small study; `changes` replace single ones."""
    values: Mapping[str, object] = {
        "task": "clone-detection",
        "base_model": "base",
        "metric": METRIC,
        "data": {"train": "a", "valid": "b", "test": "c"},
        "seed": 0,
        "rung_steps": (5, 10, 20),
        "space": space(),
        "warm_starts": (candidate(), candidate("ia3", 1e-3)),
        **changes,
    }
    return StudySettings(**values)  # type: ignore[arg-type]


def plan(n_trials: int = 6, time_limit_s: float | None = None) -> Plan:
    """Return a plan for a study with the default `settings`."""
    return Plan(
        n_trials=n_trials,
        time_limit_s=time_limit_s,
        rung_steps=(5, 10, 20),
        sampler="TPESampler",
        pruner="MedianPruner",
        device="fake",
        primary_metric=METRIC,
    )


def _report(
    number: int, rung: int, step: int, metrics: Mapping[str, float], failure: TrialFailure | None = None
) -> RungReport:
    return RungReport(
        number=number, rung=rung, step=step, metrics=metrics, train_loss=1.0, duration_s=float(step), failure=failure
    )
