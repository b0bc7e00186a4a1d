"""What is said before the first step: the plan of a study, and what it will take."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.feasibility import Estimate
from advisor.result import Plan
from advisor.trial import TrialRecord
from advisor.tuning.budget import expected_s
from advisor.tuning.events import Planned
from advisor.tuning.request import TuningRequest
from advisor.tuning.shared_study import storage_to_name
from advisor.tuning.starting_point import StartingPoint

if TYPE_CHECKING:
    from advisor.search import StudySettings
    from advisor.tuning.study_run import StudyRun


def plan_of(request: TuningRequest, settings: "StudySettings", device: str) -> Plan:
    """Return what is decided before the first step.

    Args:
        request: What the user asked.
        settings: What fixes the study.
        device: Of this process, for people.
    """
    from advisor.search import PRUNER_NAME, SAMPLER_NAME
    from advisor.search.study import NO_PRUNER_NAME

    objectives = settings.objectives
    return Plan(
        n_trials=request.n_trials,
        time_limit_s=request.limit_s,
        rung_steps=settings.rung_steps,
        sampler=SAMPLER_NAME,
        pruner=PRUNER_NAME if len(objectives) == 1 else NO_PRUNER_NAME,
        device=device,
        primary_metric=settings.metric,
        target=request.target,
        final_seeds=request.final_seeds,
        objectives=objectives,
    )


def announcement_of(run: "StudyRun", plan: Plan, finished: Sequence[TrialRecord], *, slots: int) -> Planned:
    """Return what the user is told before the first step.

    Args:
        run: The study.
        plan: Its plan.
        finished: Trials of earlier runs.
        slots: Trials that may be live at once.
    """
    from advisor.search.outcome import N_FINALISTS

    n_finalists = min(plan.n_trials, N_FINALISTS + 1) if plan.final_seeds > 1 else 0
    estimate = estimate_of(run.start)
    return Planned(
        folder=run.folder,
        task=run.start.task.title,
        bases=tuple(base.label for base in run.start.space.bases),
        methods=tuple(part.method for part in run.start.space.methods),
        recommended=run.start.recommended,
        n_examples=run.data.n_examples,
        plan=plan,
        warnings=run.data.warnings,
        n_finished=len(finished),
        n_finalists=n_finalists,
        memory_bytes=estimate.peak_memory_bytes if estimate else None,
        memory_basis=estimate.basis if estimate else "",
        expected_s=expected_s(finished, plan.n_trials, n_finalists, plan.final_seeds, slots),
        devices=run.devices,
        study=run.address.study if run.address else "",
        storage=storage_to_name(run.address) if run.address else "",
    )


def estimate_of(start: StartingPoint) -> Estimate | None:
    """Return what the recommended candidate takes by estimate, None where it is not the first of a recommendation."""
    first = start.recommendation.candidates[0]
    return first.estimate if first.candidate == start.recommended else None
