"""A runner that trains nothing but takes time, and writes down when it begins a rung: for studies of what gets lost."""

import json
import math
import os
import time
from dataclasses import dataclass
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
RUNG_STEPS = (5, 10, 15, 20)
# What a checkpoint holds beside its progress: as much as an adapter and its optimizer.
_WEIGHTS = bytes(range(256)) * 4096 * 4


@dataclass(slots=True)
class _Live:
    spec: TrialSpec
    rung: int = 0  # the next one


class Sleeper:
    """Implements `TrialRunner`."""

    slots = 1

    def __init__(self, rung_s: float, begun: Path) -> None:
        """Take how long a rung takes, and the file that gets a line for each that is begun."""
        self._rung_s = rung_s
        self._begun = begun
        self._live: dict[int, _Live] = {}

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Begin, or go on from a checkpoint."""
        live = _Live(trial)
        if checkpoint is not None:
            try:
                kept = json.loads((checkpoint / "progress.json").read_text())
                whole = (checkpoint / "weights").read_bytes() == _WEIGHTS
            except (OSError, ValueError) as error:
                raise DataError(f"{checkpoint}: not a checkpoint ({error})") from error
            if kept["candidate"] != to_plain(trial.candidate) or not whole:
                raise DataError(f"{checkpoint}: not a checkpoint of this trial")
            live.rung = kept["rung"]
        self._live[trial.number] = live

    def advance(self) -> tuple[RungReport, ...]:
        """Sleep for a rung of the only live trial."""
        ((number, live),) = self._live.items()
        line = {"trial": number, "rung": live.rung, "pid": os.getpid(), "at_s": time.time()}
        durable.append(self._begun, (json.dumps(line) + "\n").encode())
        time.sleep(self._rung_s)
        step = live.spec.rung_steps[live.rung]
        value = _level(live.spec.candidate) * (1 - math.exp(-4 * step / live.spec.rung_steps[-1]))
        report = RungReport(
            number=number, rung=live.rung, step=step, metrics={METRIC: value}, train_loss=1.0, duration_s=self._rung_s
        )
        live.rung += 1
        return (report,)

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write how far a trial is, and as many bytes as an adapter has."""
        live = self._live[number]
        part = folder.with_name(folder.name + ".part")
        part.mkdir(exist_ok=True)
        (part / "progress.json").write_text(json.dumps({"rung": live.rung, "candidate": to_plain(live.spec.candidate)}))
        (part / "weights").write_bytes(_WEIGHTS)
        durable.put_in_place(part, folder)

    def measure_inference(self, number: int) -> Inference | None:
        """Measure nothing."""
        return None

    def save(self, number: int, folder: Path) -> None:
        """Write what stands for an adapter."""
        (folder / "adapter_config.json").write_text(json.dumps({"number": number}))
        (folder / "weights").write_bytes(_WEIGHTS)

    def stop(self, number: int) -> None:
        """Free the slot."""
        del self._live[number]

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """Nothing is evaluated after a search."""
        raise NotImplementedError


def settings(seed: int) -> StudySettings:
    """Return what the searches are about: two methods and their learning rates."""
    learning_rate = Dimension(name="learning_rate", kind="float", low=1e-5, high=1e-1, log=True)
    methods = tuple(MethodSpace(method=method, dimensions=(learning_rate,)) for method in ("lora", "ia3"))
    first = Candidate(
        base_model="base", architecture="encoder-only", method="lora", hyperparameters={"learning_rate": 3e-4}
    )
    return StudySettings(
        task="clone-detection", base_model="base", metric=METRIC, data={"train": "a", "valid": "b", "test": "c"},
        seed=seed, rung_steps=RUNG_STEPS, space=SearchSpace(methods=methods), warm_starts=(first,),
    )  # fmt: skip


def plan(n_trials: int) -> Plan:
    """Return the plan of a search."""
    return Plan(
        n_trials=n_trials, time_limit_s=None, rung_steps=RUNG_STEPS, sampler="TPESampler", pruner="MedianPruner",
        device="sleep", primary_metric=METRIC,
    )  # fmt: skip


def _level(candidate: Candidate) -> float:
    """Best at 1e-3, falling by orders of magnitude."""
    learning_rate = candidate.hyperparameters["learning_rate"]
    assert isinstance(learning_rate, float)
    return 0.9 * math.exp(-(math.log10(learning_rate / 1e-3) ** 2))
