"""A study in a database that several processes work on: its address, and what stands there beside the trials.

Beside Optuna's own tables nothing is made. What the processes have to agree on stands in user attributes of the study:
its settings, the request that a worker prepares itself from, the run folder, whether it is open, and what each process
did. The run folder holds `storage.json`, whose token says that folder and study belong together.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from optuna.exceptions import DuplicatedStudyError, OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from advisor import durable
from advisor.errors import AdvisorError, DataError, InputError, printable
from advisor.records import from_plain, to_plain
from advisor.search.pareto import directions_of
from advisor.search.patient_storage import PATIENCE_S, PatientStorage, is_away
from advisor.search.settings import StudySettings, first_difference
from advisor.search.study import quiet_optuna, reason_of
from advisor.trial import WorkerUse

FILE_NAME = "storage.json"
DIALECT = "postgresql+psycopg"
HEARTBEAT_S = 10
# Longer than a cut line or a restart of the database usually takes: what is only cut off is not trained twice.
GRACE_S = 60

# User attributes of the study.
SETTINGS = "settings"
REQUEST = "request"
FOLDER = "folder"
FOLDER_TOKEN = "folder_token"
VERSION = "version"
PLAN = "plan"
TIMES = "heartbeat"
_PROCESS = "process:"

# Parameters of a connection that are secrets: https://www.postgresql.org/docs/current/libpq-connect.html
_SECRET = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")


class StorageAwayError(InputError):
    """The database does not answer; it may later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a shared study is.

    Attributes:
        url: Of the database; a password in it is never shown or kept.
        study: Name of the study in it.
    """

    url: str = field(repr=False)
    study: str

    @property
    def shown(self) -> str:
        """The URL without its password, for people."""
        url = self.parsed
        query = {name: value for name, value in url.query.items() if name not in _SECRET}
        return URL.create(
            url.drivername, url.username, host=url.host, port=url.port, database=url.database, query=query
        ).render_as_string()

    @property
    def holds_password(self) -> bool:
        """Does a password stand in the URL?"""
        return self.parsed.password is not None or any(name in _SECRET for name in self.parsed.query)

    @property
    def parsed(self) -> URL:
        """The URL in its parts.

        Raises:
            InputError: It is not one of a PostgreSQL database.
        """
        try:
            url = make_url(self.url)
        except (ArgumentError, ValueError):
            raise InputError(f"--storage: not a URL; give one such as {DIALECT}://user@host/database") from None
        if url.drivername not in (DIALECT, "postgresql"):
            raise InputError(f"--storage: {printable(url.drivername)} is not {DIALECT}, the only one that is supported")
        return url.set(drivername=DIALECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process did in a shared study, as it stands in the database.

    Attributes:
        name: For people: host and what trains.
        role: "tune" or "worker".
        workers: How each of its workers spent its time.
        has_left: Did it say good-bye?
    """

    name: str
    role: str
    workers: tuple[WorkerUse, ...] = ()
    has_left: bool = False


@dataclass(kw_only=True)
class SharedStudy:
    """An open study in a database.

    Attributes:
        address: Where it is.
        storage: The connection.
        study: Optuna's side.
    """

    address: Address
    storage: PatientStorage
    study: optuna.Study
    process_id: str = field(default_factory=lambda: uuid4().hex[:12])

    @property
    def study_id(self) -> int:
        """Optuna's number of it."""
        return self.study._study_id

    @property
    def attributes(self) -> dict[str, Any]:
        """What stands beside the trials, fresh from the database."""
        return self.storage.get_study_user_attrs(self.study_id)

    @property
    def is_open(self) -> bool:
        """May new trials begin?"""
        plan = self.attributes.get(PLAN)
        return isinstance(plan, dict) and bool(plan.get("is_open"))

    def settings(self) -> StudySettings:
        """Return what the study is about.

        Raises:
            DataError: What stands there is not readable by this version.
        """
        return from_plain(StudySettings, self.attributes.get(SETTINGS), where=f"settings of study {self.address.study}")

    def plan(self) -> Mapping[str, Any]:
        """Return what the study may take: `n_trials`, `target`, `is_open`."""
        return dict(self.attributes.get(PLAN) or {})

    def set_plan(self, *, n_trials: int, target: float | None, is_open: bool) -> None:
        """Say what the study may take, and whether new trials may begin."""
        self.study.set_user_attr(PLAN, {"n_trials": n_trials, "target": target, "is_open": is_open})

    def note(self, process: Process) -> None:
        """Keep what this process did."""
        self.study.set_user_attr(f"{_PROCESS}{self.process_id}", to_plain(process))

    def processes(self) -> dict[str, Process]:
        """Return what each process did, by its id, in the order in which they joined."""
        return {
            key.removeprefix(_PROCESS): from_plain(Process, plain, where=key)
            for key, plain in self.attributes.items()
            if key.startswith(_PROCESS)
        }

    def close(self) -> None:
        """Close the connections."""
        self.storage.close()


