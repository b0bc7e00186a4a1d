"""Search: an Optuna study under a budget that decides which candidates are tried and for how long.

`run_search` is the way in; `history` shows a study as a table. What runs the trials is a `TrialRunner`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from advisor.errors import AdvisorError
from advisor.result import Plan
from advisor.search.adapters import adapter_folder
from advisor.search.events import InterruptRequested, SearchEvent
from advisor.search.history import history
from advisor.search.interruption import interruptible
from advisor.search.journal import Journal
from advisor.search.keeper import FolderKeeper
from advisor.search.loop import Search
from advisor.search.outcome import SearchOutcome, StopReason, best_of
from advisor.search.sampling import SAMPLER_NAME
from advisor.search.settings import StudySettings
from advisor.search.shared_keeper import SharedKeeper
from advisor.search.sharing import SharedStudy, database_errors
from advisor.search.study import (
    PRUNER_NAME,
    check_settings,
    close_study,
    open_study,
    quiet_optuna,
    reason_of,
)
from advisor.trial import TrialRunner
from advisor.trials_file import read_records

__all__ = [
    "PRUNER_NAME",
    "SAMPLER_NAME",
    "InterruptRequested",
    "SearchEvent",
    "SearchOutcome",
    "StopReason",
    "StudySettings",
    "adapter_folder",
    "best_of",
    "check_settings",
    "history",
    "interruptible",
    "read_records",
    "run_part",
    "run_search",
]


def run_search(
    folder: Path,
    settings: StudySettings,
    plan: Plan,
    runner: TrialRunner,
    *,
    clock: Callable[[], float],
    on_event: Callable[[SearchEvent], None],
    interrupted: Callable[[], bool],
    shared: SharedStudy | None = None,
) -> SearchOutcome:
    """Run or continue the study of an existing run folder until its trials or its time are used up.

    The arguments are those of `Search`, and `shared`: the study where it is in a database, None where it is in the
    folder.

    Raises:
        InputError: The folder holds a study with other settings.
        DataError: What the folder holds cannot be read or does not belong together.
        AdvisorError: No trial gave a result, or the disk refused a write.
    """
    search_of = partial(
        Search, folder=folder, settings=settings, plan=plan, runner=runner, clock=clock, on_event=on_event,
        interrupted=interrupted,
    )  # fmt: skip
    if shared is not None:
        with _shared_keeper(shared, folder, settings, clock, Journal(folder)) as keeper:
            return search_of(keeper=keeper).run()
    with quiet_optuna(), _disk_errors(folder, StorageInternalError, SQLAlchemyError):
        study = open_study(folder, settings)
        try:
            alone = FolderKeeper(study=study, journal=Journal(folder), folder=folder, settings=settings, clock=clock)
            return search_of(keeper=alone).run()
        finally:
            close_study(study)


def run_part(
    folder: Path,
    settings: StudySettings,
    plan: Plan,
    runner: TrialRunner,
    shared: SharedStudy,
    *,
    clock: Callable[[], float],
    on_event: Callable[[SearchEvent], None],
    interrupted: Callable[[], bool],
) -> StopReason:
    """Train trials of a study that another process leads, until it is over, closed, or this process is to leave.

    The arguments are those of `run_search`.

    Raises:
        DataError: What the database holds cannot be read.
        AdvisorError: A disk refused a write, or the database is gone.
    """
    with _shared_keeper(shared, folder, settings, clock, None) as keeper:
        return Search(
            keeper=keeper,
            folder=folder,
            settings=settings,
            plan=plan,
            runner=runner,
            clock=clock,
            on_event=on_event,
            interrupted=interrupted,
        ).take_part()


@contextmanager
def _shared_keeper(
    shared: SharedStudy,
    folder: Path,
    settings: StudySettings,
    clock: Callable[[], float],
    journal: Journal | None,
) -> Iterator[SharedKeeper]:
    """Keep a shared study; what is live at the end goes back into the queue."""
    with quiet_optuna(), database_errors(shared.address), _disk_errors(folder):
        keeper = SharedKeeper(shared=shared, folder=folder, settings=settings, clock=clock, journal=journal)
        try:
            yield keeper
        finally:
            keeper.close()


@contextmanager
def _disk_errors(folder: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Say in one line that a disk refused.

    Args:
        folder: Where.
        kinds: Errors that mean it, beside that of the operating system.

    Raises:
        AdvisorError: It did.
    """
    refusals: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except refusals as error:
        raise AdvisorError(
            f"{folder}: cannot be written ({reason_of(error)}); nothing finished is lost: free space or make it "
            "writable, then run the same command again to go on"
        ) from error
