"""A runner that sleeps instead of training: a rung takes the time that it is told, values follow a learning curve.

For studies of what surrounds training: storage, processes, networks. Checkpoints and adapters are files as with a real
one. Every rung that is trained is written to a log, which is what a study compares with what was kept.
"""

import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from advisor import durable
from advisor.candidates import Candidate
from advisor.errors import DataError
from advisor.records import to_plain
from advisor.result import Plan
from advisor.search.settings import StudySettings
from advisor.search_space import Dimension, MethodSpace, SearchSpace
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialSpec

METRIC = "f1"
RUNG_STEPS = (1, 2, 3, 4)


@dataclass
class SlowRunner:
    """Implements `advisor.trial.TrialRunner`.

    Attributes:
        rung_s: Seconds that a rung takes.
        log: File that every trained rung is appended to, as JSON; None for none.
        slots: Trials at once.
    """

    rung_s: float
    log: Path | None = None
    slots: int = 1
    live: dict[int, tuple[TrialSpec, int]] = field(default_factory=dict)

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Begin, or go on from a file."""
        done = 0
        if checkpoint is not None:
            try:
                kept = json.loads((checkpoint / "progress.json").read_text())
                done = int(kept["rungs"])
                if kept["candidate"] != to_plain(trial.candidate):
                    raise ValueError("another candidate")
            except (OSError, ValueError, KeyError) as error:
                raise DataError(f"{checkpoint}: not a checkpoint of this trial ({error})") from error
        self.live[trial.number] = (trial, done)

    def advance(self) -> tuple[RungReport, ...]:
        """Sleep, and bring all live trials to their next rung."""
        time.sleep(self.rung_s)
        reports = []
        for number, (spec, done) in self.live.items():
            step = spec.rung_steps[done]
            self.live[number] = (spec, done + 1)
            self._log("rung", number, done)
            value = level_of(spec.candidate) * (1 - math.exp(-4 * step / spec.rung_steps[-1]))
            reports.append(
                RungReport(
                    number=number, rung=done, step=step, metrics={METRIC: value}, train_loss=1 - value,
                    duration_s=self.rung_s * (done + 1),
                )
            )  # fmt: skip
        return tuple(reports)

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write how far it is."""
        spec, done = self.live[number]
        unfinished = folder.with_name(f"{folder.name}.part")
        unfinished.mkdir(parents=True, exist_ok=True)
        (unfinished / "progress.json").write_text(json.dumps({"rungs": done, "candidate": to_plain(spec.candidate)}))
        durable.put_in_place(unfinished, folder)

    def measure_inference(self, number: int) -> Inference | None:
        """Nothing is measured."""
        return None

    def save(self, number: int, folder: Path) -> None:
        """Write a file in the place of an adapter."""
        (folder / "adapter.json").write_text(json.dumps({"number": number}))

    def stop(self, number: int) -> None:
        """Free the slot."""
        del self.live[number]

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Nothing is evaluated after the search."""
        raise NotImplementedError

    def _log(self, what: str, number: int, rung: int) -> None:
        append_line(self.log, {"what": what, "number": number, "rung": rung})


def append_line(path: Path | None, line: dict[str, object]) -> None:
    """Append a line of JSON with time and process id, at once for all who append."""
    if path is None:
        return
    content = json.dumps({**line, "at_s": time.monotonic(), "pid": os.getpid()}) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, content.encode())
    finally:
        os.close(handle)


def level_of(candidate: Candidate) -> float:
    """Where the learning curve ends: best at a learning rate of 1e-3."""
    off = math.log10(float(str(candidate.hyperparameters["learning_rate"]))) + 3
    return 0.9 * math.exp(-(off**2))


def settings_of(seed: int) -> StudySettings:
    """Return settings of a study with one method and two hyperparameters."""
    learning_rate = Dimension(name="learning_rate", kind="float", low=1e-5, high=1e-1, log=True)
    rank = Dimension(name="r", kind="categorical", choices=(4, 8, 16))
    first = Candidate(
        base_model="base", architecture="encoder-only", method="lora",
        hyperparameters={"learning_rate": 3e-4, "r": 8},
    )  # fmt: skip
    return StudySettings(
        task="clone-detection", base_model="base", metric=METRIC, data={"train": "a", "valid": "b", "test": "c"},
        seed=seed, rung_steps=RUNG_STEPS, warm_starts=(first,),
        space=SearchSpace(methods=(MethodSpace(method="lora", dimensions=(learning_rate, rank)),)),
    )  # fmt: skip


def plan_of(n_trials: int) -> Plan:
    """Return the plan of such a study."""
    return Plan(
        n_trials=n_trials, time_limit_s=None, rung_steps=RUNG_STEPS, sampler="TPESampler", pruner="MedianPruner",
        device="none", primary_metric=METRIC,
    )  # fmt: skip
