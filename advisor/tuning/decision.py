"""Which of the finalists wins: the mean over seeds on the validation split decides.

One run each says little: of many trials the highest value is partly luck. Nothing here looks at the test split.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from advisor.result import Finalist, Finals, SeedValue
from advisor.trial import TrialRecord, TrialRunner
from advisor.tuning.events import FinalsDecided, TuningEvent
from advisor.tuning.final_runs import FinalRun, FinalRuns, RunKey, remove_runs_of_others
from advisor.tuning.finals import FinalTraining, Stopped


def run_finals(
    *,
    folder: Path,
    runner: TrialRunner,
    finalists: Sequence[TrialRecord],
    recommendation: int | None,
    seeds: Sequence[int],
    rung_steps: tuple[int, ...],
    metric: str,
    clock: Callable[[], float],
    left_s: float | None,
    on_event: Callable[[TuningEvent], None],
    interrupted: Callable[[], bool],
) -> Finals:
    """Train the finalists with the seeds that are still to do, and decide between them.

    The adapters of winner and recommendation stay in `finals/`, those of the others go.

    Args:
        folder: Run folder.
        runner: Trains; all its slots must be free.
        finalists: Complete trials, best first; at least one.
        recommendation: Trial of the recommendation, None when it did not end.
        seeds: The first is the one that the trials were trained with.
        rung_steps: Of the study.
        metric: Primary metric.
        clock: Seconds since the epoch.
        left_s: Seconds for the finals over all runs of the study, None for no limit.
        on_event: Called as things happen.
        interrupted: Asked between rungs; when true the finals end with what is finished.

    Raises:
        AdvisorError: An adapter could not be saved.
        DataError: finals.jsonl cannot be read.
    """
    spent_s = sum(run.duration_s for run in FinalRuns(folder).runs.values()) / runner.slots
    training = FinalTraining(
        folder=folder,
        runner=runner,
        finalists=finalists,
        seeds=seeds,
        rung_steps=rung_steps,
        metric=metric,
        clock=clock,
        deadline_s=None if left_s is None else clock() + left_s - spent_s,
        on_event=on_event,
        interrupted=interrupted,
    )
    stopped = training.train()
    finals = decide(finalists, training.runs, seeds, recommendation, stopped)
    evaluated = [record for record in finalists if record.number in (finals.winner, finals.recommendation)]
    training.restore(evaluated, finals.counted)
    remove_runs_of_others(folder, {record.number for record in evaluated})
    if len(finals.counted) > 1:
        on_event(FinalsDecided(finals=finals))
    return finals


def decide(
    finalists: Sequence[TrialRecord],
    runs: Mapping[RunKey, FinalRun],
    seeds: Sequence[int],
    recommendation: int | None,
    stopped: Stopped,
) -> Finals:
    """Rank the finalists by the mean of their validation metric over the seeds that all of them were trained with.

    A configuration that failed with a seed comes after those that did not. Of equals the recommendation is the better,
    then the earlier trial: what was recommended is kept unless something else is ahead of it.

    Args:
        finalists: Complete trials; each is its own run with the first seed.
        runs: Finished runs with the other seeds.
        seeds: Planned.
        recommendation: Trial of the recommendation, None when it is no finalist.
        stopped: Why there are not more runs.
    """
    made = [_finalist(record, runs, seeds) for record in finalists]
    counted = tuple(seed for seed in seeds if all(seed in {one.seed for one in each.values} for each in made))

    def rank(finalist: Finalist) -> tuple[int, float, bool, int]:
        mean = fmean(finalist.complete(counted))
        return finalist.n_failed(counted), -mean, finalist.trial != recommendation, finalist.trial

    return Finals(
        seeds=tuple(seeds),
        counted=counted,
        finalists=tuple(sorted(made, key=rank)),
        recommendation=recommendation if recommendation in {record.number for record in finalists} else None,
        stopped=stopped,
    )


def _finalist(record: TrialRecord, runs: Mapping[RunKey, FinalRun], seeds: Sequence[int]) -> Finalist:
    found = [runs[record.number, seed] for seed in seeds[1:] if (record.number, seed) in runs]
    return Finalist(
        trial=record.number,
        values=(
            SeedValue(seed=record.seed, value=record.value),
            *(SeedValue(seed=run.seed, value=run.value, failure=run.failure) for run in found),
        ),
    )
