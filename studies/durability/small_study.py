"""A real study that is small enough to be killed fifty times: demonstration data and encoder, short texts."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advisor.candidates import Candidate
from advisor.demo import base_model_path, write_dataset
from advisor.result import Plan
from advisor.search import PRUNER_NAME, SAMPLER_NAME, SearchOutcome, StudySettings, run_search
from advisor.search.events import SearchEvent
from advisor.training.runner import DeviceRunner
from advisor.trial import TrialRecord
from advisor.tuning.data import TuningData, read_data
from advisor.tuning.folder import locked
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import StartingPoint, find_starting_point

TASK = "clone-detection"
METHODS = ("lora", "ia3", "bitfit")
N_EXAMPLES = {"train": 200, "valid": 40, "test": 40}
OUTCOME = "outcome.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallStudy:
    """One study that can be run again and again in different folders.

    Attributes:
        data: Folder of its data files.
        n_trials: Trials.
        slots: Trials that may be live at once.
        rung_steps: Optimizer steps of the rungs.
        seed: Of data order, initialisation and sampler.
    """

    data: Path
    n_trials: int
    slots: int
    rung_steps: tuple[int, ...]
    seed: int

    def write_data(self) -> None:
        """Make the data files."""
        n_train, n_valid, n_test = N_EXAMPLES.values()
        write_dataset(TASK, self.data, seed=self.seed, n_train=n_train, n_valid=n_valid, n_test=n_test)

    def run(self, folder: Path, on_event: Callable[[SearchEvent], None]) -> SearchOutcome:
        """Run or continue the study in a folder, as `tune` would, and write `outcome.json` at its end."""
        request = TuningRequest(
            task=TASK,
            base_model=str(base_model_path("encoder-only")),
            methods=METHODS,
            train=self.data / "train.jsonl",
            valid=self.data / "valid.jsonl",
            test=self.data / "test.jsonl",
            seed=self.seed,
        )
        start = find_starting_point(request)
        data = read_data(request, start.task)
        splits = {split: file.examples for split, file in data.files.items()}
        with locked(folder):
            outcome = run_search(
                folder,
                self._settings(start, data),
                self._plan(start),
                DeviceRunner(start.task, splits, seed=self.seed, device="cpu", slots=self.slots),
                clock=time.time,
                on_event=on_event,
                interrupted=lambda: False,
            )
            (folder / OUTCOME).write_text(json.dumps(shown(outcome)))
        return outcome

    def _settings(self, start: StartingPoint, data: TuningData) -> StudySettings:
        return StudySettings(
            task=TASK,
            base_model=start.recommended.base_model,
            metric=start.task.primary_metric,
            data={split: file.sha256 for split, file in data.files.items()},
            seed=self.seed,
            rung_steps=self.rung_steps,
            space=start.space,
            warm_starts=tuple(map(_short, start.warm_starts)),
        )

    def _plan(self, start: StartingPoint) -> Plan:
        return Plan(
            n_trials=self.n_trials,
            time_limit_s=None,
            rung_steps=self.rung_steps,
            sampler=SAMPLER_NAME,
            pruner=PRUNER_NAME,
            device="cpu",
            primary_metric=start.task.primary_metric,
        )


def shown(outcome: SearchOutcome) -> dict[str, Any]:
    """Return all of an outcome that must not depend on kills: no durations, no times of day."""
    return {
        "best": outcome.best.number,
        "recommended": outcome.recommended.number if outcome.recommended else None,
        "finalists": [record.number for record in outcome.finalists],
        "trials": [trial_shown(record) for record in outcome.records],
    }


def trial_shown(record: TrialRecord) -> dict[str, Any]:
    """Return all of a finished trial that must not depend on kills."""
    return {
        "number": record.number,
        "state": record.state,
        "origin": record.origin,
        "seed": record.seed,
        "method": record.candidate.method,
        "hyperparameters": dict(record.candidate.hyperparameters),
        "value": record.value,
        "failure": record.failure.kind if record.failure else None,
        "losses": [report.train_loss for report in record.reports],
        "reports": [{"step": report.step, "metrics": dict(report.metrics)} for report in record.reports],
    }


def _short(candidate: Candidate) -> Candidate:
    return replace(candidate, batch_size=8, micro_batch_size=None, max_seq_length=64)
