"""What protects this machine from a generated program: found by trying, not by asking for versions.

A harmless program of our own goes through the walls that can be put up here and tries what an evil one would try.
"""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from advisor.errors import InputError
from advisor.execution.limits import MIB, Limits
from advisor.execution.outcome import Program
from advisor.execution.sandbox import SandboxError, Walls, require_permission, run_between

_LIMITS = Limits(cpu_s=5, wall_s=20.0, memory_bytes=64 * MIB, n_processes=8)

_ATTEMPTS = """
import json, os, signal, socket
done = {}
def attempt(name, action):
    try:
        action()
        done[name] = True
    except BaseException:
        done[name] = False
def fork_too_many():
    go, stop = os.pipe()
    for _ in range(n_processes + 100):  # without namespaces others of the same user may end and leave room
        if os.fork() == 0:
            os.close(stop)
            os.read(go, 1)
            os._exit(0)
attempt("network", lambda: socket.create_connection(("127.0.0.1", port), 2))
attempt("reading", lambda: open(canary).read())
attempt("writing", lambda: open(beside, "w"))
attempt("signals", lambda: os.kill(bystander, signal.SIGKILL))
attempt("environment", lambda: os.environ[variable])
attempt("memory", lambda: bytearray(2 * memory_bytes))
attempt("processes", fork_too_many)
print(json.dumps(done))
"""
_OUTLIVING = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
"""
_SHARED_HUNGER = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        kept = bytearray(memory_bytes * 3 // 4)
        time.sleep(60)
time.sleep(60)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What a program could and could not do on this machine when it was tried.

    Attributes:
        walls: What the sandbox uses here.
        refused: Walls that this machine refuses, with the reason, one line each.
        network, reading, writing, signals, environment: Is it kept from the network, from reading and writing other
            files, from other processes, from environment variables?
        memory, processes, total_memory, leftovers: Are its memory, the number of its processes, and the memory of all
            of them limited; are processes that it leaves behind ended?
        disk: Are all its files together limited?
    """

    walls: Walls
    refused: tuple[str, ...]
    network: bool
    reading: bool
    writing: bool
    signals: bool
    environment: bool
    memory: bool
    processes: bool
    total_memory: bool
    leftovers: bool
    disk: bool

    def lines(self) -> list[str]:
        """Return what is and what is not protected, for people."""
        said = {
            "network": "the network",
            "reading": "reading files outside its folder (those of the Python installation and the system apart)",
            "writing": "writing files outside its folder",
            "signals": "signals to other processes",
            "environment": "environment variables of the caller",
            "memory": "more memory than allowed in one process",
            "total_memory": "more memory than allowed in all its processes together",
            "processes": "more processes than allowed",
            "leftovers": "processes that outlive it",
            "disk": "filling the disk with many files",
        }
        kept = [f"protected from {what}" for name, what in said.items() if getattr(self, name)]
        open_ = [f"NOT protected from {what}" for name, what in said.items() if not getattr(self, name)]
        always = [
            "NOT protected from faults of the kernel, nor from a program that forges its own pass",
        ]
        return [*kept, *open_, *always, *(f"not available here: {line}" for line in self.refused)]


@cache
def protection() -> Protection:
    """Try out what this machine protects from; about half a second, once per process.

    Raises:
        InputError: Programs cannot be run here at all.
    """
    require_permission(True)
    walls, refused = _found()
    with _targets() as names, subprocess.Popen(["sleep", "60"]) as bystander:
        names |= {"bystander": bystander.pid}
        attempts = run_between(walls, Program(source=_assigned(names) + _ATTEMPTS), _LIMITS)
        hit = bystander.poll() is not None  # counts more than what the program believes: its numbers may be others
        bystander.kill()
    if not attempts.passed:
        raise SandboxError(f"the sandbox was made but our own program failed in it: {attempts.error}")
    done = {name: bool(value) for name, value in json.loads(attempts.stdout).items()} | {"signals": hit}
    outliving = run_between(walls, Program(source=_OUTLIVING), _LIMITS)
    hunger = _assigned({"memory_bytes": _LIMITS.memory_bytes}) + _SHARED_HUNGER
    hungry = run_between(walls, Program(source=hunger), _LIMITS)
    return Protection(
        walls=walls,
        refused=refused,
        total_memory=hungry.outcome == "out-of-memory",
        leftovers=not outliving.left_behind and not hungry.left_behind,
        disk=walls.namespaces,
        **{name: not succeeded for name, succeeded in done.items()},
    )


def strongest_walls() -> Walls:
    """Return the walls that can be put up on this machine, tried once per process.

    Raises:
        InputError: Not even a process with limits can be had.
    """
    return _found()[0]


@cache
def _found() -> tuple[Walls, tuple[str, ...]]:
    """Try wall by wall; return those that stand and why the others do not."""
    refused: list[str] = []
    namespaces = _stands(Walls(namespaces=True), "namespaces", refused)
    landlock = not namespaces and _stands(Walls(landlock=True), "Landlock", refused)
    walls = Walls(namespaces=namespaces, landlock=landlock)
    if not namespaces and not landlock and not _stands(walls, "a process with limits", refused):
        reason = refused[-1]
        raise InputError(f"generated programs cannot be run here: {reason}; as root, try an ordinary user")
    with_seccomp = Walls(namespaces=namespaces, landlock=landlock, seccomp=True)
    if _stands(with_seccomp, "seccomp", refused):
        walls = with_seccomp
    return walls, tuple(refused)


def _stands(walls: Walls, name: str, refused: list[str]) -> bool:
    try:
        execution = run_between(walls, Program(source="pass"), _LIMITS)
    except SandboxError as error:
        refused.append(f"{name}: {error}")
        return False
    if not execution.passed:
        refused.append(f"{name}: an empty program did not pass ({execution.error})")
    return execution.passed


@contextmanager
def _targets() -> Iterator[dict[str, object]]:
    """Set up what the program shall not reach: a listening port, a file, a folder that all may write in."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        Path(folder).chmod(0o777)
        canary = Path(folder) / "canary"
        canary.write_text("readable by all")
        canary.chmod(0o644)
        yield {
            "port": server.getsockname()[1], "canary": str(canary), "beside": str(Path(folder) / "beside"),
            "variable": next(iter(os.environ.keys() - _GIVEN), "USER"),
            "memory_bytes": _LIMITS.memory_bytes, "n_processes": _LIMITS.n_processes,
        }  # fmt: skip


_GIVEN = {"HOME", "TMPDIR", "PATH", "LANG", "PYTHONHASHSEED"}


def _assigned(names: dict[str, object]) -> str:
    return "".join(f"{name} = {value!r}\n" for name, value in names.items())
