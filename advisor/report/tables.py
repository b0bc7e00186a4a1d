"""Tables of the report as plain text cells; the HTML and the Markdown page lay out the same ones."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from advisor.candidates import Candidate
from advisor.recommendation import Recommendation
from advisor.report.formatting import (
    NBSP,
    NONE,
    base_title,
    duration,
    gib,
    interval,
    metric_title,
    number,
    plural,
    settings,
    share,
    signed,
    span,
    visible,
)
from advisor.report.intervals import Intervals
from advisor.report.origins import origin_of
from advisor.report.run_folder import RunFolder
from advisor.report.setting_names import setting_title
from advisor.report.verdict import best_so_far, outcome
from advisor.result import Contender, DatasetFacts, TuningResult
from advisor.trial import TrialRecord

LABELS_SHOWN = 12
TRAINING_SETTINGS = ("learning_rate", "num_epochs", "weight_decay", "warmup_ratio", "lr_scheduler_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; "number" is set right with figures of equal width, "code" in a fixed-width font.

    "interval" is a number whose interval may stand below it.
    """

    title: str
    kind: Literal["text", "number", "interval", "code"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row; the row that matters is set in bold."""

    cells: tuple[str, ...]
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and a value."""

    name: str
    value: str
    code: bool = False


def comparison_table(result: TuningResult, intervals: Intervals | None = None) -> Table:
    """Return the final comparison on the test split, best trial first.

    Args:
        result: A finished study.
        intervals: Of the metrics; with them the primary metric has its own, and the others stand in `metrics_table`.
    """
    primary = result.plan.primary_metric
    others = () if intervals else other_metrics(result)
    differences = {d.against: d for d in result.differences if d.metric == primary}
    several_seeds = any(len(row.seeds) > 1 for row in result.contenders)
    rows = []
    for row in _in_order(result.contenders):
        difference = differences.get(row.name)
        own = intervals.found.get((row.name, primary)) if intervals else None
        rows.append(
            Row(
                cells=(
                    _named(row),
                    number(row.evaluation.metrics.get(primary)),
                    *((span(own.low, own.high) if own else NONE,) if intervals else ()),
                    *(number(row.evaluation.metrics.get(name)) for name in others),
                    signed(difference.value) if difference else NONE,
                    interval(difference.low, difference.high) if difference else NONE,
                    # The table is wide with intervals: the two words would stand on two lines.
                    outcome(difference).replace(" ", NBSP if intervals else " ") if difference else NONE,
                    f"{row.evaluation.n_examples:,}",
                    *((str(len(row.seeds) or NONE),) if several_seeds else ()),
                ),
                strong=row.name == "best trial",
            )
        )
    return Table(
        caption="Final comparison on the test split" + ("; of several seeds the means" if several_seeds else ""),
        columns=(
            Column(title="Contender"),
            Column(title=_headline(metric_title(primary)), kind="number"),
            *((Column(title="95 % interval", kind="number"),) if intervals else ()),
            *(Column(title=_headline(metric_title(name)), kind="number") for name in others),
            Column(title=f"Best minus this ({metric_title(primary)})", kind="number"),
            Column(title="Interval of the difference" if intervals else "95 % interval", kind="number"),
            Column(title="Best is"),
            Column(title="Examples", kind="number"),
            *((Column(title="Seeds", kind="number"),) if several_seeds else ()),
        ),
        rows=tuple(rows),
    )


def metrics_table(result: TuningResult, intervals: Intervals) -> Table | None:
    """Return all metrics but the primary one, each with its interval; None where there is no other."""
    names = other_metrics(result)
    rows = [
        Row(
            cells=(_named(row), *(_with_interval(row, name, intervals) for name in names)),
            strong=row.name == "best trial",
        )
        for row in _in_order(result.contenders)
    ]
    columns = (
        Column(title="Contender"),
        *(Column(title=_headline(metric_title(name)), kind="interval") for name in names),
    )
    caption = f"Other metrics on the test split, each with its 95{NBSP}% interval"
    return Table(caption=caption, columns=columns, rows=tuple(rows)) if names else None


def other_metrics(result: TuningResult) -> tuple[str, ...]:
    """Return the names of the metrics that were measured beside the primary one."""
    names = {name for row in result.contenders for name in row.evaluation.metrics}
    return tuple(sorted(names - {result.plan.primary_metric}))


def baseline_notes(result: TuningResult) -> tuple[Fact, ...]:
    """Return how each baseline comes to its answers, where that is noted."""
    return tuple(Fact(name=row.name, value=row.note) for row in _in_order(result.contenders) if row.note)


def data_table(data: Mapping[str, DatasetFacts]) -> Table:
    """Return the splits as they were read."""
    order = {"train": 0, "valid": 1, "test": 2}
    rows = [
        Row(
            cells=(
                split,
                facts.path,
                f"{facts.n_examples:,}",
                label_balance(facts.label_counts),
                NONE if facts.median_tokens is None else f"{facts.median_tokens:,.0f}",
                f"{facts.truncated:,} ({share(facts.truncated, facts.n_examples)})",
                facts.sha256[:12],
            )
        )
        for split, facts in sorted(data.items(), key=lambda item: order.get(item[0], 3))
    ]
    return Table(
        caption="Data as it was read",
        columns=(
            Column(title="Split"),
            Column(title="File", kind="code"),
            Column(title="Examples", kind="number"),
            Column(title="Labels"),
            Column(title="Median tokens", kind="number"),
            Column(title="Truncated", kind="number"),
            Column(title="SHA-256 (first 12)", kind="code"),
        ),
        rows=tuple(rows),
    )


def label_balance(counts: Mapping[str, int]) -> str:
    """Return labels with count and share, the commonest first; many labels are cut."""
    return value_counts(counts, "more label")


def value_counts(counts: Mapping[str, int], more: str) -> str:
    """Return values with count and share, the commonest first.

    Args:
        counts: By value.
        more: What those that are cut are called, such as "more label".
    """
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{value}: {n:,} ({share(n, total)})" for value, n in ordered[:LABELS_SHOWN]]
    if len(ordered) > LABELS_SHOWN:
        shown.append(f"and {plural(len(ordered) - LABELS_SHOWN, more)}")
    return ", ".join(shown) or NONE


def ranked_table(recommendation: Recommendation) -> Table | None:
    """Return the runners-up of the recommendation, None when there is only one candidate."""
    rows = [
        Row(
            cells=(
                str(ranked.rank),
                ranked.base_model,
                ranked.method,
                settings(ranked.hyperparameters),
                precision_text(ranked.candidate),
                gib(ranked.estimate.peak_memory_bytes) if ranked.estimate else NONE,
                ranked.confidence,
            )
        )
        for ranked in recommendation.candidates[1:]
    ]
    columns = (
        Column(title="Rank", kind="number"),
        Column(title="Base model", kind="code"),
        Column(title="Method", kind="code"),
        Column(title="Hyperparameters", kind="code"),
        Column(title="Precision"),
        Column(title="Estimated peak memory", kind="number"),
        Column(title="Confidence"),
    )
    return Table(caption="Runners-up", columns=columns, rows=tuple(rows)) if rows else None


def rejected_table(recommendation: Recommendation) -> Table | None:
    """Return what was looked at and dropped, None when nothing was."""
    rows = [
        Row(
            cells=(
                dropped.base_model,
                dropped.method,
                dropped.precision + (f", {dropped.quantization} weights" if dropped.quantization else ""),
                gib(dropped.estimate.peak_memory_bytes) if dropped.estimate else NONE,
                dropped.reason,
            )
        )
        for dropped in recommendation.rejected
    ]
    columns = (
        Column(title="Base model", kind="code"),
        Column(title="Method", kind="code"),
        Column(title="Precision"),
        Column(title="Estimated peak memory", kind="number"),
        Column(title="Why it was dropped"),
    )
    return Table(caption="Looked at and dropped", columns=columns, rows=tuple(rows)) if rows else None


def precision_text(candidate: Candidate) -> str:
    """Return the precision, with the storage of the base weights where quantized."""
    return candidate.precision + (f", {candidate.quantization} weights" if candidate.quantization else "")


def trials_table(run: RunFolder, metric: str) -> Table:
    """Return all trials in the order of their numbers."""
    best = run.result.best_trial if run.result else getattr(best_so_far(run.trials), "number", None)
    several_bases = len({base_title(trial.candidate) for trial in run.trials}) > 1
    rows = [
        Row(
            cells=(
                str(trial.number),
                origin_of(trial, run.recommendation),
                *((base_title(trial.candidate),) if several_bases else ()),
                trial.candidate.method,
                settings(_searched(trial, run.trials)),
                _state(trial),
                number(trial.value),
                str(max((report.step for report in trial.reports), default=0)),
                duration(max((report.duration_s for report in trial.reports), default=None)),
                gib(measured_peak(trial)),
            ),
            strong=trial.number == best,
        )
        for trial in sorted(run.trials, key=lambda trial: trial.number)
    ]
    columns = (
        Column(title="Trial", kind="number"),
        Column(title="Origin"),
        *((Column(title="Base model", kind="code"),) if several_bases else ()),
        Column(title="Method", kind="code"),
        Column(title="What differs", kind="code"),
        Column(title="State"),
        Column(title=f"{metric_title(metric)} (validation)", kind="number"),
        Column(title="Steps", kind="number"),
        Column(title="Time", kind="number"),
        Column(title="Measured peak", kind="number"),
    )
    return Table(caption="All trials; the best in bold", columns=columns, rows=tuple(rows))


def measured_peak(trial: TrialRecord) -> int | None:
    """Return the highest measured peak memory of a trial in bytes, None when it was not measured."""
    return max((r.peak_memory_bytes for r in trial.reports if r.peak_memory_bytes is not None), default=None)


def configuration(candidate: Candidate) -> tuple[Fact, ...]:
    """Return everything that fixes a candidate, by words for people, training settings after the method's own."""
    own = {k: v for k, v in candidate.hyperparameters.items() if k not in TRAINING_SETTINGS}
    training = {k: v for k, v in candidate.hyperparameters.items() if k in TRAINING_SETTINGS}
    names = ", ".join(one.name for one in candidate.adapters)
    values = (
        ("base_model", candidate.base_model),
        ("method", candidate.method),
        *((("adapters", names),) if names else ()),
        *((name, _whole(value)) for name, value in (own | training).items()),
        ("batch_size", str(candidate.batch_size)),
        ("max_seq_length", f"{candidate.max_seq_length} tokens"),
        ("precision", precision_text(candidate)),
    )
    return tuple(Fact(name=setting_title(name), value=value, code=True) for name, value in values)


def curves_table(trials: Iterable[TrialRecord], metric: str) -> Table | None:
    """Return the validation metric of every trial at every step it reported, None when nothing was reported."""
    steps = sorted({r.step for trial in trials for r in trial.reports if metric in r.metrics})
    rows = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        values = {r.step: r.metrics.get(metric) for r in trial.reports}
        rows.append(Row(cells=(str(trial.number), trial.state, *(number(values.get(step)) for step in steps))))
    columns = (
        Column(title="Trial", kind="number"),
        Column(title="State"),
        *(Column(title=f"step {step}", kind="number") for step in steps),
    )
    caption = f"{metric_title(metric)} on the validation split by optimizer step"
    return Table(caption=caption, columns=columns, rows=tuple(rows)) if steps else None


def _in_order(rows: Iterable[Contender]) -> list[Contender]:
    """Return the best trial, then the recommendation, then the baselines as they were evaluated."""
    return sorted(rows, key=lambda row: (row.name != "best trial", row.name != "recommendation"))


def _named(row: Contender) -> str:
    return row.name + (f" (trial {row.trial})" if row.trial is not None else "")


def _with_interval(row: Contender, metric: str, intervals: Intervals) -> str:
    value, found = row.evaluation.metrics.get(metric), intervals.found.get((row.name, metric))
    return number(value) + (f" ({span(found.low, found.high).replace(' ', NBSP)})" if found else "")


def _headline(text: str) -> str:
    return text[:1].upper() + text[1:]


def _whole(value: object) -> str:
    """Write a value so that it can be typed again: all figures, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _state(trial: TrialRecord) -> str:
    if trial.failure is not None:
        return f"{trial.state}: {trial.failure.kind}, {_first_line(trial.failure.message)}"
    if trial.state == "pruned":
        last = max((report.step for report in trial.reports), default=0)
        return f"pruned at step {last}"
    return trial.state


def _first_line(text: str) -> str:
    first = visible(text).strip().split("\n")[0]
    return first if len(first) <= 160 else first[:159] + "…"


def _searched(trial: TrialRecord, trials: tuple[TrialRecord, ...]) -> Mapping[str, object]:
    """Keep the hyperparameters in which the trials of this method differ, and always the learning rate."""
    alike = [other.candidate.hyperparameters for other in trials if other.candidate.method == trial.candidate.method]
    mine = trial.candidate.hyperparameters
    differing = {name for name in mine if any(other.get(name) != mine[name] for other in alike)}
    return {name: value for name, value in mine.items() if name in differing or name == "learning_rate"}
