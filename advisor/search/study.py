"""The Optuna study behind a run folder: storage, sampler and pruner.

Choices, with Optuna's own classes throughout:

* The sampler: see `advisor.search.sampling`.
* `MedianPruner` on the rungs: a trial whose best value so far lies under the median of the complete trials
  at the same rung is stopped. Successive halving keeps a better half too, but of the few trials seen so far,
  and from the second trial on: one strong warm start stops nearly everything that comes after it. The median
  waits until `N_FREE_TRIALS` more trials than there are warm starts are complete, so it never judges by warm
  starts alone.
* Failed trials (out of memory, NaN) are told to Optuna as pruned with a violated constraint `runs`:
  samplers skip trials of state FAIL, and this way the sampler keeps away from what does not run.
* With several objectives the study has a direction for each and nothing is pruned: what a trial is worth in all of
  them is known at its end only, and Optuna compares intermediate values of one objective alone.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.exceptions import OptunaError
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from advisor import durable
from advisor.errors import AdvisorError, DataError, InputError
from advisor.records import from_plain, to_plain
from advisor.search.pareto import directions_of
from advisor.search.settings import StudySettings, first_difference
from advisor.trial import Objective

FILE_NAME = "study.db"
STUDY_NAME = "peft-advisor"
PRUNER_NAME = MedianPruner.__name__
NO_PRUNER_NAME = NopPruner.__name__

N_FREE_TRIALS = 3

# https://www.sqlite.org/rescode.html
_REFUSED = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_LOCKED")
_SETTINGS = "settings"
_SPENT = "search_duration_s"


def open_study(folder: Path, settings: StudySettings) -> optuna.Study:
    """Open the study of a run folder, or begin it; `study.db` appears whole or not at all.

    Raises:
        InputError: The folder holds a study with other settings.
        DataError: `study.db` is not a study.
        AdvisorError: The disk refused to read or write it.
    """
    path = folder / FILE_NAME
    try:
        if not path.exists():
            _make(path, settings)
        return continue_study(sqlite_storage(path), settings, str(folder))
    except (OptunaError, SQLAlchemyError, sqlite3.Error, RuntimeError, KeyError) as error:
        if _is_refused(error):
            raise AdvisorError(
                f"{path}: cannot be read or written ({reason_of(error)}); run the same command again to go on"
            ) from error
        raise DataError(f"{path}: not a study that can be continued ({reason_of(error)})") from error


def close_study(study: optuna.Study) -> None:
    """Close the file of a study that `open_study` opened."""
    # Optuna puts a cache around a database and has no public way to close it.
    storage = getattr(study._storage, "_backend", study._storage)
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def check_settings(folder: Path, settings: StudySettings) -> None:
    """Check that a study in the folder, if there is one, can be continued with these settings.

    Raises:
        InputError: It was begun with other settings.
        DataError: It cannot be read.
    """
    if (folder / FILE_NAME).exists():
        close_study(open_study(folder, settings))


def begin_study(storage: BaseStorage, settings: StudySettings) -> None:
    """Create an empty study with its settings in a storage."""
    directions = directions_of(settings.objectives)
    study = optuna.create_study(storage=storage, study_name=STUDY_NAME, directions=directions)
    study.set_user_attr(_SETTINGS, to_plain(settings))


def continue_study(storage: BaseStorage, settings: StudySettings, where: str) -> optuna.Study:
    """Load the study of a storage.

    Raises:
        InputError: It was begun with other settings; `where` stands in the message.
    """
    study = optuna.load_study(study_name=STUDY_NAME, storage=storage)
    begun_with = from_plain(StudySettings, study.user_attrs.get(_SETTINGS), where="settings of the study")
    difference = first_difference(begun_with, settings)
    if difference:
        raise InputError(
            f"{where} holds a study with other settings ({difference}); "
            "use the same settings to continue it or `--output` for another folder"
        )
    return study


def sqlite_storage(path: Path) -> RDBStorage:
    """Open (or create) an SQLite storage."""
    # The path goes past the URL: `?`, `%` and braces in it would be read as something else there.
    connect = partial(sqlite3.connect, path.resolve(), timeout=60.0, check_same_thread=False)
    return RDBStorage(f"sqlite:///{FILE_NAME}", engine_kwargs={"creator": connect})


def make_pruner(n_warm_starts: int, objectives: Sequence[Objective] = ("quality",)) -> BasePruner:
    """Return the pruner of a study with that many warm starts; see the module's docstring."""
    if len(objectives) > 1:
        return NopPruner()
    return MedianPruner(n_startup_trials=n_warm_starts + N_FREE_TRIALS)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's line per trial off the terminal; progress is shown from events."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def spent_s(study: optuna.Study) -> float:
    """Return the seconds of search that earlier runs of the study took."""
    return float(study.user_attrs.get(_SPENT, 0.0))


def note_spent(study: optuna.Study, duration_s: float) -> None:
    """Keep the seconds of search over all runs, so that a resumed run counts on."""
    study.set_user_attr(_SPENT, duration_s)


def reason_of(error: BaseException) -> str:
    """Return in one line what a storage or a disk said."""
    cause = _origin(error)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _make(path: Path, settings: StudySettings) -> None:
    unfinished = path.with_name(FILE_NAME + ".part")
    for left in (unfinished, unfinished.with_name(unfinished.name + "-journal")):  # by a killed process
        left.unlink(missing_ok=True)
    storage = sqlite_storage(unfinished)
    try:
        begin_study(storage, settings)
    finally:
        storage.engine.dispose()
    durable.put_in_place(unfinished, path)


def _is_refused(error: BaseException) -> bool:
    """Say whether the disk is to blame (full, read-only, locked, broken), not the content of the file."""
    name = getattr(_origin(error), "sqlite_errorname", "") or ""
    return name.startswith(_REFUSED)


def _origin(error: BaseException) -> BaseException:
    """Return what SQLite or the operating system said, from inside the errors of SQLAlchemy and Optuna."""
    while (inner := getattr(error, "orig", None) or error.__cause__) is not None:
        error = inner
    return error
