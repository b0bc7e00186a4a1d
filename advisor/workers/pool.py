"""Several workers as one `TrialRunner`: a trial is placed where there is room, and reports come as they come.

Each worker advances its trials by itself; `WorkerPool.advance` returns as soon as one has something to report. A worker
that has reported waits until its trials were decided about, the others train on.

When a worker is lost, a new one takes its place. Its trials go on from the last checkpoint that was written of them, or
begin again, on any worker with room; what they reported before is not reported twice. A trial that loses `LOSSES`
workers is given up as failed, since it may be what kills them; a worker that is lost as often without a report between
is not replaced again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any

from advisor.candidates import Candidate
from advisor.errors import AdvisorError
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialFailure, TrialSpec, WorkerUse
from advisor.workers.seat import Held, Seat
from advisor.workers.worker import Worker, WorkerLostError

LOSSES = 3

_log = logging.getLogger(__name__)


class WorkerPool:
    """Implements `advisor.trial.TrialRunner` over workers."""

    def __init__(
        self, workers: Sequence[Worker], *, slots_each: int = 1, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Take the workers.

        Args:
            workers: At least one; all without trials. The first one evaluates.
            slots_each: Trials that each may hold at once; the workers' runners must have as many slots.
            clock: Seconds, for the time that workers are busy.
        """
        self._seats = [Seat(worker=worker, clock=clock) for worker in workers]
        self._slots_each = slots_each
        self._clock = clock
        self._began_s = clock()
        self._held: dict[int, Held] = {}
        self._early: list[RungReport] = []  # came while another trial was brought back to its rung

    @property
    def slots(self) -> int:
        """How many trials may be live at once, on all workers together."""
        return self._slots_each * len(self._in_use)

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Place a trial on the worker that holds the fewest, one that has nothing to do first.

        Raises:
            RuntimeError: All slots are taken.
            DataError: The checkpoint cannot be used; the slot stays free.
        """
        if len(self._held) >= self.slots:
            raise RuntimeError(f"all {self.slots} slots are taken; stop a trial before starting {trial.number}")
        held = self._held[trial.number] = Held(spec=trial, checkpoint=checkpoint)
        try:
            self._place(held)
        except BaseException:
            del self._held[trial.number]
            raise

    def advance(self) -> tuple[RungReport, ...]:
        """Let all workers train; return what the first to reach a rung report.

        Raises:
            RuntimeError: There is no live trial.
            AdvisorError: No worker is left.
        """
        while True:
            self._place_waiting()
            given_up = tuple(held.verdict for held in self._held.values() if held.verdict is not None)
            early, self._early = tuple(self._early), []
            if given_up or early:
                return (*given_up, *early)
            for seat in self._in_use:
                if not seat.is_advancing and self._on(seat):
                    seat.advance()
            under_way = {seat.advancing: seat for seat in self._in_use if seat.advancing is not None}
            if not under_way:
                raise RuntimeError("no live trial that could be advanced")
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            reports = tuple(report for future in done for report in self._arrived(under_way[future]))
            if reports:
                return reports

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write all that a live trial needs to go on.

        Raises:
            RuntimeError: Its worker is training at this moment, or it has nothing to go on from.
        """
        held = self._of(number)
        if held.seat is None or held.seat.is_advancing:
            raise RuntimeError(f"trial {number} is being trained")
        self._ask(held, "checkpoint", folder)
        held.checkpoint, held.kept = folder, held.reported

    def measure_inference(self, number: int) -> Inference | None:
        """See `TrialRunner`."""
        found: Inference | None = self._ask(self._of(number), "measure_inference")
        return found

    def save(self, number: int, folder: Path) -> None:
        """See `TrialRunner`."""
        self._ask(self._of(number), "save", folder)

    def stop(self, number: int) -> None:
        """Free the slot of a trial; one that is being trained is stopped when its worker comes to its next rung."""
        held = self._of(number)
        del self._held[number]
        if held.seat is not None:
            try:
                held.seat.call("stop", number)
            except WorkerLostError as error:
                self._lose(held.seat, error)

    def evaluate(
        self, candidate: Candidate, adapter: Path | None, split: Split, *, seed: int, predictions: Path | None = None
    ) -> Evaluation:
        """See `TrialRunner`."""
        found: Evaluation = self._seats[0].call(
            "evaluate", candidate, adapter, split, seed=seed, predictions=predictions
        )
        return found

    def use(self) -> tuple[WorkerUse, ...]:
        """Return how the workers spent their time since the pool was made."""
        return tuple(seat.use(self._clock() - self._began_s) for seat in self._seats)

    def close(self) -> None:
        """End all workers."""
        for seat in self._seats:
            seat.worker.close()

    @property
    def _in_use(self) -> list[Seat]:
        return [seat for seat in self._seats if seat.in_a_row < LOSSES]

    def _on(self, seat: Seat) -> list[Held]:
        return [held for held in self._held.values() if held.seat is seat]

    def _of(self, number: int) -> Held:
        if number not in self._held:
            raise RuntimeError(f"trial {number} is not live")
        return self._held[number]

    def _place_waiting(self) -> None:
        for held in list(self._held.values()):
            if held.seat is None and held.verdict is None and self._with_room:
                self._place(held)

    @property
    def _with_room(self) -> list[Seat]:
        return [seat for seat in self._in_use if len(self._on(seat)) < self._slots_each]

    def _place(self, held: Held) -> None:
        """Put a trial on a worker, at its checkpoint, and let it train up to what it had reported before.

        Raises:
            AdvisorError: No worker is left.
            DataError: The checkpoint cannot be used.
        """
        while held.verdict is None and held.seat is None:
            room = self._with_room
            if not room:
                raise AdvisorError("no worker is left; run the same command again to go on from the last rung")
            seat = min(room, key=lambda seat: (seat.is_advancing, seat.in_a_row, len(self._on(seat))))
            held.seat = seat
            seat.n_trials += held.losses == 0
            try:
                seat.call("start", held.spec, checkpoint=held.checkpoint)
                self._catch_up(held, seat)
            except WorkerLostError as error:
                self._lose(seat, error)
            except BaseException:
                held.seat = None
                raise

    def _catch_up(self, held: Held, seat: Seat) -> None:
        """Let a trial train up to the rung that it had reported; what others of its worker report waits."""
        while held.kept < held.reported:
            for report in seat.call("advance"):
                if report.number == held.spec.number:
                    held.kept = report.rung if report.failure is None else held.reported
                else:
                    self._early += self._new([report])

    def _ask(self, held: Held, method: str, *arguments: object) -> Any:
        """Ask something about a trial that has just reported; where its worker is lost at it, ask the next one."""
        while held.seat is not None:
            try:
                return held.seat.call(method, held.spec.number, *arguments)
            except WorkerLostError as error:
                self._lose(held.seat, error)
                self._place(held)
        raise RuntimeError(f"trial {held.spec.number} is given up")

    def _arrived(self, seat: Seat) -> list[RungReport]:
        """Take what a worker reports, without what was reported before it was replaced."""
        try:
            reports = seat.arrived()
        except WorkerLostError as error:
            self._lose(seat, error)
            return []
        return self._new(reports)

    def _new(self, reports: Sequence[RungReport]) -> list[RungReport]:
        """Return those that were not reported before their worker was replaced."""
        new = []
        for report in reports:
            held = self._held.get(report.number)  # None: it was stopped meanwhile
            if held is not None and (report.rung > held.reported or report.failure is not None):
                held.reported = max(held.reported, report.rung)
                new.append(report)
        return new

    def _lose(self, seat: Seat, error: WorkerLostError) -> None:
        """Replace a lost worker; its trials wait for room."""
        _log.warning("%s", error)
        for held in self._on(seat):
            held.seat = None
            held.losses += 1
            if held.losses >= LOSSES:
                held.verdict = _given_up(held)
        try:
            seat.replace()
        except WorkerLostError as gone:
            _log.warning("%s", gone)
            seat.in_a_row = LOSSES
        if not self._in_use:
            raise AdvisorError(f"{error}; no worker is left: run the same command again to go on") from error


def _given_up(held: Held) -> RungReport:
    failure = TrialFailure(kind="error", message=f"{held.losses} workers ended while they trained it")
    return RungReport(
        number=held.spec.number, rung=held.reported + 1, step=0, metrics={}, train_loss=None, duration_s=0.0,
        failure=failure,
    )  # fmt: skip
