"""`worker`: join a study that is in a database, train its trials, and leave when it is over or time is up.

A worker is a search of its own on the shared study: it asks, trains, prunes and tells. What it needs to know stands in
the database (`advisor.tuning.shared_study.Assignment`); data and run folder it must see for itself.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.catalog.tasks import find_task
from advisor.errors import DataError, InputError
from advisor.records import from_plain
from advisor.result import Plan
from advisor.trial import Split, WorkerUse
from advisor.tuning.announcement import estimate_of, plan_of
from advisor.tuning.data import TuningData, read_data
from advisor.tuning.events import Joining, StageStarted, TuningEvent
from advisor.tuning.guarded_runner import GuardedRunner
from advisor.tuning.packing import find_packing
from advisor.tuning.probe import CorrectedEstimates, estimator_for, find_probe
from advisor.tuning.programs import task_as_measured
from advisor.tuning.ready_runner import ready_runner
from advisor.tuning.request import TuningRequest
from advisor.tuning.shared_study import Assignment, own_version
from advisor.tuning.starting_point import StartingPoint
from advisor.tuning.workers import FOLDER_NAME, devices_of, workers_of
from advisor.workers.measured import MeasuredRunner

if TYPE_CHECKING:
    from advisor.search import SearchEvent, StopReason, StudySettings
    from advisor.search.sharing import Address, SharedStudy
    from advisor.training.runner import DeviceRunner

    OnEvent = Callable[[TuningEvent | SearchEvent], None]

_LOOK_EVERY_S = 5.0
# How often a worker writes down what it did; it costs a statement.
_NOTE_EVERY_S = 10.0


class StudyAbsentError(InputError):
    """The study, or its database, is not there; it may be later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """One call of `worker`.

    Attributes:
        address: Of the study.
        output: The run folder as this machine sees it; None for the path that `tune` had.
        device: As in `TuningRequest`.
        workers: Likewise.
        pack: Likewise.
        time_limit_s: Seconds after which it leaves, None to stay to the end.
        wait_s: Seconds to wait for a study that is not there yet.
    """

    address: "Address"
    output: Path | None = None
    device: str | None = None
    workers: int | None = 1
    pack: int | None = None
    time_limit_s: float | None = None
    wait_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What a worker did.

    Attributes:
        n_finished: Trials that it finished.
        n_in_all: Trials that the study has finished.
        n_trials: Trials that it may have.
        left: Why it left: "over", or "time" or "asked", with its trials handed back.
        use: How its time was spent.
    """

    n_finished: int
    n_in_all: int
    n_trials: int
    left: str
    use: tuple[WorkerUse, ...]


def join(request: JoinRequest, on_event: "OnEvent", *, clock: Callable[[], float] = time.time) -> Joined:
    """Train trials of a shared study until it is over, the time is up or the process is asked to leave.

    Args:
        request: What is asked.
        on_event: Told of everything that happens.
        clock: Seconds since the epoch.

    Raises:
        InputError: The study is not there, or this machine does not see its folder or data as `tune` did.
        AdvisorError: A base model cannot be loaded, the disk refused, or the database is gone.
    """
    from advisor.search import InterruptRequested, interruptible
    from advisor.search.sharing import database_errors

    began_s = clock()
    with interruptible(lambda number: on_event(InterruptRequested(signal=number))) as interruption:
        shared = _found(request, on_event, lambda: interruption.requested)
        if shared is None:
            return Joined(n_finished=0, n_in_all=0, n_trials=0, left="asked", use=())
        try:
            with database_errors(request.address):
                if not shared.is_open:
                    return _joined(shared, (), "over", 0)
                return _take_part(request, shared, on_event, clock, began_s, lambda: interruption.requested)
        finally:
            shared.close()


def _found(request: JoinRequest, on_event: "OnEvent", interrupted: Callable[[], bool]) -> "SharedStudy | None":
    """Return the study when it is there and was begun by `tune`; None when asked to leave meanwhile.

    Raises:
        InputError: It was not there in time, or the database refuses.
    """
    end_s = time.monotonic() + request.wait_s
    told = False
    while not interrupted():
        try:
            shared = _opened(request)
        except StudyAbsentError:
            if time.monotonic() >= end_s:
                raise
        else:
            return shared
        if not told:
            on_event(StageStarted(text=f"waiting for study {request.address.study}"))
            told = True
        time.sleep(min(_LOOK_EVERY_S, max(0.0, end_s - time.monotonic())))
    return None


def _opened(request: JoinRequest) -> "SharedStudy":
    from advisor.search.sharing import PLAN, TIMES, StorageAwayError, connect, find_study

    try:
        storage = connect(request.address)
    except StorageAwayError as error:
        raise StudyAbsentError(str(error)) from None
    try:
        shared = find_study(storage, request.address)
        if shared is not None and PLAN in (attributes := shared.attributes):
            storage.heartbeat_interval, storage.grace_period = attributes[TIMES]
            return shared
    except BaseException:
        storage.close()
        raise
    storage.close()
    raise StudyAbsentError(
        f"--study {request.address.study}: no such study in {request.address.shown}; `tune --storage` begins it, and "
        "--study there names it"
    )


def _take_part(
    request: JoinRequest,
    shared: "SharedStudy",
    on_event: "OnEvent",
    clock: Callable[[], float],
    began_s: float,
    interrupted: Callable[[], bool],
) -> Joined:
    from advisor.search import run_part
    from advisor.search.events import TrialFinished
    from advisor.search.sharing import Process, process_name

    settings = shared.settings()
    assignment = _assignment_of(shared)
    folder = _folder_of(request, shared)
    asked = _tuning_request(request, assignment, shared)
    start, data = _prepared(asked, assignment, settings)
    own = folder / FOLDER_NAME / shared.process_id
    own.mkdir(parents=True, exist_ok=True)
    on_event(
        Joining(
            study=shared.address.study, folder=folder, metric=settings.metric, n_trials=int(shared.plan()["n_trials"]),
            has_costs=len(settings.objectives) > 1, has_bases=bool(settings.space.bases),
        )
    )  # fmt: skip
    on_event(StageStarted(text="loading PyTorch and the base model"))
    runner, _ = ready_runner(asked, start, data, own, on_event)
    estimate = estimate_of(start)
    devices = devices_of(asked, runner, estimate.peak_memory_bytes if estimate else None)
    asked = replace(asked, workers=len(devices))
    plan = replace(plan_of(asked, settings, runner.device), time_limit_s=_left_s(request, began_s, clock()))
    estimates = _fit(asked, start, runner, plan, own, on_event)
    n_finished = 0
    noted_s = -_NOTE_EVERY_S
    with workers_of(asked, start, data, own, runner, devices) as workers:
        measured = MeasuredRunner(workers, name=devices[0])
        process = Process(name=process_name("worker"), role="worker")

        def told(event: "TuningEvent | SearchEvent") -> None:
            nonlocal n_finished, noted_s
            on_event(event)
            n_finished += isinstance(event, TrialFinished) and not event.elsewhere
            if time.monotonic() - noted_s > _NOTE_EVERY_S:
                shared.note(replace(process, workers=measured.use()))
                noted_s = time.monotonic()

        stopped = run_part(
            folder, settings, plan, measured if estimates is None else GuardedRunner(measured, estimates), shared,
            clock=clock, on_event=told, interrupted=lambda: interrupted() or not shared.is_open,
        )  # fmt: skip
        shared.note(replace(process, workers=measured.use(), has_left=True))
        return _joined(shared, measured.use(), _why(stopped, shared, interrupted()), n_finished)


def _fit(
    asked: TuningRequest,
    start: StartingPoint,
    runner: "DeviceRunner",
    plan: Plan,
    own: Path,
    on_event: "OnEvent",
) -> CorrectedEstimates | None:
    """Measure what fits on this device and how many trials it trains at once, as `tune` does on its own."""
    estimate = estimator_for(start.task, runner.device)
    probe = find_probe(own, runner, start.recommended, estimate, on_event)
    estimates = None if probe is None else CorrectedEstimates(probe=probe, task=start.task, estimate=estimate)
    packing = find_packing(
        own, runner, start.recommended, asked=asked.pack, n_trials=plan.n_trials, estimates=estimates,
        on_event=on_event,
    )  # fmt: skip
    runner.slots = packing.size
    return estimates


def _assignment_of(shared: "SharedStudy") -> Assignment:
    """Return what the study asks of its workers.

    Raises:
        InputError: It was begun by another version of this package.
    """
    from advisor.search.sharing import REQUEST, VERSION

    attributes = shared.attributes
    if attributes.get(VERSION) != own_version():
        raise InputError(
            f"--study {shared.address.study}: it was begun with peft-advisor {attributes.get(VERSION)}, and this is "
            f"{own_version()}; install the same version on all machines"
        )
    return from_plain(Assignment, attributes[REQUEST], where=f"request of study {shared.address.study}")


def _folder_of(request: JoinRequest, shared: "SharedStudy") -> Path:
    """Return the run folder, and go where `tune` ran, from where relative paths of data and models are meant.

    Raises:
        InputError: This machine does not see it.
    """
    from advisor.search.sharing import FOLDER, FOLDER_TOKEN, REQUEST, folder_token

    attributes = shared.attributes
    folder = (request.output or Path(attributes[FOLDER])).absolute()
    if not folder.is_dir() or folder_token(folder) != attributes[FOLDER_TOKEN]:
        raise InputError(
            f"--output: {folder} is not the run folder of study {shared.address.study} on this machine; it has to lie "
            "on a file system that all workers see: mount it, or name it with --output"
        )
    directory = Path(str(attributes[REQUEST]["directory"]))
    if directory.is_dir():
        os.chdir(directory)
    return folder


def _tuning_request(request: JoinRequest, assignment: Assignment, shared: "SharedStudy") -> TuningRequest:
    plan, places = shared.plan(), {split: Path(place) for split, place in assignment.places.items()}
    return TuningRequest(
        train=places.get("train"),
        valid=places.get("valid"),
        test=places.get("test"),
        recommendation=assignment.recommendation,
        n_trials=plan["n_trials"],
        target=plan["target"],
        seed=shared.settings().seed,
        device=request.device,
        workers=request.workers,
        pack=request.pack,
        columns=assignment.columns,
        split=assignment.split,
        sample=assignment.sample,
        dedup=assignment.dedup,
        group_by=assignment.group_by,
        allow_execution=assignment.allow_execution,
        command="",
    )


def _prepared(
    asked: TuningRequest, assignment: Assignment, settings: "StudySettings"
) -> tuple[StartingPoint, TuningData]:
    """Read the data and check that it is what the study is about.

    Raises:
        InputError: It is not there.
        DataError: It is not the same.
    """
    task = find_task(settings.task)
    data = read_data(asked, task)
    differing: list[Split] = [split for split, file in data.files.items() if file.sha256 != settings.data.get(split)]
    if differing:
        raise DataError(
            f"the content of the {' and '.join(differing)} data differs from that of the study; put the same files at "
            "the same paths on all machines"
        )
    measured, lines = task_as_measured(task, data.files, allow_execution=assignment.allow_execution)
    start = StartingPoint(
        recommendation=assignment.recommendation, task=measured, space=settings.space, warm_starts=settings.warm_starts
    )
    return start, data.with_warnings(lines)


def _left_s(request: JoinRequest, began_s: float, now_s: float) -> float | None:
    """Return the seconds that are left for training."""
    return None if request.time_limit_s is None else max(0.0, request.time_limit_s - (now_s - began_s))


def _why(stopped: "StopReason", shared: "SharedStudy", was_asked: bool) -> str:
    if was_asked:
        return "asked"
    return "time" if stopped == "time" and shared.is_open else "over"


def _joined(shared: "SharedStudy", use: tuple[WorkerUse, ...], left: str, n_finished: int) -> Joined:
    from advisor.search.shared_keeper import RECORD

    in_all = sum(RECORD in trial.user_attrs for trial in shared.study.get_trials(deepcopy=False))
    return Joined(n_finished=n_finished, n_in_all=in_all, n_trials=int(shared.plan()["n_trials"]), left=left, use=use)
