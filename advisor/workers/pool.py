"""Several workers as one `TrialRunner`: a trial is placed where there is room, and reports come as they come.

Each worker advances its trials by itself; `WorkerPool.advance` returns as soon as one has something to report. A worker
that has reported waits until its trials were decided about, the others train on.

When a worker is lost, a new one takes its place. Its trials go on from the last checkpoint that was written of them, or
begin again, on any worker with room; what they reported before is not reported twice. A trial that loses `LOSSES`
workers is given up as failed, since it may be what kills them; a worker that is lost as often without a report between
is not replaced again. Neither counts where a machine was lost.

Workers may come while others train (`WorkerPool.add`), and one that waits for a machine holds up nobody. While there is
none that takes trials, the pool waits for one, for `PATIENCE_S` seconds.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from advisor.candidates import Candidate
from advisor.errors import AdvisorError
from advisor.trial import Evaluation, Inference, RungReport, Split, TrialFailure, TrialSpec, WorkerUse
from advisor.workers.seat import Held, Seat
from advisor.workers.worker import MachineLostError, NotReadyError, Worker, WorkerLostError

LOSSES = 3
PATIENCE_S = 600.0
# How often the pool looks for new workers while it waits for reports.
LOOK_EVERY_S = 2.0

_log = logging.getLogger(__name__)


class WorkerPool:
    """Implements `advisor.trial.TrialRunner` over workers."""

    def __init__(
        self,
        workers: Sequence[Worker],
        *,
        slots_each: int = 1,
        clock: Callable[[], float] = time.perf_counter,
        grow: "Callable[[WorkerPool], None] | None" = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take the workers.

        Args:
            workers: At least one; all without trials. The first one that takes calls evaluates.
            slots_each: Trials that each may hold at once; the workers' runners must have as many slots.
            clock: Seconds, for the time that workers are busy.
            grow: Called now and then while the pool waits; may add workers, and must not wait for anything.
            patience_s: Seconds to wait when no worker takes trials but some may come.
        """
        self._slots_each = slots_each
        self._clock = clock
        self._grow = grow
        self._patience_s = patience_s
        self._seats: list[Seat] = []
        for worker in workers:
            self.add(worker)
        self._held: dict[int, Held] = {}
        self._early: list[RungReport] = []  # came while a trial that was asked about waited for room

    def add(self, worker: Worker) -> None:
        """Take one more worker, which gets trials as soon as it is ready."""
        self._seats.append(Seat(worker=worker, clock=self._clock))

    @property
    def workers(self) -> tuple[Worker, ...]:
        """All that are in use, also those that are not ready."""
        return tuple(seat.worker for seat in self._in_use)

    @property
    def slots(self) -> int:
        """How many trials may be live at once, on all workers that are ready; at least one worker is counted."""
        return self._slots_each * max(1, len(self._open))

    def wait_until_ready(self, *, others_s: float) -> None:
        """Wait until a worker is ready, and a while for the others.

        Args:
            others_s: Seconds to wait for all when there is one.

        Raises:
            AdvisorError: None is, for as long as patience lasts.
        """
        self._await_worker()
        until_s = time.monotonic() + others_s
        while (coming := self._coming) and (left_s := until_s - time.monotonic()) > 0:
            wait(coming, timeout=min(LOOK_EVERY_S, left_s), return_when=FIRST_COMPLETED)
            self._look()

    def start(self, trial: TrialSpec, *, checkpoint: Path | None = None) -> None:
        """Place a trial on the worker that holds the fewest, one that has nothing to do first.

        Raises:
            RuntimeError: All slots are taken.
            DataError: The checkpoint cannot be used; the slot stays free.
        """
        self._look()
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
        if not self._held:
            raise RuntimeError("no live trial that could be advanced")
        while True:
            self._look()
            given_up = tuple(held.verdict for held in self._held.values() if held.verdict is not None)
            early, self._early = [report for report in self._early if report.number in self._held], []
            if given_up or early:
                return (*given_up, *early)
            self._place_waiting()
            if any(held.verdict is not None for held in self._held.values()):
                continue
            for seat in self._open:
                if not seat.is_advancing and self._on(seat):
                    seat.advance()
            if not (under_way := self._under_way):
                self._await_worker()
                continue
            reports = tuple(report for seat in self._first_of(under_way) for report in self._arrived(seat))
            if reports:
                return reports

    def checkpoint(self, number: int, folder: Path) -> None:
        """Write all that a live trial needs to go on.

        Raises:
            RuntimeError: Its worker is training at this moment, or it has nothing to go on from, or nothing new.
        """
        held = self._of(number)
        if held.seat is None and not held.is_behind:
            raise RuntimeError(f"trial {number} waits for a worker")
        is_ahead = any(report.number == number for report in self._early)  # of what the search knows
        if is_ahead or (held.seat is not None and held.seat.is_advancing):
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
        self._await_worker()
        found: Evaluation = self._open[0].call(
            "evaluate", candidate, adapter, split, seed=seed, predictions=predictions
        )
        return found

    def use(self) -> tuple[WorkerUse, ...]:
        """Return how the workers spent their time since they came to the pool."""
        return tuple(seat.use() for seat in self._seats)

    def close(self) -> None:
        """End all workers."""
        for seat in self._in_use:
            seat.worker.close()

    @property
    def _in_use(self) -> list[Seat]:
        return [seat for seat in self._seats if not seat.is_over]

    @property
    def _open(self) -> list[Seat]:
        return [seat for seat in self._in_use if seat.is_open]

    @property
    def _coming(self) -> "list[Future[None]]":
        return [ready for seat in self._in_use if not (ready := seat.worker.ready()).done()]

    @property
    def _under_way(self) -> "dict[Future[tuple[RungReport, ...]], Seat]":
        return {seat.advancing: seat for seat in self._in_use if seat.advancing is not None}

    def _on(self, seat: Seat) -> list[Held]:
        return [held for held in self._held.values() if held.seat is seat]

    def _of(self, number: int) -> Held:
        if number not in self._held:
            raise RuntimeError(f"trial {number} is not live")
        return self._held[number]

    def _look(self) -> None:
        """Replace workers that ended before they were ready, and let more come."""
        for seat in self._in_use:
            if (error := seat.end) is not None:
                self._lose(seat, error)
        if self._grow is not None:
            self._grow(self)

    def _await_worker(self) -> None:
        """Wait until there is a worker that takes trials.

        Raises:
            AdvisorError: There is none, and none has come.
        """
        until_s = time.monotonic() + self._patience_s
        while not self._open:
            if not (coming := self._coming) and not self._in_use:
                raise AdvisorError("no worker is left; run the same command again to go on from the last rung")
            if (left_s := until_s - time.monotonic()) <= 0:
                raise AdvisorError(
                    f"no worker for {self._patience_s / 60:.0f} minutes: there is no room for one; run the same "
                    "command again to go on from the last rung"
                )
            wait(coming, timeout=min(LOOK_EVERY_S, left_s), return_when=FIRST_COMPLETED)
            self._look()

    def _first_of(self, under_way: "dict[Future[tuple[RungReport, ...]], Seat]") -> list[Seat]:
        """Wait until one has something to report, or a worker comes, or it is time to look for one."""
        timeout_s = None if self._grow is None else LOOK_EVERY_S
        waited_for: list[Future[Any]] = [*under_way, *self._coming]
        done, _ = wait(waited_for, timeout=timeout_s, return_when=FIRST_COMPLETED)
        return [seat for future, seat in under_way.items() if future in done]

    def _place_waiting(self) -> None:
        for held in list(self._held.values()):
            if held.seat is None and held.verdict is None and self._with_room(held):
                self._place(held)

    def _with_room(self, held: Held) -> list[Seat]:
        """Return where there is room for a trial: one that is behind must be alone, so that no other runs ahead."""
        if held.is_behind:
            return [seat for seat in self._open if not seat.is_advancing and not self._on(seat)]
        return [seat for seat in self._open if len(self._on(seat)) < self._slots_each]

    def _place(self, held: Held) -> None:
        """Put a trial on a worker, at its checkpoint, and let it train up to what it had reported before.

        Raises:
            AdvisorError: No worker is left.
            DataError: The checkpoint cannot be used.
        """
        while held.verdict is None and held.seat is None:
            room = self._with_room(held)
            if not room:
                self._make_room(alone=held.is_behind)
                continue
            seat = min(room, key=lambda seat: (seat.is_advancing, seat.in_a_row, len(self._on(seat))))
            held.seat = seat
            seat.n_trials += not held.was_placed
            held.was_placed = True
            try:
                seat.call("start", held.spec, checkpoint=held.checkpoint)
                self._catch_up(held, seat)
            except WorkerLostError as error:
                self._lose(seat, error)
            except BaseException:
                held.seat = None
                raise

    def _make_room(self, *, alone: bool) -> None:
        """Bring it about that a worker has room for a trial that cannot wait: it was asked about, or is behind.

        Others have taken the room when a worker was lost and none came for it. What is not trained at this moment gives
        way, best what stands at its checkpoint, and goes on from there later.
        """
        self._await_worker()
        idle = [seat for seat in self._open if not seat.is_advancing]
        if not idle:
            under_way = {future: seat for future, seat in self._under_way.items() if seat.is_open}
            for seat in self._first_of(under_way):
                self._early += self._arrived(seat)
            self._look()
            return
        seat = min(idle, key=lambda seat: sum(held.is_behind for held in self._on(seat)))
        on_it = sorted(self._on(seat), key=lambda held: held.is_behind)
        for held in on_it if alone else on_it[:1]:
            held.seat = None
            try:
                seat.call("stop", held.spec.number)
            except WorkerLostError as error:
                self._lose(seat, error)
                return

    def _catch_up(self, held: Held, seat: Seat) -> None:
        """Let a trial, which is alone with its worker, train up to the rung that it had reported."""
        rung = held.kept
        while rung < held.reported:
            (report,) = seat.call("advance")
            rung = report.rung if report.failure is None else held.reported

    def _ask(self, held: Held, method: str, *arguments: object) -> Any:
        """Ask something about a trial that has just reported; where its worker is lost at it, ask the next one."""
        while held.verdict is None:
            self._place(held)
            if held.seat is None:
                continue
            try:
                return held.seat.call(method, held.spec.number, *arguments)
            except WorkerLostError as error:
                self._lose(held.seat, error)
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
            held.losses += not isinstance(error, MachineLostError | NotReadyError)
            if held.losses >= LOSSES:
                held.verdict = _given_up(held)
                seat.in_a_row = 0  # it was the trial
        seat.lose(error, most=LOSSES)
        if not self._in_use:
            raise AdvisorError(f"{error}; no worker is left: run the same command again to go on") from error


def _given_up(held: Held) -> RungReport:
    failure = TrialFailure(kind="error", message=f"{held.losses} workers ended while they trained it")
    return RungReport(
        number=held.spec.number, rung=held.reported + 1, step=0, metrics={}, train_loss=None, duration_s=0.0,
        failure=failure,
    )  # fmt: skip
