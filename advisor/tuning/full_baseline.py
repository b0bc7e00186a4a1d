"""Full fine-tuning as a baseline: all weights of the recommendation's base model, for as many steps as a trial.

What an adapter gains over frozen weights other baselines show; this one shows what it leaves on the table. It is
trained with the catalogue's defaults, not searched for, after the finals and where it fits: into the device by the
estimate, or where nothing reports its memory into half of what the host has free; and into the time that is left. It
has as many seeds as the finalists where these cost at most `SHARE` of what search and finals took, else as many as do,
but one in any case. Its models are large and nobody's result: they go when they are evaluated.

Not covered: going on within a run that was killed (a finished seed is kept), and a host whose memory others take
meanwhile.
"""
# ruff: noqa: TID253 - imported when a search has ended

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from advisor import records
from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task, head_of
from advisor.errors import AdvisorError
from advisor.result import Contender, Plan
from advisor.search.adapters import save_adapter_as
from advisor.search.outcome import SearchOutcome
from advisor.search.reports import checked
from advisor.trial import RungReport, TrialRunner, TrialSpec
from advisor.tuning.budget import Budget, training_s
from advisor.tuning.contest import Contest, TrainedSeed
from advisor.tuning.events import StageStarted, TuningEvent
from advisor.tuning.final_runs import FinalRuns
from advisor.tuning.probe import CorrectedEstimates

_log = logging.getLogger(__name__)

FOLDER_NAME = "full-fine-tuning"
SHARE = 0.15
# A backward pass that also computes the gradients of the weights does three products where a frozen one does two.
TIME_RATIO = 1.5
# Weights, gradients and Adam's two moments in float32.
STATE_BYTES_PER_PARAM = 16
HOST_SHARE = 0.5
_MEMORY_INFO = Path("/proc/meminfo")
# For the runner: apart from the numbers of trials and of the finals.
_NUMBER = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRun:
    """A finished training with one seed, saved beside its model.

    Attributes:
        schema_version: Of this record.
        candidate: What was trained.
        n_steps: Optimizer steps.
        seed: Of the head.
        validation: Primary metric on the validation split.
    """

    schema_version: Literal[1] = 1
    candidate: Candidate
    n_steps: int
    seed: int
    validation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a study has left for this baseline.

    Attributes:
        estimates: Of the device's memory; None where it does not report its memory.
        n_params: Parameters of the base model, for such a device.
        free_bytes: Of the host's memory, for such a device; None if unknown.
        trial_s: Seconds that a trial of the recommendation took.
        evaluation_s: Seconds of an evaluation on the test split.
        spent_s: Seconds of search and finals.
        left_s: Seconds before the final evaluation has to begin, None for no limit.
    """

    estimates: CorrectedEstimates | None
    n_params: int
    free_bytes: int | None
    trial_s: float
    evaluation_s: float
    spent_s: float
    left_s: float | None

    @classmethod
    def after(
        cls,
        folder: Path,
        budget: Budget,
        outcome: SearchOutcome,
        *,
        estimates: CorrectedEstimates | None,
        n_params: int,
    ) -> "Room":
        """Return what is left after search and finals; as for the attributes, and the study's own folder and budget."""
        finals_s = sum(run.duration_s for run in FinalRuns(folder).runs.values()) / budget.slots
        spent_s = outcome.duration_s + finals_s
        return cls(
            estimates=estimates,
            n_params=n_params,
            free_bytes=host_free_bytes(),
            trial_s=training_s(outcome.recommended or outcome.best),
            evaluation_s=budget.evaluation_s,
            spent_s=spent_s,
            left_s=None if budget.before_evaluation_s is None else budget.before_evaluation_s - spent_s,
        )

    def has_memory_for(self, candidate: Candidate) -> bool:
        """Say whether memory has room for full fine-tuning."""
        if self.estimates is not None:
            return self.estimates.fitting_micro_batch(candidate) > 0
        needed = self.n_params * STATE_BYTES_PER_PARAM
        return self.free_bytes is not None and needed <= HOST_SHARE * self.free_bytes

    def seeds_in_time(self, seeds: Sequence[int]) -> tuple[int, ...]:
        """Return with which of the finalists' seeds it is trained."""
        run_s = max(TIME_RATIO * self.trial_s + self.evaluation_s, 1e-9)
        n_seeds = max(1, int(SHARE * self.spent_s / run_s))
        if self.left_s is not None:
            n_seeds = min(n_seeds, max(0, int(self.left_s / run_s)))
        return tuple(seeds[:n_seeds])


def full_candidate(task: Task, recommended: Candidate) -> Candidate | None:
    """Return full fine-tuning of the same base model on as much of each example; None where that is no baseline.

    It is none where it was itself recommended, or where the architecture does not allow it for the task.
    """
    method = METHODS["full"]
    if recommended.method == "full" or not method.supports(
        recommended.architecture, head_of(task, recommended.architecture)
    ):
        return None
    return replace(
        recommended,
        method="full",
        hyperparameters=method.hyperparameters(recommended.architecture),
        quantization=None,
        adapters=(),
    )


