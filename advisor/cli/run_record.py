"""What `tune --json` and `report --json` print: a run folder as one record for programs.

Everything in it stands in the folder's own records as well; it is gathered here so that a program need not know how the
folder is laid out. Bytes, seconds and metrics as in those records; intervals are those of the report.
"""
# ruff: noqa: TID253

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from advisor.candidates import Candidate
from advisor.report.formatting import NBSP
from advisor.report.intervals import Intervals, metric_intervals
from advisor.report.run_folder import RunFolder, read_run_folder
from advisor.report.verdict import Verdict, best_so_far, judge
from advisor.result import Contender, Difference, ReloadCheck
from advisor.trials_file import FILE_NAME as TRIALS

SCHEMA_VERSION = 1
_FILES = {
    "adapter": "best_adapter", "report_html": "report.html", "report_markdown": "report.md", "result": "result.json",
    "recommendation": "recommendation.json", "trials": TRIALS, "study": "study.db",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A metric on the test split with its 95 % interval over test examples; of several seeds the mean.

    Attributes:
        value: As in result.json.
        low: Lower end, None where the interval cannot be had.
        high: Upper end.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderRecord:
    """One row of the final comparison on the test split.

    Attributes:
        name: As in `result.Contender`.
        trial: Trial number, None for a baseline.
        seeds: What the means are of; empty for what trains no part of the model.
        n_examples: Test examples.
        metrics: By name.
    """

    name: str
    trial: int | None
    seeds: tuple[int, ...]
    n_examples: int
    metrics: Mapping[str, MetricValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestTrial:
    """The trial that won, or is ahead so far.

    Attributes:
        number: Trial number.
        candidate: What was trained.
        validation: Primary metric on the validation split, in its trial.
        seed: Of the adapter that is delivered, None in a study that is not finished.
        threshold: As in `result.TuningResult.threshold`.
    """

    number: int
    candidate: Candidate
    validation: float | None
    seed: int | None
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run folder, finished or not.

    Attributes:
        schema_version: Of this record.
        folder: Run folder, as it was named.
        finished: Whether there is a result; without one there are no contenders.
        task: Task slug.
        metric: Primary metric, None in a study that is not finished.
        verdict: What the records allow to say, in the words of the report.
        stopped: Why the search ended, as in `result.TuningResult`.
        n_trials: Number of trials by state.
        best: None where no trial is complete.
        contenders: The final comparison.
        differences: Best trial against the others, paired, with 95 % intervals.
        reload_check: Of the saved adapter.
        search_duration_s: Seconds of search, over all runs that resumed the study.
        device: Such as "cpu".
        warnings: What was odd about the data.
        paths: Of the files that are there, by what they are.
    """

    schema_version: int = SCHEMA_VERSION
    folder: str
    finished: bool
    task: str
    metric: str | None = None
    verdict: Verdict
    stopped: str | None = None
    n_trials: Mapping[str, int]
    best: BestTrial | None
    contenders: tuple[ContenderRecord, ...] = ()
    differences: tuple[Difference, ...] = ()
    reload_check: ReloadCheck | None = None
    search_duration_s: float | None = None
    device: str | None = None
    warnings: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)


def run_record(folder: Path) -> RunRecord:
    """Gather the record of a run folder.

    Raises:
        DataError: Not a folder that `tune` wrote, or a record in it is broken.
    """
    run = read_run_folder(folder)
    found = RunRecord(
        folder=str(folder),
        finished=run.result is not None,
        task=run.recommendation.task,
        verdict=_plain(judge(run)),
        n_trials=dict(Counter(trial.state for trial in run.trials)),
        best=_best(run),
        paths={name: str(folder / file) for name, file in _FILES.items() if (folder / file).exists()},
    )
    result = run.result
    if result is None:
        return found
    intervals = metric_intervals(run)
    return replace(
        found,
        metric=result.plan.primary_metric,
        stopped=result.stopped,
        contenders=tuple(_contender(row, intervals) for row in result.contenders),
        differences=result.differences,
        reload_check=result.reload_check,
        search_duration_s=result.search_duration_s,
        device=result.device,
        warnings=result.warnings,
    )


def _best(run: RunFolder) -> BestTrial | None:
    result = run.result
    trial = best_so_far(run.trials) if result is None else run.trial(result.best_trial)
    if trial is None:
        return None
    row = next((one for one in (result.contenders if result else ()) if one.trial == trial.number), None)
    delivered = row.delivered if row is not None else None
    return BestTrial(
        number=trial.number,
        candidate=trial.candidate,
        validation=trial.value,
        seed=None if delivered is None else delivered.seed,
        threshold=None if result is None else result.threshold,
    )


def _contender(row: Contender, intervals: Intervals | None) -> ContenderRecord:
    found = intervals.found if intervals is not None else {}
    metrics = {}
    for name, value in row.evaluation.metrics.items():
        own = found.get((row.name, name))
        metrics[name] = MetricValue(value=value, low=own.low if own else None, high=own.high if own else None)
    return ContenderRecord(
        name=row.name,
        trial=row.trial,
        seeds=tuple(one.seed for one in row.seeds),
        n_examples=row.evaluation.n_examples,
        metrics=metrics,
    )


def _plain(verdict: Verdict) -> Verdict:
    """Return the verdict with ordinary blanks: those that keep a number and its unit on one line are for pages."""
    texts = {name: getattr(verdict, name).replace(NBSP, " ") for name in ("headline", "sentence", "advice")}
    return replace(verdict, **texts)
