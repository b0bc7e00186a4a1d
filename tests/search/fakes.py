"""A runner without models: learning curves computed from hyperparameters, failures on command, a clock by hand."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from advisor.candidates import Candidate
from advisor.result import Plan
from advisor.search.settings import StudySettings
from advisor.search_space import Dimension, MethodSpace, SearchSpace
from advisor.trial import Evaluation, FailureKind, RungReport, Split, TrialFailure, TrialSpec

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
class FakeRunner:
    """Implements `TrialRunner`; the curve of a trial rises towards a level that its learning rate decides."""

    slots: int = 1
    clock: FakeClock = field(default_factory=FakeClock)
    fails: Callable[[TrialSpec], FailureKind | None] = lambda spec: None
    level: Callable[[Candidate], float] | None = None
    before_advance: Callable[[], None] = lambda: None
    live: dict[int, tuple[TrialSpec, int]] = field(default_factory=dict)
    started: list[TrialSpec] = field(default_factory=list)

    def start(self, trial: TrialSpec) -> None:
        assert len(self.live) < self.slots, "more trials than slots"
        self.live[trial.number] = (trial, 0)
        self.started.append(trial)

    def advance(self) -> tuple[RungReport, ...]:
        assert self.live, "nothing to advance"
        self.before_advance()
        longest = 0
        reports = []
        for number, (spec, rung) in list(self.live.items()):
            failure = self.fails(spec)
            step = spec.rung_steps[rung]
            done = spec.rung_steps[rung - 1] if rung else 0
            if failure:
                told = TrialFailure(kind=failure, message=f"{spec.candidate.method} cannot run")
                reports.append(_report(number, rung, done, {}, failure=told))
                continue
            longest = max(longest, step - done)
            value = self.value(spec.candidate, step, spec.rung_steps[-1])
            reports.append(_report(number, rung, step, {METRIC: value, "accuracy": value / 2}))
            self.live[number] = (spec, rung + 1)
        self.clock.now += longest * SECONDS_PER_STEP
        return tuple(reports)

    def value(self, candidate: Candidate, step: int, n_steps: int) -> float:
        level = self.level(candidate) if self.level else level_of(candidate)
        return level * (1 - math.exp(-4 * step / n_steps))

    def save(self, number: int, folder: Path) -> None:
        _, rung = self.live[number]
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
