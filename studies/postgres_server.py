"""A PostgreSQL server of one's own: data folder of its own, loopback only, gone at the end.

Tests and studies start it where the programs of a PostgreSQL installation are found.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import sqlalchemy

# Debian keeps the server's programs out of PATH.
_PLACES = "/usr/lib/postgresql"
_ACCOUNT = "postgres"  # the server refuses to run as root
_START_S = 60


@dataclass
class PostgresServer:
    """A server; `start`, `stop` and `kill` may follow each other any number of times.

    Attributes:
        folder: Holds the data folder and the log.
        port: On 127.0.0.1.
        password: Of the user `advisor`.
    """

    folder: Path
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """URL without the password, as `--storage` takes it."""
        return f"postgresql+psycopg://advisor@127.0.0.1:{self.port}/postgres"

    @property
    def url_with_password(self) -> str:
        """URL with the password, for libraries that look nowhere else."""
        return self.url.replace("advisor@", f"advisor:{self.password}@")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300"
        log = self.folder / "log"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(log), "-o", options, "-w", "-t", str(_START_S), "start")

    def stop(self) -> None:
        """Stop the server as an administrator does who does not wait for clients."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """Stop the server as a loss of power does; `start` goes on from its log of writes."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def new_database(self) -> str:
        """Make an empty database and return its URL with the password."""
        name = f"d{uuid4().hex[:12]}"
        engine = sqlalchemy.create_engine(self.url_with_password, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url_with_password.removesuffix("postgres") + name

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    @property
    def is_running(self) -> bool:
        """Does it run?"""
        return (self._data / "postmaster.pid").is_file()

    def freeze(self) -> None:
        """Let the server and its connections answer nothing, as a cut line does, until `thaw`."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """End what `freeze` began."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # a connection that has just ended
                os.kill(pid, signal.SIGCONT)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _pids(self) -> list[int]:
        children = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False).stdout
        return [self.pid, *map(int, children.split())]

    def _make(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self.folder, password_file):
                shutil.chown(path, _ACCOUNT, _ACCOUNT)
        self._run(
            "initdb", "-D", str(self._data), "-U", "advisor", "--auth=scram-sha-256", "-E", "UTF8",
            f"--pwfile={password_file}", "--no-sync",
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        found = _program(program)
        assert found is not None
        account = {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [found, *arguments], cwd=self.folder, check=False, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if program == "initdb" else None, **account,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: exit code {done.returncode} {done.stderr or ''}; see {self.folder / 'log'}")


def why_not() -> str | None:
    """Return why no server can be started here, None where one can."""
    missing = [program for program in ("initdb", "pg_ctl") if _program(program) is None]
    if missing:
        return f"{' and '.join(missing)} of PostgreSQL not found in PATH or {_PLACES}"
    if os.name != "posix":
        return "the server is started with the accounts of a POSIX system"
    if os.geteuid() == 0:
        import pwd

        try:
            pwd.getpwnam(_ACCOUNT)
        except KeyError:
            return f"PostgreSQL does not run as root, and there is no account {_ACCOUNT!r}"
    return None


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yield a running server.

    Raises:
        RuntimeError: It cannot be started.
    """
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="peft-advisor-postgres-"))
    server = PostgresServer(folder=folder, port=port, password=secrets.token_hex(8))
    try:
        server._make()
        server.start()
        yield server
    finally:
        if server.is_running:
            with contextlib.suppress(RuntimeError):
                server.thaw()
                server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    installed = sorted(map(str, Path(_PLACES).glob(f"*/bin/{name}")), reverse=True)
    return shutil.which(name) or next((path for path in installed if os.access(path, os.X_OK)), None)