def process_name(what: str) -> str:
    """Return the name of this process for people: host and what it trains with."""
    return f"{what} on {socket.gethostname()}"


def connect(
    address: Address, *, patience_s: float = PATIENCE_S, times: tuple[int, int] | None = None
) -> PatientStorage:
    """Connect to the database of a study.

    Args:
        address: Where it is.
        patience_s: Seconds to wait when it goes away later.
        times: Seconds between heartbeats, and without one until a trial is stale; None for the default.

    Raises:
        InputError: It is not there, refuses, or the driver is not installed.
    """
    heartbeat_s, grace_s = times or (HEARTBEAT_S, GRACE_S)
    url = address.parsed.render_as_string(hide_password=False)
    with _refusals(address):
        return PatientStorage(url, heartbeat_s=heartbeat_s, grace_s=grace_s, patience_s=patience_s)


def connect_for_reading(address: Address) -> RDBStorage:
    """Connect such that the server refuses to change anything.

    Raises:
        InputError: As for `connect`, or there is no such study.
    """
    url = address.parsed.render_as_string(hide_password=False)
    reading = {"options": "-c default_transaction_read_only=on"}
    with _refusals(address):
        storage = RDBStorage(url, engine_kwargs={"connect_args": reading}, skip_table_creation=True)
        optuna.load_study(study_name=address.study, storage=storage)
        return storage


def find_study(storage: PatientStorage, address: Address) -> SharedStudy | None:
    """Return the study of this name, None where there is none."""
    try:
        study = optuna.load_study(study_name=address.study, storage=storage)
    except KeyError:
        return None
    return SharedStudy(address=address, storage=storage, study=study)


def begin_or_continue(
    address: Address,
    settings: StudySettings,
    folder: Path,
    *,
    request: Mapping[str, Any],
    version: str,
    times: tuple[int, int] | None = None,
    patience_s: float = PATIENCE_S,
) -> SharedStudy:
    """Open the study of a run folder in its database, or begin it there.

    Args:
        address: Where it is to be.
        settings: What the study is about.
        folder: Existing run folder, which this process has locked.
        request: What a worker prepares itself from; holds no credentials.
        version: Of this package: workers must have the same.
        times: As in `connect`; kept with the study, so that all agree on it.
        patience_s: As in `connect`.

    Raises:
        InputError: The database is not there, or a study of this name belongs to another folder or other settings.
    """
    storage = connect(address, patience_s=patience_s, times=times)
    try:
        shared = find_study(storage, address)
        token = folder_token(folder)
        if shared is None:
            shared = _begin(storage, address, settings)
        if SETTINGS not in shared.attributes:  # new, or its process ended right after it had made it
            shared.study.set_user_attr(FOLDER_TOKEN, token or uuid4().hex)
            shared.study.set_user_attr(SETTINGS, to_plain(settings))
        check_shared(shared, settings, token)
        if not storage.claim(shared.study_id):
            raise InputError(
                f"--study {address.study}: another `tune` leads it at this moment; wait for it, or join with `worker`"
            )
        _write_token(folder, address, shared.attributes[FOLDER_TOKEN])
        shared.study.set_user_attr(REQUEST, dict(request))
        shared.study.set_user_attr(VERSION, version)
        shared.study.set_user_attr(FOLDER, str(folder.resolve()))
        shared.study.set_user_attr(TIMES, [storage.heartbeat_interval, storage.grace_period])
    except BaseException:
        storage.close()
        raise
    return shared


