"""The finals: the best trials and the recommendation are trained again, to their end, with other seeds.

Round by round, all finalists are trained with the next seed, so that a study whose time runs out has as many seeds of
each. `advisor.tuning.decision` says what follows from it.

Does not cover: the order of the training data, which is the same for all seeds.
"""
# ruff: noqa: TID253 - imported when a search has ended

import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from advisor.errors import DataError
from advisor.search.adapters import save_adapter_as
from advisor.search.reports import checked
from advisor.trial import RungReport, TrialRecord, TrialRunner, TrialSpec
from advisor.tuning.budget import training_s, turns_s
from advisor.tuning.events import FinalRunFinished, FinalRungReached, FinalRunStarted, FinalsStarted, TuningEvent
from advisor.tuning.final_runs import (
    FinalRun,
    FinalRuns,
    RunKey,
    checkpoint_at,
    final_adapter,
    final_checkpoint,
    remove_checkpoints,
    remove_runs_of_others,
    run_folder_of,
)

Stopped = Literal["all", "time", "interrupted"]

# Numbers of final runs for the runner: apart from those of trials, and the same when a run is resumed.
_NUMBERS_PER_SEED = 1_000_000


def final_seeds(seed: int, n: int) -> tuple[int, ...]:
    """Return the seeds that finalists are trained with: the study's and those after it (seeds have 32 bits)."""
    return tuple((seed + offset) % 2**32 for offset in range(n))


@dataclass(slots=True, kw_only=True)
class _LiveRun:
    """A run in a slot of the runner."""

    spec: TrialSpec
    key: RunKey
    started_at: str
    reports: list[RungReport] = field(default_factory=list)


