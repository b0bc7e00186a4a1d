"""What `tune` tells the one who watches it, besides the events of the search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advisor.candidates import Candidate
from advisor.result import Contender, Finals, Packing, Plan
from advisor.trial import RungReport, Split, TrialSpec
from advisor.tuning.final_runs import FinalRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Everything is checked; nothing has been trained or written yet.

    Attributes:
        folder: Where the run goes.
        task: Title of the task.
        bases: Base models searched, with their quantization where it differs; empty for the recommended one alone.
        methods: PEFT methods searched.
        recommended: First trial.
        n_examples: Examples by split.
        plan: Trials, rungs, time, device.
        warnings: What is odd about the data, one line each.
        n_finished: Trials that earlier runs of the study finished.
        n_finalists: Trials at most that are trained again with the other seeds of the plan.
        memory_bytes: Estimated peak of device memory for the first trial, None where there is no estimate.
        memory_basis: How that was computed.
        expected_s: Seconds to the end by the trials that were measured so far, None before any was.
        devices: Of the workers, that of this process first.
        study: Name of the study in its database, which workers join; empty where it is in the run folder.
        storage: URL of that database without a password; empty where workers have it from the environment.
    """

    folder: Path
    task: str
    methods: tuple[str, ...]
    recommended: Candidate
    n_examples: Mapping[Split, int]
    plan: Plan
    warnings: tuple[str, ...]
    n_finished: int
    n_finalists: int = 0
    memory_bytes: int | None = None
    memory_basis: str = ""
    expected_s: float | None = None
    bases: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    study: str = ""
    storage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """Something that takes a while begins; `text` is a sentence without its full stop."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramsRun:
    """Some of the programs that a model wrote have been run.

    Attributes:
        n_run: Programs that were run.
        n_programs: Of this evaluation, those apart that were run before.
    """

    n_run: int
    n_programs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """This process takes part in a study that another one leads.

    Attributes:
        study: Its name.
        folder: Its run folder, as this machine sees it.
        metric: What decides.
        n_trials: Trials that it may have.
        has_costs: Is memory or time looked for too?
        has_bases: Are several base models searched?
    """

    study: str
    folder: Path
    metric: str
    n_trials: int
    has_costs: bool
    has_bases: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingChosen:
    """How many trials share passes is decided."""

    packing: Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderEvaluated:
    """One row of the final comparison is there."""

    contender: Contender


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyFinished:
    """The study had run to its end before: only its report is made anew."""

    folder: Path
    n_finished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalsStarted:
    """Finalists are about to be trained with other seeds.

    Attributes:
        finalists: Trial numbers, best first.
        seeds: All of them; the first is that of the trials.
        n_finished: Runs that earlier runs of the study finished.
        n_runs: Runs that there are to do, those included.
    """

    finalists: tuple[int, ...]
    seeds: tuple[int, ...]
    n_finished: int
    n_runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRunStarted:
    """A finalist got a slot for another seed; the seed stands in `spec`, whose number is the runner's own."""

    spec: TrialSpec
    trial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRungReached:
    """A final run reported at a rung and goes on."""

    spec: TrialSpec
    trial: int
    report: RungReport
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRunFinished:
    """A final run is over: complete or failed.

    Attributes:
        run: As it stands in finals.jsonl.
        n_finished: Runs finished, over all runs of the study.
        n_runs: Runs that there are to do, those included.
        eta_s: Seconds to the end of the finals, by what the finalists took.
    """

    run: FinalRun
    n_finished: int
    n_runs: int
    eta_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalsDecided:
    """The validation split has decided between the finalists."""

    finals: Finals


TuningEvent = (
    Planned
    | StageStarted
    | ProgramsRun
    | Joining
    | PackingChosen
    | ContenderEvaluated
    | AlreadyFinished
    | FinalsStarted
    | FinalRunStarted
    | FinalRungReached
    | FinalRunFinished
    | FinalsDecided
)