def host_free_bytes() -> int | None:
    """Return the memory that the host could give away, None where the system does not say."""
    try:
        lines = _MEMORY_INFO.read_text(encoding="ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return None


def compete(
    contest: Contest,
    recommended: Candidate,
    seeds: Sequence[int],
    room: Room,
    *,
    runner: TrialRunner,
    plan: Plan,
    interrupted: Callable[[], bool],
) -> Contender | None:
    """Train and evaluate the baseline, where there is room for it.

    Args:
        contest: Evaluates; knows what an earlier run of the study evaluated.
        recommended: Its base model is trained.
        seeds: Of the finalists.
        room: What is left for it.
        runner: Trains; all its slots must be free.
        plan: Of the study: how long a trial is trained, and for which metric.
        interrupted: Asked between rungs.

    Returns:
        None without a word where it is no baseline, else with one.
    """
    candidate = full_candidate(contest.task, recommended)
    if candidate is None:
        return None
    trained = list(contest.known_full_fine_tuning(candidate))
    if not trained:
        if not room.has_memory_for(candidate):
            _log.warning("the baseline is left out: full fine-tuning: memory has no room for it")
            return None
        wanted = room.seeds_in_time(seeds)
        if not wanted:
            _log.warning("the baseline is left out: full fine-tuning: the time that is left is too short for it")
            return None
        trained = train_full(
            candidate, wanted, folder=contest.folder, runner=runner, rung_steps=plan.rung_steps,
            metric=plan.primary_metric, on_event=contest.on_event, interrupted=interrupted,
        )  # fmt: skip
    row = contest.full_fine_tuning(candidate, trained)
    shutil.rmtree(contest.folder / FOLDER_NAME, ignore_errors=True)
    return row


def train_full(
    candidate: Candidate,
    seeds: Sequence[int],
    *,
    folder: Path,
    runner: TrialRunner,
    rung_steps: tuple[int, ...],
    metric: str,
    on_event: Callable[[TuningEvent], None],
    interrupted: Callable[[], bool],
) -> list[TrainedSeed]:
    """Train with each seed, one after the other.

    A baseline that cannot be trained is left out, with a word: nothing else depends on it.

    Args:
        candidate: Of `full_candidate`.
        seeds: Of head and dropout.
        folder: Run folder; models go to its `full-fine-tuning/`.
        runner: Trains; all its slots must be free.
        rung_steps: Of the study.
        metric: Primary metric.
        on_event: Told of each seed.
        interrupted: Asked between rungs; when true the training ends with the seeds that are finished.

    Returns:
        The models in the order of the seeds; fewer after a failure or an interruption.
    """
    found: list[TrainedSeed] = []
    for number, seed in enumerate(seeds, start=1):
        if interrupted():
            break
        known = _known(folder, candidate, rung_steps[-1], seed)
        if known is None:
            on_event(StageStarted(text=f"training the baseline: full fine-tuning, seed {number} of {len(seeds)}"))
            spec = TrialSpec(number=_NUMBER, candidate=candidate, seed=seed, rung_steps=rung_steps)
            known = _trained(spec, folder, runner, metric, interrupted)
        if known is None:
            break
        found.append(TrainedSeed(seed=seed, validation=known.validation, adapter=_model(folder, seed)))
    return found


def _trained(
    spec: TrialSpec, folder: Path, runner: TrialRunner, metric: str, interrupted: Callable[[], bool]
) -> FullRun | None:
    runner.start(spec)
    try:
        report = _last_report(spec, runner, metric, interrupted)
        if report is None:
            return None
        if report.failure is not None:
            _log.warning("the baseline is left out: full fine-tuning: %s", report.failure.message)
            return None
        run = FullRun(
            candidate=spec.candidate, n_steps=spec.rung_steps[-1], seed=spec.seed, validation=report.metrics[metric]
        )
        save_adapter_as(_model(folder, spec.seed), runner, spec.number)
        records.write(run, _record(folder, spec.seed))
        return run
    except (AdvisorError, OSError) as error:  # no room on the disk for a whole model
        _log.warning("the baseline is left out: full fine-tuning: %s", error)
        return None
    finally:
        runner.stop(spec.number)


def _last_report(
    spec: TrialSpec, runner: TrialRunner, metric: str, interrupted: Callable[[], bool]
) -> RungReport | None:
    """Train to the end or to a failure; None after an interruption."""
    while not interrupted():
        for report in runner.advance():
            report = checked(report, metric)
            if report.failure is not None or report.step >= spec.rung_steps[-1]:
                return report
    return None


def _known(folder: Path, candidate: Candidate, n_steps: int, seed: int) -> FullRun | None:
    """Return a finished run of a study that was killed before its model was evaluated."""
    try:
        run = records.read(FullRun, _record(folder, seed))
    except AdvisorError:
        return None
    wanted = records.to_plain(candidate), n_steps
    is_same = (records.to_plain(run.candidate), run.n_steps) == wanted
    return run if is_same and _model(folder, seed).is_dir() else None


def _model(folder: Path, seed: int) -> Path:
    return folder / FOLDER_NAME / f"seed{seed}"


def _record(folder: Path, seed: int) -> Path:
    return folder / FOLDER_NAME / f"seed{seed}.json"
