"""What of a study, a trial and a final run is told to trackers, under which names.

Values are named `validation/<metric>`, `train/loss`, `inference/<figure>` and, on the study,
`test/<contender>/<metric>`; units stand in the names of all others.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.candidates import Candidate
from advisor.result import TuningResult
from advisor.trial import RungReport, Split, TrialFailure, TrialRecord
from advisor.tuning.final_runs import FinalRun
from advisor.tuning.trackers.contract import Ending, Point, Scalar, TrackedRun
from advisor.tuning.trackers.redaction import without_secrets

if TYPE_CHECKING:
    from advisor.data.examples import ExampleFile
    from advisor.search import StudySettings

STUDY_KEY = "study"
REPORT_FILES = ("report.html", "report.md", "result.json")


def candidate_params(candidate: Candidate, prefix: str = "") -> dict[str, Scalar]:
    """Return all that fixes a training run but its seed, flat; what is not set is left out.

    Args:
        candidate: What is trained.
        prefix: Before every name.
    """
    values: dict[str, object] = {
        "base_model": candidate.base_model,
        "architecture": candidate.architecture,
        "method": candidate.method,
        "precision": candidate.precision,
        "quantization": candidate.quantization or "none",
        "batch_size": candidate.batch_size,
        "micro_batch_size": candidate.micro_batch_size,
        "max_seq_length": candidate.max_seq_length,
        "gradient_checkpointing": candidate.gradient_checkpointing,
        "adapters": ", ".join(one.name for one in candidate.adapters) or None,
        **candidate.hyperparameters,
    }
    return {f"{prefix}{name}": _scalar(value) for name, value in values.items() if value is not None}


def tracked_study(
    settings: "StudySettings",
    *,
    title: str,
    recommended: Candidate,
    files: "Mapping[Split, ExampleFile]",
    facts: Mapping[str, str],
) -> TrackedRun:
    """Return the run of a study; secrets in its facts are hidden.

    Args:
        settings: What fixes it.
        title: For people.
        recommended: First trial.
        files: The splits.
        facts: What may change when it goes on: command, versions, number of trials.
    """
    params: dict[str, Scalar] = {
        "task": settings.task,
        "primary_metric": settings.metric,
        "objectives": ", ".join(settings.objectives),
        "seed": settings.seed,
        "rung_steps": ", ".join(map(str, settings.rung_steps)),
        "methods": ", ".join(part.method for part in settings.space.methods),
        "base_models": ", ".join(base.label for base in settings.space.bases) or recommended.base_model,
        **candidate_params(recommended, "recommendation."),
    }
    for split, file in files.items():
        params |= {f"data.{split}.n_examples": len(file.examples), f"data.{split}.sha256": file.sha256}
    places = {f"data.{split}.path": str(file.path) for split, file in files.items()}
    hidden = {name: without_secrets(value) for name, value in {**facts, **places}.items()}
    return TrackedRun(key=STUDY_KEY, title=title, kind="study", params=params, facts=hidden)


def tracked_trial(number: int, candidate: Candidate, seed: int) -> TrackedRun:
    """Return the run of a trial."""
    return TrackedRun(
        key=f"trial-{number}",
        title=f"trial {number}",
        kind="trial",
        params={**candidate_params(candidate), "seed": seed, "trial": number},
    )


def tracked_final(trial: int, candidate: Candidate, seed: int) -> TrackedRun:
    """Return the run of a finalist with another seed."""
    return TrackedRun(
        key=f"final-{trial}-seed{seed}",
        title=f"trial {trial}, seed {seed}",
        kind="final",
        params={**candidate_params(candidate), "seed": seed, "trial": trial},
    )


def point_of(report: RungReport, began_s: float | None, now_s: float) -> Point | None:
    """Return what a trial shows at a rung, None where it shows nothing.

    Args:
        report: Of the trial.
        began_s: When the trial was begun, None where that is not known.
        now_s: The time that counts then.
    """
    values = {f"validation/{name}": value for name, value in report.metrics.items()}
    values |= {"train/loss": report.train_loss} if report.train_loss is not None else {}
    values |= {"peak_memory_bytes": report.peak_memory_bytes} if values and report.peak_memory_bytes else {}
    values = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    return Point(step=report.step, at_s=_time_of(report, began_s, now_s), values=values) if values else None


def trial_ending(record: TrialRecord, now_s: float) -> Ending:
    """Return how a trial ended."""
    costs = record.inference
    inference = {} if costs is None else {
        "inference/latency_s": costs.latency_s, "inference/memory_bytes": float(costs.memory_bytes)
    }  # fmt: skip
    return _ending(record.state, record.failure, record.reports, record.started_at, now_s, inference, record.origin)


def final_ending(run: FinalRun, now_s: float) -> Ending:
    """Return how a final run ended."""
    return _ending(run.state, run.failure, run.reports, run.started_at, now_s, {}, "finals")


def study_ending(result: TuningResult, folder: Path, now_s: float) -> Ending:
    """Return what the study found.

    Args:
        result: Of the study.
        folder: Run folder.
        now_s: Seconds since the epoch.
    """
    values = {
        f"test/{row.name}/{name}": value
        for row in result.contenders
        for name, value in row.evaluation.metrics.items()
        if math.isfinite(value)
    }
    values |= {"search_duration_s": result.search_duration_s, "best_trial": float(result.best_trial)}
    n_trials = result.n_trials_finished or 0
    facts = {
        "best_trial": str(result.best_trial),
        "stopped": result.stopped,
        "device": result.device,
        "finished_at": result.finished_at,
        "reload_check": "passed" if result.reload_check.passed else "failed",
        **{f"version.{name}": version for name, version in result.versions.items()},
        **{f"warning.{number}": text for number, text in enumerate(result.warnings, start=1)},
    }
    return Ending(
        state="finished",
        point=Point(step=n_trials, at_s=_seconds(result.finished_at) or now_s, values=values),
        facts=facts,
        files=tuple(path for name in REPORT_FILES if (path := folder / name).is_file()),
    )


def seconds_of(iso_time: str) -> float | None:
    """Return an ISO 8601 time as seconds since the epoch, None where it is none."""
    return _seconds(iso_time)


def _ending(
    state: str,
    failure: TrialFailure | None,
    reports: Sequence[RungReport],
    started_at: str,
    now_s: float,
    values: Mapping[str, float],
    origin: str,
) -> Ending:
    last = reports[-1]
    sizes = {} if last.trainable_params is None else {"trainable_params": float(last.trainable_params)}
    facts = {"state": state, "origin": origin}
    if failure is not None:
        facts["failure"] = f"{failure.kind}: {failure.message}"
    return Ending(
        state="failed" if state == "failed" else "finished",
        point=Point(
            step=last.step,
            at_s=_time_of(last, _seconds(started_at), now_s),
            values={"duration_s": last.duration_s, **sizes, **values},
        ),
        facts=facts,
    )


def _time_of(report: RungReport, began_s: float | None, now_s: float) -> float:
    return now_s if began_s is None else began_s + report.duration_s


def _seconds(iso_time: str) -> float | None:
    try:
        found = datetime.fromisoformat(iso_time)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _scalar(value: object) -> Scalar:
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
