"""The result as Markdown: the review's methods, then every run in detail."""

from collections.abc import Mapping, Sequence

from studies.review_methods.jobs import BELOW, FULL, SECOND, SETTINGS, Job, Setting
from studies.review_methods.loss import LOSS
from studies.review_methods.methods import METHODS, ReviewMethod
from studies.review_methods.records import Measured, Run

_TITLES = {
    "f1": "F1", "accuracy": "accuracy", "bleu": "BLEU", "rouge-l": "ROUGE-L", "exact-match": "exact match",
    "edit-similarity": "edit similarity", LOSS: "test loss",
}  # fmt: skip
_MIB = 2**20
_DETAILS = (
    "| method | dataset, base model | on the test rows [95 %] | loss of training, first to last eighth | rate "
    "| seconds of training (of the processor) | trained parameters (share) | bytes alive, measured / dry run "
    "(batch of tokens) |\n|---|---|---|---:|---:|---:|---:|---:|"
)


def main_table(
    runs: Mapping[str, Run], jobs: Sequence[Job], settings: Mapping[str, Setting], reasons: Mapping[str, str]
) -> str:
    """Return the table of methods.

    Args:
        runs: By name.
        jobs: All.
        settings: By name.
        reasons: Why a method of the review is not offered, by its name there.
    """
    heads = [
        f"{name}: {_title(settings[name].metrics[0])} [95 %]; test loss; seconds, share trained" for name in SETTINGS
    ]
    lines = [f"| the review's method | how it is reached | {' | '.join(heads)} |", f"|{'---|' * (2 + len(heads))}"]
    for method in METHODS:
        if not method.is_offered:
            lines.append(f"| {method.review} | not offered, because {reasons[method.review]} |{' — |' * len(heads)}")
            continue
        cells = [_cell(runs.get(f"{method.review} / {name}")) for name in _settings_of(method, settings)]
        lines.append(f"| {method.review} | {_reached(method)} | {' | '.join(cells)} |")
    reviewed = {method.review for method in METHODS}
    for row in dict.fromkeys(job.row for job in jobs if job.row not in reviewed and job.row != SECOND):
        names = {job.setting: job.name for job in jobs if job.row == row}
        cells = [_cell(runs.get(names[one])) if one in names else "—" for one in SETTINGS]
        how = "`--method full`, and a baseline of every `tune`" if row == FULL else "a baseline of every `tune`"
        lines.append(f"| *{row}* | {how} | {' | '.join(cells)} |")
    return "\n".join(lines)


def detail_table(runs: Mapping[str, Run], jobs: Sequence[Job]) -> str:
    """Return a line for every run."""
    found = [runs[job.name] for job in jobs if job.name in runs]
    return "\n".join([_DETAILS, *map(_detail, found)])


def _reached(method: ReviewMethod) -> str:
    note = f"; {method.note}" if method.note else ""
    return f"`{method.options}`{note}"


def _settings_of(method: ReviewMethod, settings: Mapping[str, Setting]) -> Sequence[str]:
    return [settings[name].below[0] for name in SETTINGS] if method.review == BELOW else SETTINGS


def _cell(run: Run | None) -> str:
    if run is None:
        return "not run"
    if run.failure is not None:
        return f"failed: {run.failure}"
    value = shown_metric(run.metrics[next(iter(run.metrics))])
    if run.setting not in SETTINGS:
        value += f" ({_title(next(iter(run.metrics)))} on {run.dataset})"
    if LOSS in run.metrics:
        value += f"; {run.metrics[LOSS].value:.3f}"
    return value if run.train_s is None else f"{value}; {run.train_s:.0f} s, {_share(run)}"


def shown_metric(found: Measured) -> str:
    """Return a metric with its interval, the digits that it has a use for."""
    digits = 3 if max(abs(found.value), found.high) < 10 else 2
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _detail(run: Run) -> str:
    about = f"| {run.row} | {run.dataset}, {run.base_model} |"
    if run.failure is not None:
        return f"{about} failed: {run.failure} | | | | | |"
    metrics = ", ".join(f"{_title(name)} {shown_metric(value)}" for name, value in run.metrics.items())
    if run.train_s is None:
        return f"{about} {metrics} | | | | | |"
    assert run.live_bytes is not None
    assert run.estimated_bytes is not None
    memory = f"{run.live_bytes / _MIB:.1f} / {run.estimated_bytes / _MIB:.1f} MiB ({run.tokens})"
    return (
        f"{about} {metrics} | {run.first_loss:.2f} to {run.last_loss:.2f} | {run.learning_rate:g} "
        f"| {run.train_s:.0f} ({run.train_cpu_s:.0f}) | {run.trainable_params:,} ({_share(run)}) | {memory} |"
    )


def _share(run: Run) -> str:
    assert run.trainable_params is not None
    assert run.total_params
    return f"{100 * run.trainable_params / run.total_params:.3g} %"


def _title(metric: str) -> str:
    return _TITLES.get(metric, metric)
