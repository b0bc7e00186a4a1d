"""Serves Optuna's dashboard on the study of a run folder, for reading only.

The dashboard can change and delete studies. Here it cannot: SQLite opens study.db read-only, PostgreSQL begins every
transaction read-only, and requests that would change something are refused before they reach them. Of a study in
PostgreSQL all studies of that database are shown. A reader locks study.db for milliseconds and `tune` waits for locks,
so both can be at work at once; no copy is made and what a trial reports shows at the next refresh of the page.

Not covered: a study whose `tune` was killed while it wrote to study.db has to be opened by `tune` once, which rolls
the write back; a reader may not.
"""

import json
import os
import socket
import sqlite3
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from advisor.errors import DataError, InputError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna.storages import RDBStorage

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::")  # addresses to listen on, not to go to
_READING = ("GET", "HEAD")
_BUSY_S = 60.0


def serve(folder: Path, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        folder: Run folder with a study.
        host: Address to listen on.
        port: Port to listen on, 0 for any that is free.
        on_ready: Told the address, such as "http://127.0.0.1:8080", once the server listens.

    Raises:
        InputError: The package is missing, the folder holds no study, or the address cannot be listened on.
        DataError: `study.db` is not a study.
    """
    if find_spec("optuna_dashboard") is None:
        raise InputError("optuna-dashboard is not installed; pip install 'peft-advisor[dashboard]'")
    storage = _storage_of(folder)
    with _listening(host, port) as server:
        server.set_app(guarded(_dashboard(storage), local_only=host in LOOPBACK))
        shown = "127.0.0.1" if host in _EVERYWHERE else host
        on_ready(f"http://{f'[{shown}]' if ':' in shown else shown}:{server.server_port}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _storage_of(folder: Path) -> "RDBStorage":
    """Open the storage that the study of a run folder is in: its own file, or a database that several work on."""
    from advisor.search.sharing import Address, connect_for_reading, storage_of_folder
    from advisor.tuning.shared_study import VARIABLE

    if (shared := storage_of_folder(folder)) is not None:
        url, study = shared
        return connect_for_reading(Address(url=os.environ.get(VARIABLE) or url, study=study))
    path = folder / "study.db"
    if not path.is_file():
        raise InputError(f"{folder}: no study there (no study.db); give the folder that `tune` wrote")
    return open_for_reading(path)


def open_for_reading(path: Path) -> "RDBStorage":
    """Open a study's database such that SQLite itself refuses to change it.

    Raises:
        DataError: It is not a study, or cannot be read.
    """
    import optuna
    from optuna.exceptions import OptunaError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    from advisor.search.study import STUDY_NAME, quiet_optuna, reason_of

    address = f"{path.resolve().as_uri()}?mode=ro"
    connect = partial(sqlite3.connect, address, uri=True, timeout=_BUSY_S, check_same_thread=False)
    try:
        with quiet_optuna():
            storage = RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect})
            optuna.load_study(study_name=STUDY_NAME, storage=storage)
    except (OptunaError, SQLAlchemyError, sqlite3.Error, RuntimeError, KeyError) as error:
        raise DataError(f"{path}: not a study that can be shown ({reason_of(error)})") from error
    return storage


def guarded(application: "WSGIApplication", *, local_only: bool) -> "WSGIApplication":
    """Return an application that only reads.

    Args:
        application: To ask what is allowed.
        local_only: Refuse requests under other names than this machine's own: a web page elsewhere can make a browser
            ask this server under a name of its own, and read the answer.
    """

    def answer(environment: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] not in _READING:
            return _refused("405 Method Not Allowed", "this dashboard only reads", start_response)
        if local_only and _host_name(environment.get("HTTP_HOST", "")) not in LOOPBACK:
            return _refused("403 Forbidden", "ask for 127.0.0.1 or localhost", start_response)
        return application(environment, start_response)

    return answer


def _dashboard(storage: "RDBStorage") -> "WSGIApplication":
    from optuna_dashboard import wsgi

    # Said for every refresh of the page that shows which hyperparameters matter, while there are few trials.
    warnings.filterwarnings("ignore", module=r"optuna\.")
    application: WSGIApplication = wsgi(storage)
    return application


def _refused(status: str, reason: str, start_response: "StartResponse") -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    return host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Listen without asking a name server for the machine's name, as the base class would."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of single requests."""


def _listening(host: str, port: int) -> _Server:
    try:
        return (_Server6 if ":" in host else _Server)((host, port), _QuietHandler)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"--host {host} --port {port}: cannot be listened on ({reason}); name another port") from error
