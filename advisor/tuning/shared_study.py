"""A study in a database: `tune`'s side of it, and what a worker on another machine has to know.

The database holds no credentials and no data: what to read stands there, and each worker reads it itself.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.errors import InputError
from advisor.recommendation import Recommendation
from advisor.records import to_plain
from advisor.spec import Repetition
from advisor.trial import WorkerUse
from advisor.tuning.request import TuningRequest
from advisor.tuning.versions import installed_versions

if TYPE_CHECKING:
    from advisor.search.settings import StudySettings
    from advisor.search.sharing import Address, SharedStudy
    from advisor.tuning.study_run import StudyRun

VARIABLE = "PEFT_ADVISOR_STORAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a worker needs beside the settings of the study to train its trials.

    Attributes:
        recommendation: Of the study.
        places: Split to file, folder or dataset of the hub, as given to `tune`.
        columns: As in `TuningRequest`.
        split: Likewise.
        sample: Likewise.
        dedup: Likewise.
        group_by: Likewise.
        allow_execution: Likewise.
        directory: Where `tune` ran: relative places are meant from there.
    """

    recommendation: Recommendation
    places: Mapping[str, str]
    columns: Mapping[str, str]
    split: str | None
    sample: int | None
    dedup: Repetition | None
    group_by: str | None
    allow_execution: bool
    directory: str


def assignment_of(run: "StudyRun") -> Assignment:
    """Return what the workers of a study need to know."""
    request = run.request
    named = {"train": request.train, "valid": request.valid, "test": request.test}
    return Assignment(
        recommendation=run.start.recommendation,
        places={split: str(place) for split, place in named.items() if place is not None},
        columns=request.columns,
        split=request.split,
        sample=request.sample,
        dedup=request.dedup,
        group_by=request.group_by,
        allow_execution=request.allow_execution,
        directory=str(Path.cwd()),
    )


def address_of(request: TuningRequest, folder: Path) -> "Address | None":
    """Return where the study of a run folder is, None where it is in the folder.

    Raises:
        InputError: The request and the folder do not agree on it, or the URL is none.
    """
    from advisor.search.sharing import Address, storage_of_folder

    kept = storage_of_folder(folder)
    if request.storage is None:
        if kept is not None:
            raise InputError(f"--output: the study of {folder} is in a database; give --storage {kept[0]} to go on")
        return None
    if (folder / "study.db").exists():
        raise InputError(
            f"--storage: the study of {folder} is in its study.db; leave --storage out, or name a new folder (--output)"
        )
    if kept is not None and request.study not in (None, kept[1]):
        raise InputError(f"--study {request.study}: the study of {folder} is named {kept[1]}")
    address = Address(url=request.storage, study=request.study or (kept[1] if kept else folder.resolve().name))
    _ = address.parsed
    return address


def check_storage(address: "Address", folder: Path, settings: "StudySettings") -> None:
    """Find out at once whether the database can be used and its study continued; nothing is written into the folder.

    Raises:
        InputError: It cannot.
    """
    from advisor.search.sharing import SETTINGS, check_shared, connect, find_study, folder_token

    storage = connect(address)
    try:
        shared = find_study(storage, address)
        if shared is not None and SETTINGS in shared.attributes:
            check_shared(shared, settings, folder_token(folder))
    finally:
        storage.close()


def checked_storage(url: str | None) -> str | None:
    """Return the URL of a command line, without a password in it: other users and the shell's history would see it.

    Raises:
        InputError: There is one, or it is no URL of a PostgreSQL database.
    """
    if url is None or url == os.environ.get(VARIABLE):
        return url
    from advisor.search.sharing import Address

    if Address(url=url, study="").holds_password:
        raise InputError(
            "--storage: leave the password out of the command line: others see it there; put it into PGPASSWORD, a "
            f"file named by PGPASSFILE, or give the whole URL in {VARIABLE}"
        )
    return url


def storage_to_name(address: "Address") -> str:
    """Return the URL that a worker's command line has to name, without a password.

    It is empty where the environment variable holds it: what stands there may be secret, and workers read it too.
    """
    return "" if address.url == os.environ.get(VARIABLE) else address.shown


@contextmanager
def shared_study_of(run: "StudyRun", address: "Address | None") -> "Iterator[SharedStudy | None]":
    """Yield the study in its database, open for workers; None where it is in the run folder.

    Args:
        run: The study; its folder is locked.
        address: Where it is.

    Raises:
        InputError: The database cannot be used, or its study not be continued.
    """
    if address is None:
        yield None
        return
    from advisor.search.sharing import Process, begin_or_continue, database_errors, process_name

    shared = begin_or_continue(
        address, run.settings, run.folder, request=to_plain(assignment_of(run)), version=own_version()
    )
    try:
        with database_errors(address):
            shared.set_plan(n_trials=run.request.n_trials, target=run.request.target, is_open=True)
            shared.note(Process(name=process_name("tune"), role="tune"))
            yield shared
    finally:
        shared.close()


def close_study(run: "StudyRun", shared: "SharedStudy") -> None:
    """Let no further trial begin: workers leave."""
    shared.set_plan(n_trials=run.request.n_trials, target=run.request.target, is_open=False)


def use_of_all(own: tuple[WorkerUse, ...], shared: "SharedStudy | None") -> tuple[WorkerUse, ...]:
    """Return how all that trained spent their time: the workers of this process, then the processes that joined."""
    if shared is None:
        return own
    from advisor.search.sharing import process_name

    ours = [replace(one, name=process_name(one.name)) for one in own]
    joined = [one for one in shared.processes().values() if one.role == "worker"]
    theirs = [replace(use, name=f"{use.name} ({one.name})") for one in joined for use in one.workers]
    return (*ours, *theirs)


def own_version() -> str:
    """Return the version of this package."""
    return installed_versions().get("peft-advisor", "unknown")
