"""What attacks are aimed at, and whether they hit it."""

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from advisor.execution import Execution, Limits, Program
from studies.sandbox_attacks.attacks import Attack

LIMITS = Limits(
    cpu_s=2, wall_s=5.0, memory_bytes=256 * 2**20, n_processes=64, file_bytes=8 * 2**20, disk_bytes=32 * 2**20
)
VARIABLE = "SANDBOX_ATTACKS_SECRET"
_MARK = b"What runs inside the sandbox"  # in the command line of every process of a program
_LAUNCHER = b"advisor.execution.launcher"  # in those of the sandbox around it


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Targets outside the sandbox.

    Attributes:
        folder: All may write in it; it holds `secret`, a file that all may read.
        secret: Content of that file and of the environment variable `VARIABLE`.
        limits: For the attacks.
        server: Listens on a port of this machine.
        datagrams: Waits for datagrams at the same port.
        abstract: Listens on a local socket without a file.
    """

    folder: Path
    secret: str
    limits: Limits
    server: socket.socket
    datagrams: socket.socket
    abstract: socket.socket

    def program(self, attack: Attack) -> Program:
        """Return the attack with its targets."""
        target = {
            "port": self.server.getsockname()[1], "folder": str(self.folder), "caller": os.getpid(),
            "secret_file": str(self.folder / "secret"), "secret_variable": VARIABLE,
            "limit_bytes": self.limits.memory_bytes, "abstract_name": self.abstract.getsockname(),
        }  # fmt: skip
        names = "".join(f"{name} = {value!r}\n" for name, value in target.items())
        return Program(source=names + attack.source, tests=attack.tests, entry_point="answer")

    def escapes(self, execution: Execution) -> list[str]:
        """Say what an attack hit, one line each."""
        found = [f"{path.name} stands outside" for path in self.folder.iterdir() if path.name != "secret"]
        if not (self.folder / "secret").exists() or (self.folder / "secret").read_text() != self.secret:
            found.append("a file outside was changed")
        if self.secret in execution.stdout + execution.stderr + execution.error:
            found.append("the secret was read")
        if any(_has_visitor(one) for one in (self.server, self.datagrams, self.abstract)):
            found.append("the network was reached")
        if execution.left_behind or _has_lasting_orphans():
            found.append("a process was left behind")
        return found


@contextmanager
def arena(limits: Limits = LIMITS) -> Iterator[Arena]:
    """Set up the targets and take them away again."""
    secret = secrets.token_hex(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o777)
        (folder / "secret").write_text(secret)
        (folder / "secret").chmod(0o666)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(server.getsockname())
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0sandbox-attacks-{secrets.token_hex(8)}")
        abstract.listen()
        for one in (server, datagrams, abstract):
            one.setblocking(False)
        os.environ[VARIABLE] = secret
        stack.callback(os.environ.pop, VARIABLE)
        yield Arena(
            folder=folder, secret=secret, limits=limits, server=server, datagrams=datagrams, abstract=abstract
        )  # fmt: skip


def _has_lasting_orphans() -> bool:
    """Look again for a while: other runs on this machine may just be clearing up."""
    for _ in range(20):
        if n_orphans() == 0:
            return False
        time.sleep(0.1)
    return True


def n_orphans() -> int:
    """Count processes of programs, anywhere on this machine, that no sandbox stands above any more."""
    commands: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            commands[int(path.name)] = (path / "cmdline").read_bytes()
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return sum(
        _MARK in command and not any(_LAUNCHER in commands.get(one, b"") for one in _ancestors(pid, parents))
        for pid, command in commands.items()
    )


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def _has_visitor(listening: socket.socket) -> bool:
    try:
        if listening.type == socket.SOCK_DGRAM:
            listening.recv(16)
        else:
            listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True
