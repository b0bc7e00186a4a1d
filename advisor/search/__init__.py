"""Search: an Optuna study under a budget that decides which candidates are tried and for how long.

`run_search` is the way in; `history` shows a study as a table. What runs the trials is a `TrialRunner`.
"""

from collections.abc import Callable
from contextlib import ExitStack
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
from advisor.search.loop import Search
from advisor.search.outcome import SearchOutcome, best_of
from advisor.search.sampling import SAMPLER_NAME
from advisor.search.settings import StudySettings
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
    "StudySettings",
    "adapter_folder",
    "best_of",
    "check_settings",
    "history",
    "interruptible",
    "read_records",
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
) -> SearchOutcome:
    """Run or continue the study of an existing run folder until its trials or its time are used up.

    The arguments are those of `Search`.

    Raises:
        InputError: The folder holds a study with other settings.
        DataError: What the folder holds cannot be read or does not belong together.
        AdvisorError: No trial gave a result, or the disk refused a write.
    """
    with quiet_optuna(), ExitStack() as at_the_end:
        try:
            study = open_study(folder, settings)
            at_the_end.callback(close_study, study)
            return Search(
                study=study,
                journal=Journal(folder),
                folder=folder,
                settings=settings,
                plan=plan,
                runner=runner,
                clock=clock,
                on_event=on_event,
                interrupted=interrupted,
            ).run()
        except (StorageInternalError, SQLAlchemyError, OSError) as error:
            raise AdvisorError(
                f"{folder}: cannot be written ({reason_of(error)}); nothing finished is lost: free space or make it "
                "writable, then run the same command again to go on"
            ) from error