def check_shared(shared: SharedStudy, settings: StudySettings, token: str | None) -> None:
    """Check that a study can be continued with these settings from the folder with this token.

    Raises:
        InputError: It cannot.
    """
    name, where = shared.address.study, shared.address.shown
    difference = first_difference(shared.settings(), settings)
    if difference:
        raise InputError(
            f"--study {name}: {where} holds a study of this name with other settings ({difference}); "
            "use the same settings to continue it or `--study` for another name"
        )
    if shared.attributes.get(FOLDER_TOKEN) != token and token is not None:
        raise InputError(
            f"--study {name}: the run folder belongs to another study; name another with --output, or its own study"
        )
    if token is None and shared.study.get_trials(deepcopy=False):
        raise InputError(
            f"--study {name}: {where} holds a study of this name, whose run folder is "
            f"{shared.attributes.get(FOLDER, 'unknown')}; continue it there (--output) or give `--study` another name"
        )


def folder_token(folder: Path) -> str | None:
    """Return the token of a run folder, None where its study is in no database.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text())["token"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not readable ({error}); put the file back") from error


def storage_of_folder(folder: Path) -> tuple[str, str] | None:
    """Return URL (without password) and name of the study of a run folder, None where it is in no database."""
    path = folder / FILE_NAME
    try:
        plain = json.loads(path.read_text())
        return str(plain["storage"]), str(plain["study"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def database_errors(address: Address) -> Iterator[None]:
    """Say in one line that the database was away for too long, or refused.

    Raises:
        AdvisorError: It was, or did.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise AdvisorError(
            f"{address.shown}: the database is away or refuses ({_without_password(reason_of(error), address)}); "
            "nothing finished is lost: run the same command again to go on"
        ) from error


@contextmanager
def _refusals(address: Address) -> Iterator[None]:
    """Say in one line why a database cannot be used, without a password.

    Raises:
        InputError: It cannot.
    """
    try:
        yield
    except ImportError:
        raise InputError("--storage: the driver is not installed; pip install 'peft-advisor[postgres]'") from None
    except KeyError:
        raise InputError(f"--study {address.study}: no such study in {address.shown}") from None
    except (SQLAlchemyError, OptunaError, RuntimeError, OSError) as error:
        reason = _without_password(reason_of(error), address)
        raise (StorageAwayError if _may_come_back(error, reason) else InputError)(
            f"--storage {address.shown}: cannot be used ({printable(reason, limit=200)}); check that the server runs, "
            "and user and password (PGPASSWORD or PGPASSFILE)"
        ) from None


def _may_come_back(error: BaseException, reason: str) -> bool:
    """Is the server away, rather than refusing? It says FATAL for both; psycopg gives no code while it connects."""
    comes_back = any(said in reason for said in ("starting up", "shutting down", "too many", "recovery"))
    return is_away(error) and (comes_back or "FATAL" not in reason)


def _begin(storage: PatientStorage, address: Address, settings: StudySettings) -> SharedStudy:
    try:
        with quiet_optuna():
            study = optuna.create_study(
                storage=storage, study_name=address.study, directions=directions_of(settings.objectives)
            )
    except DuplicatedStudyError:
        raise AdvisorError(f"--study {address.study}: another process began it just now; run this again") from None
    return SharedStudy(address=address, storage=storage, study=study)


def _write_token(folder: Path, address: Address, token: str) -> None:
    path = folder / FILE_NAME
    plain = {"storage": address.shown, "study": address.study, "token": token}
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(plain, indent=2) + "\n")
    durable.put_in_place(unfinished, path)


def _without_password(text: str, address: Address) -> str:
    url = address.parsed
    for secret in (url.password, *(url.query.get(name) for name in _SECRET)):
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text
