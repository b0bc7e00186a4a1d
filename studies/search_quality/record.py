"""Record the table of learning curves; continues where it was broken off.

    python -m studies.search_quality.record --problem clone-detection [--part 0/2] [--data FOLDER] [--minutes 30]

Parts of one problem may run at the same time: a line is appended in one write.
"""

import argparse
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import gettempdir

from advisor.candidates import Candidate
from advisor.catalog.dimensions import Scalar
from advisor.data.examples import read_examples
from advisor.training.runner import DeviceRunner
from advisor.trial import RungReport, TrialSpec
from studies.search_quality.problem import Problem, draw, keep_space, params, problem, write_data
from studies.search_quality.table import TABLE, Origin, Row, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training to do."""

    configuration: int
    origin: Origin
    values: dict[str, Scalar]
    candidate: Candidate
    seed: int


def main() -> None:
    """Train what the table does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=list(params()["problems"]), required=True)
    parser.add_argument("--part", default="0/1", help="which of how many parts, such as 0/2")
    parser.add_argument("--data", type=Path, default=Path(gettempdir()) / "search_quality", help="folder for the data")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after so long")
    parser.add_argument("--output", type=Path, help="table to continue")
    arguments = parser.parse_args()
    part, n_parts = map(int, arguments.part.split("/"))
    keep_space(arguments.problem)
    record(
        problem(arguments.problem),
        arguments.output or TABLE / f"{arguments.problem}.jsonl",
        data=arguments.data / arguments.problem,
        part=part,
        n_parts=n_parts,
        deadline=time.monotonic() + 60 * arguments.minutes,
    )


def record(given: Problem, path: Path, *, data: Path, part: int, n_parts: int, deadline: float) -> None:
    """Train every job of a part that the table does not hold yet, until a time of the monotonic clock."""
    seed = params()["seed"]
    files = write_data(given, data, seed=seed)
    splits = {split: read_examples(file, given.task).examples for split, file in files.items()}
    runner = DeviceRunner(given.task, splits, seed=seed, device="cpu")  # type: ignore[arg-type]
    done = {(row.configuration, row.seed) for row in read_table(path)}
    for number, job in enumerate(jobs(given)):
        if number % n_parts != part or (job.configuration, job.seed) in done:
            continue
        if time.monotonic() > deadline:
            break
        row = train(runner, job, number, given.rung_steps)
        append(path, row)
        gc.freeze()  # the runner collects garbage after each trial; what the libraries hold need not be looked at again
        final = row.metrics.get(given.task.primary_metric, ())
        print(number, job.candidate.method, *(f"{value:.3f}" for value in final), row.failure or "", flush=True)


def jobs(given: Problem) -> list[Job]:
    """Return all trainings: a quarter of the points, further seeds of the first ones, then the other points."""
    sizes = params()
    first = [
        Job(configuration=number, origin=origin, values=values, candidate=candidate, seed=sizes["seed"])
        for number, (origin, candidate, values) in enumerate(_configurations(given))
    ]
    repeats = [replace(job, seed=seed) for job in first[: sizes["n_repeated"]] for seed in sizes["repeat_seeds"]]
    n_before = len(first) // 4
    return [*first[:n_before], *repeats, *first[n_before:]]


def _configurations(given: Problem) -> Iterator[tuple[Origin, Candidate, dict[str, Scalar]]]:
    sizes = params()
    rng = Random(f"{sizes['seed']}:{given.task.slug}")
    names = {part.method: [dimension.name for dimension in part.dimensions] for part in given.space.methods}
    for candidate in given.warm_starts:
        values = {name: candidate.hyperparameters[name] for name in names[candidate.method]}
        yield "warm-start", candidate, values  # type: ignore[misc]
    for _ in range(sizes["n_drawn"]):
        method, drawn = draw(given.space, rng)
        yield "space", given.candidate(method, drawn), drawn
    for _ in range(sizes["n_other_methods"]):
        method, drawn = draw(given.other_methods, rng)
        yield "other-method", given.candidate(method, drawn), drawn


def train(runner: DeviceRunner, job: Job, number: int, rung_steps: tuple[int, ...]) -> Row:
    """Train one job to its end, or to its failure."""
    runner.start(TrialSpec(number=number, candidate=job.candidate, seed=job.seed, rung_steps=rung_steps))
    reports: list[RungReport] = []
    failure = None
    while failure is None and len(reports) < len(rung_steps):
        (report,) = runner.advance()
        if report.failure is None:
            reports.append(report)
        else:
            failure = report.failure.kind
    runner.stop(number)
    names = reports[0].metrics if reports else ()
    return Row(
        configuration=job.configuration,
        origin=job.origin,
        method=job.candidate.method,
        values=job.values,
        seed=job.seed,
        steps=tuple(report.step for report in reports),
        metrics={name: tuple(round(report.metrics[name], 4) for report in reports) for name in names},
        train_loss=tuple(round(report.train_loss or 0.0, 4) for report in reports),
        duration_s=tuple(round(report.duration_s, 2) for report in reports),
        trainable_params=reports[-1].trainable_params if reports else None,
        failure=failure,
    )


def append(path: Path, row: Row) -> None:
    """Append a row in one write, so that processes that append at the same time do not mix their lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, row.line().encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
