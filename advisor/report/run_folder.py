"""The records of a run folder, read once for the report and the model card."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from advisor import records
from advisor.data.findings import FILE_NAME as DATA_REPORT
from advisor.data.findings import DataReport
from advisor.errors import DataError, printable
from advisor.importance import FILE_NAME as IMPORTANCE
from advisor.importance import Importance
from advisor.recommendation import Recommendation
from advisor.result import Contender, TuningResult
from advisor.trial import Prediction, RungReport, TrialRecord
from advisor.trials_file import FILE_NAME as TRIALS
from advisor.trials_file import read_records

FINALS = "finals.jsonl"  # written by `advisor.tuning.final_runs`
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """What `tune` left in a folder.

    Attributes:
        recommendation: What the search started from.
        trials: Finished trials in the order they ended.
        result: None while the study is not finished.
        predictions: All predictions on the test split by contender, see `predictions_name`; may be empty.
        seed_predictions: The same of trained contenders by trial and seed, see `seed_name`.
        data_report: What was found in the data when the study began, None in folders of earlier versions.
        importance: Which choices decided quality, None where it was not computed.
        final_reports: What the finalists reported, a tuple for each training with another seed.
    """

    recommendation: Recommendation
    trials: tuple[TrialRecord, ...]
    result: TuningResult | None
    predictions: Mapping[str, tuple[Prediction, ...]]
    seed_predictions: Mapping[str, tuple[Prediction, ...]] = field(default_factory=dict)
    data_report: DataReport | None = None
    importance: Importance | None = None
    final_reports: tuple[tuple[RungReport, ...], ...] = ()

    def contender(self, name: str) -> Contender | None:
        """Return a row of the final comparison by name, None when there is none."""
        rows = self.result.contenders if self.result else ()
        return next((row for row in rows if row.name == name), None)

    def trial(self, number: int | None) -> TrialRecord | None:
        """Return a trial by number, None when it is not among the records."""
        return next((trial for trial in self.trials if trial.number == number), None)

    def predictions_of(self, name: str) -> tuple[Prediction, ...]:
        """Return a contender's predictions: the whole split where saved, else the few in its evaluation."""
        contender = self.contender(name)
        return self.predictions.get(predictions_name(name)) or (contender.evaluation.predictions if contender else ())


def predictions_name(contender: str) -> str:
    """Return the stem of a contender's file in `predictions/`: "best trial" is in best-trial.jsonl."""
    return "-".join("".join(c if c.isalnum() else " " for c in contender.lower()).split())


def seed_name(trial: int, seed: int) -> str:
    """Return the stem of the file in `predictions/seeds/` of a trial that was trained with a seed."""
    return f"{trial}-seed{seed}"


def read_run_folder(folder: Path) -> RunFolder:
    """Read and check every record of a run folder.

    Raises:
        DataError: Not a folder that `tune` wrote, or a record in it is broken.
    """
    if not (folder / "recommendation.json").is_file():
        raise DataError(f"{folder}: not a run folder (no recommendation.json in it); give the folder that `tune` wrote")
    if not (folder / TRIALS).is_file():
        raise DataError(f"{folder}: no {TRIALS} in it, so there is nothing to report yet; run `tune` first")
    result, data_report = folder / "result.json", folder / DATA_REPORT
    return RunFolder(
        recommendation=records.read(Recommendation, folder / "recommendation.json"),
        trials=read_records(folder / TRIALS),
        result=_result(result) if result.is_file() else None,
        predictions={
            predictions_name(path.stem): read_lines(Prediction, path)
            for path in sorted((folder / "predictions").glob("*.jsonl"))
        },
        seed_predictions={
            path.stem: read_lines(Prediction, path) for path in sorted((folder / "predictions/seeds").glob("*.jsonl"))
        },
        data_report=records.read(DataReport, data_report) if data_report.is_file() else None,
        importance=_importance(folder / IMPORTANCE),
        final_reports=_final_reports(folder / FINALS),
    )


def _result(path: Path) -> TuningResult:
    """Return result.json, whose rows must all have the metric that they are compared by.

    Raises:
        DataError: It is broken, or a row has it not.
    """
    result = records.read(TuningResult, path)
    primary = result.plan.primary_metric
    for row in result.contenders:
        evaluated = [("", row.evaluation), *((f" with seed {one.seed}", one.evaluation) for one in row.seeds)]
        for which, evaluation in evaluated:
            if primary not in evaluation.metrics:
                raise DataError(
                    f"{path}: {printable(row.name)}{which} has no value of {printable(primary)}, the study's primary "
                    "metric; the file is damaged: delete it and run `tune` again, which keeps the finished trials"
                )
    return result


def _importance(path: Path) -> Importance | None:
    """Return what is kept; it is made from other records, so that one that cannot be read is as good as none."""
    try:
        return records.read(Importance, path) if path.is_file() else None
    except DataError:
        return None


def _final_reports(path: Path) -> tuple[tuple[RungReport, ...], ...]:
    """Return the reports in the lines of finals.jsonl; a line that is none is left out, as a cut one at the end."""
    if not path.is_file():
        return ()
    found = []
    for line in path.read_bytes().split(b"\n"):
        with suppress(ValueError, KeyError, TypeError, DataError):
            found.append(tuple(records.from_plain(RungReport, plain) for plain in json.loads(line)["reports"]))
    return tuple(found)


def read_lines(cls: type[T], path: Path) -> tuple[T, ...]:
    """Read one record per line; a last line without its line end was cut by a killed process and is left out.

    Raises:
        DataError: The file cannot be read, or a whole line is not a record of type `cls`.
    """
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.__class__.__name__}: {error})") from error
    read = [_record(cls, line, f"{path}:{i}") for i, line in enumerate(lines, start=1) if line.strip()]
    if last.strip():
        with suppress(DataError):  # cut in the middle; the trial is run again when the study is resumed
            read.append(_record(cls, last, f"{path}:{len(lines) + 1}"))
    return tuple(read)


def _record(cls: type[T], line: bytes, where: str) -> T:
    try:
        plain = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error})") from error
    try:
        return records.from_plain(cls, plain)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