class FinalTraining:
    """Trains finalists with the seeds that their trials did not have.

    Attributes:
        runs: What is finished, over all runs of the study.
    """

    def __init__(
        self,
        *,
        folder: Path,
        runner: TrialRunner,
        finalists: Sequence[TrialRecord],
        seeds: Sequence[int],
        rung_steps: tuple[int, ...],
        metric: str,
        clock: Callable[[], float],
        deadline_s: float | None,
        on_event: Callable[[TuningEvent], None],
        interrupted: Callable[[], bool],
    ) -> None:
        """Read what earlier runs of the study left; nothing is trained yet.

        Args:
            folder: Run folder; adapters go to its `finals/`, finished runs to finals.jsonl.
            runner: Trains; all its slots must be free.
            finalists: Complete trials, best first.
            seeds: The first is the one that the trials were trained with.
            rung_steps: Of the study.
            metric: Primary metric.
            clock: Seconds since the epoch.
            deadline_s: When the last run should have ended by that clock, None for no limit.
            on_event: Called as things happen.
            interrupted: Asked between rungs; when true the finals end with what is finished.

        Raises:
            DataError: finals.jsonl cannot be read.
        """
        self._folder = folder
        self._runner = runner
        self._finalists = tuple(finalists)
        self._seeds = tuple(seeds)
        self._rung_steps = rung_steps
        self._metric = metric
        self._clock = clock
        self._deadline_s = deadline_s
        self._on_event = on_event
        self._interrupted = interrupted
        self._journal = FinalRuns(folder)
        self._live: dict[int, _LiveRun] = {}
        self._waiting: deque[tuple[TrialRecord, int]] = deque()
        self._is_announced = False

    @property
    def runs(self) -> Mapping[RunKey, FinalRun]:
        """Finished runs by trial and seed, of this and earlier runs of the study."""
        return self._journal.runs

    @property
    def _wanted(self) -> set[RunKey]:
        return {(record.number, seed) for record in self._finalists for seed in self._seeds[1:]}

    def train(self) -> Stopped:
        """Train every finalist with every seed that is still to do, one seed after the other.

        Returns:
            Why it ended.

        Raises:
            AdvisorError: An adapter could not be saved.
        """
        remove_runs_of_others(self._folder, {record.number for record in self._finalists})
        wanted = ((record, seed) for seed in self._seeds[1:] for record in _by_base_model(self._finalists))
        return self._train([run for run in wanted if (run[0].number, run[1]) not in self.runs])

    def restore(self, records: Sequence[TrialRecord], seeds: Sequence[int]) -> Stopped:
        """Train again those runs of these trials whose adapters are gone: they are to be evaluated."""
        wanted = ((record, seed) for seed in seeds[1:] for record in records)
        return self._train([run for run in wanted if self._is_without_adapter(run[0].number, run[1])])

    def _is_without_adapter(self, trial: int, seed: int) -> bool:
        run = self.runs.get((trial, seed))
        return run is not None and run.state == "complete" and not final_adapter(self._folder, run.key).is_dir()

    def _train(self, runs: Sequence[tuple[TrialRecord, int]]) -> Stopped:
        self._waiting = deque(runs)
        try:
            while not self._interrupted():
                self._fill_slots()
                if not self._live:
                    return "time" if self._waiting else "all"
                if self._deadline_s is not None and self._clock() >= self._deadline_s:
                    return "time"
                for report in self._runner.advance():
                    self._take(self._live[report.number], checked(report, self._metric))
            return "interrupted" if self._live or self._waiting else "all"
        finally:
            for number in list(self._live):
                self._free(number)

    def _fill_slots(self) -> None:
        while self._waiting and len(self._live) < self._runner.slots and self._has_time_for_round():
            self._start(*self._waiting.popleft())

    def _has_time_for_round(self) -> bool:
        """Say whether what waits with the next seed can be trained in time: half a round decides nothing."""
        if self._deadline_s is None:
            return True
        _, seed = self._waiting[0]
        durations_s = [training_s(record) for record, other in self._waiting if other == seed]
        return self._clock() + turns_s(durations_s, self._runner.slots) <= self._deadline_s

    def _start(self, record: TrialRecord, seed: int) -> None:
        if not self._is_announced:
            self._announce()
        index = self._seeds.index(seed)
        spec = TrialSpec(
            number=index * _NUMBERS_PER_SEED + record.number,
            candidate=record.candidate,
            seed=seed,
            rung_steps=self._rung_steps,
        )
        key = (record.number, seed)
        checkpoint = final_checkpoint(self._folder, key)
        try:
            self._runner.start(spec, checkpoint=checkpoint)
        except DataError:  # a checkpoint that cannot be used costs its steps, nothing else
            self._runner.start(spec)
        started_at = datetime.fromtimestamp(self._clock(), tz=UTC).isoformat(timespec="seconds")
        self._live[spec.number] = _LiveRun(spec=spec, key=key, started_at=started_at)
        self._on_event(FinalRunStarted(spec=spec, trial=record.number))

    def _announce(self) -> None:
        self._is_announced = True
        self._on_event(
            FinalsStarted(
                finalists=tuple(record.number for record in self._finalists),
                seeds=self._seeds,
                n_finished=len(self._wanted & self.runs.keys()),
                n_runs=len(self._wanted),
            )
        )

    def _take(self, live: _LiveRun, report: RungReport) -> None:
        live.reports.append(report)
        if report.failure is not None:
            self._finish(live, None)
        elif report.step >= self._rung_steps[-1]:
            save_adapter_as(final_adapter(self._folder, live.key), self._runner, live.spec.number)
            self._finish(live, report.metrics[self._metric])
        else:
            checkpoint = checkpoint_at(self._folder, live.key, report.step)
            if not checkpoint.is_dir():
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                self._runner.checkpoint(live.spec.number, checkpoint)
            remove_checkpoints(self._folder, live.key, but=checkpoint)
            self._on_event(FinalRungReached(spec=live.spec, trial=live.key[0], report=report, metric=self._metric))

    def _finish(self, live: _LiveRun, value: float | None) -> None:
        trial, seed = live.key
        run = FinalRun(
            trial=trial,
            seed=seed,
            state="failed" if value is None else "complete",
            candidate=live.spec.candidate,
            value=value,
            reports=tuple(live.reports),
            started_at=live.started_at,
            failure=live.reports[-1].failure,
        )
        self._journal.append(run)
        self._free(live.spec.number)
        remove_checkpoints(self._folder, live.key)
        if value is None:
            shutil.rmtree(run_folder_of(self._folder, live.key), ignore_errors=True)
        n_finished = len(self._wanted & self.runs.keys())
        self._on_event(FinalRunFinished(run=run, n_finished=n_finished, n_runs=len(self._wanted), eta_s=self._eta_s()))

    def _eta_s(self) -> float:
        """Return the seconds that what waits and half of what is live will take: as long as the trials did."""
        live = {run.key[0] for run in self._live.values()}
        waiting_s = [training_s(record) for record, _ in self._waiting]
        half_s = [training_s(record) / 2 for record in self._finalists if record.number in live]
        return turns_s([*waiting_s, *half_s], self._runner.slots)

    def _free(self, number: int) -> None:
        self._runner.stop(number)
        del self._live[number]


def _by_base_model(finalists: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return those of one base model one after the other: it is loaded once a seed, and they can share passes.

    A seed counts when all finalists were trained with it, so that their order decides nothing.
    """

    def base(record: TrialRecord) -> tuple[str, str | None]:
        return record.candidate.base_model, record.candidate.quantization

    bases = [base(record) for record in finalists]
    return sorted(finalists, key=lambda record: bases.index(base(record)))
