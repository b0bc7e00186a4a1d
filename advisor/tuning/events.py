"""What `tune` tells the one who watches it, besides the events of the search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advisor.candidates import Candidate
from advisor.result import Contender, Plan
from advisor.trial import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Everything is checked; nothing has been trained or written yet.

    Attributes:
        folder: Where the run goes.
        task: Title of the task.
        methods: PEFT methods searched.
        recommended: First trial.
        n_examples: Examples by split.
        plan: Trials, rungs, time, device.
        warnings: What is odd about the data, one line each.
        n_finished: Trials that earlier runs of the study finished.
    """

    folder: Path
    task: str
    methods: tuple[str, ...]
    recommended: Candidate
    n_examples: Mapping[Split, int]
    plan: Plan
    warnings: tuple[str, ...]
    n_finished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """Something that takes a while begins; `text` is a sentence without its full stop."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderEvaluated:
    """One row of the final comparison is there."""

    contender: Contender


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyFinished:
    """The study had run to its end before: only its report is made anew."""

    folder: Path
    n_finished: int


TuningEvent = Planned | StageStarted | ContenderEvaluated | AlreadyFinished
