"""Run one generated program and say how it ended."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from advisor.errors import AdvisorError, InputError
from advisor.execution.limits import Limits
from advisor.execution.namespaces import NOBODY
from advisor.execution.outcome import Execution, Outcome, Program
from advisor.execution.watch import Watch

_CLEARING_S = 10.0
_SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
# The launcher is imported without the packages around it: what they import would double its time.
_START = """
import sys
for name, path in (("advisor", sys.argv[1]), ("advisor.execution", sys.argv[2])):
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = [path]
from advisor.execution.launcher import main
main(sys.argv[3:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What keeps a program in, beside limits and clearing up; each as this machine allows.

    Attributes:
        namespaces: A root folder, network, process table and user of its own.
        seccomp: System calls for network, namespaces, hidden memory and other processes fail.
        landlock: Files outside its folder cannot be reached. Used without namespaces only.
    """

    namespaces: bool = False
    seccomp: bool = False
    landlock: bool = False


class SandboxError(AdvisorError):
    """The sandbox could not be made; nothing was run."""


def run_program(
    source: str | Program,
    *,
    limits: Limits | None = None,
    allow_execution: bool = False,
    walls: Walls | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Execution:
    """Run a program in a sandbox of its own and return when nothing of it is left.

    Args:
        source: Python source, or a program with its tests.
        limits: What it may use up; the defaults of `Limits` if None.
        allow_execution: Must be True: generated code is run on this machine. `protection()` says what that risks.
        walls: What to use of what the machine offers; the most there is if None.
        is_cancelled: Asked about twenty times a second; a program that is given up counts as killed.

    Raises:
        InputError: Running is not allowed, or not possible on this system.
        SandboxError: The sandbox could not be made.
    """
    require_permission(allow_execution)
    if walls is None:
        from advisor.execution.probe import strongest_walls  # it runs programs itself to find out

        walls = strongest_walls()
    program = Program(source=source) if isinstance(source, str) else source
    return run_between(walls, program, limits or Limits(), is_cancelled)


def require_permission(allow_execution: bool) -> None:
    """Refuse to run generated code that nobody has agreed to.

    Raises:
        InputError: There is no permission, or the system is not supported.
    """
    if sys.platform == "win32":
        raise InputError("generated programs are not run on Windows: it has no sandbox; use Linux, or WSL 2")
    if not allow_execution:
        raise InputError(
            "running generated programs is off: they are not checked and run on this machine; read what protects it "
            "with advisor.execution.protection(), then pass allow_execution=True (--allow-execution)"
        )


def run_between(
    walls: Walls, program: Program, limits: Limits, is_cancelled: Callable[[], bool] = lambda: False
) -> Execution:
    """Run a program between the walls named, which must be possible here; see `run_program`."""
    nonce = secrets.token_hex(16).encode()
    with ExitStack() as stack:
        pipes = [_pipe(stack) for _ in range(4)]
        out, err, report, status = (writing.fileno() for _, writing in pipes)
        seen = dict(zip(("stdout", "stderr", "report", "status"), (one.fileno() for one, _ in pipes), strict=True))
        watch = Watch(limits, **seen)
        home = tempfile.gettempdir() if walls.namespaces else stack.enter_context(_own_folder())
        given = [status, report, _filled_pipe(stack, nonce), _file(stack, program)]
        launcher = subprocess.Popen(
            _command(walls, limits, given, home), stdin=subprocess.PIPE, stdout=out, stderr=err, env={}, cwd="/",
            pass_fds=given, start_new_session=True,
        )  # fmt: skip
        try:
            for _, writing in pipes:
                writing.close()
            met = watch.until_end(
                launcher.pid, n_launcher_levels=1 if walls.namespaces else 0, is_cancelled=is_cancelled
            )
        finally:
            _clear_up(launcher, None if walls.namespaces else watch.guest_pid)
        watch.drain()
    return _judged(watch, met, nonce, limits)


def _judged(watch: Watch, met: Outcome | None, nonce: bytes, limits: Limits) -> Execution:
    """Turn what was seen into a verdict."""
    lines = watch.status.content.decode("utf-8", "replace").splitlines()
    for line in lines:
        if line.startswith("error "):
            raise SandboxError(f"the sandbox could not be made: {line.removeprefix('error ')}")
    if watch.started_s is None and not any(line.startswith("ended ") for line in lines):
        said = watch.stderr.content.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise SandboxError(f"the sandbox did not start: {said or 'no answer'}")
    ended = next((line.split() for line in lines if line.startswith("ended ")), None)
    code, cpu_s = (int(ended[1]), float(ended[2])) if ended else (None, 0.0)
    report = bytes(watch.report.content)
    if met is None and (watch.stdout.overflown or watch.stderr.overflown):
        met = "too-much-output"
    outcome, error = _outcome(met, code, cpu_s, report, nonce, limits)
    return Execution(
        outcome=outcome,
        exit_status=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        stdout=watch.stdout.content.decode("utf-8", "replace"),
        stderr=watch.stderr.content.decode("utf-8", "replace"),
        error=error,
        duration_s=watch.ended_s - (watch.started_s or watch.ended_s),
        left_behind=watch.is_held_open,
    )


def _outcome(
    met: Outcome | None, code: int | None, cpu_s: float, report: bytes, nonce: bytes, limits: Limits
) -> tuple[Outcome, str]:
    """Return outcome and error line from the limit met, the exit code and what the guest reported."""
    if met == "timed-out":
        return met, f"ran longer than {limits.wall_s:g} s"
    if met == "out-of-memory":
        return met, f"used more than {limits.memory_bytes} bytes with its processes"
    if met is not None:
        return met, f"wrote more than {limits.output_bytes} bytes"
    if code is None:
        return "killed", "its sandbox was ended from outside"
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu_s >= limits.cpu_s):
        return "timed-out", f"used more than {limits.cpu_s} s of processor time"
    if code < 0:
        return "killed", f"ended by signal {-code}"
    if code == 0 and report == b"passed " + nonce:
        return "passed", ""
    if report == b"MemoryError":
        return "out-of-memory", f"MemoryError within {limits.memory_bytes} bytes"
    said = report.decode("utf-8", "replace") if not report.startswith(b"passed") else ""
    return "failed", said or f"left with status {code} before the end"


def _command(walls: Walls, limits: Limits, descriptors: list[int], home: str) -> list[str]:
    python = str(Path(sys.executable).resolve())
    numbers = (limits.cpu_s, limits.memory_bytes, limits.n_processes, limits.n_open_files, limits.file_bytes)
    return [
        python, "-I", "-S", "-c", _START, str(Path(__file__).parents[1]), str(Path(__file__).parent),
        ",".join(wall for wall in ("namespaces", "seccomp", "landlock") if getattr(walls, wall)),
        ",".join(map(str, (*descriptors, os.getpid()))), ",".join(map(str, (*numbers, limits.disk_bytes))),
        home, python, *_readable_folders(python),
    ]  # fmt: skip


def _readable_folders(python: str) -> list[str]:
    """Return the folders that an interpreter needs, none of them inside another; system folders may be links."""
    own = (Path(sys.base_prefix).resolve(), Path(sys.base_exec_prefix).resolve(), Path(python).parent)
    kept: list[Path] = []
    for folder in (*map(Path, _SYSTEM_FOLDERS), *own):
        if folder.exists() and not any(folder.is_relative_to(other) for other in kept):
            kept.append(folder)
    return [str(folder) for folder in kept]


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Open a pipe, reading end first; that end does not block."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    return stack.enter_context(FileIO(reading, "rb")), stack.enter_context(FileIO(writing, "wb"))


def _filled_pipe(stack: ExitStack, content: bytes) -> int:
    """Return the reading end of a pipe that holds this much and has no writer."""
    reading, writing = os.pipe()
    stack.enter_context(FileIO(reading, "rb"))
    with FileIO(writing, "wb") as file:
        file.write(content)
    return reading


def _file(stack: ExitStack, program: Program) -> int:
    """Return a descriptor, for reading only, of a file without a name that holds the program as `guest` reads it."""
    source, tests = (text.encode("utf-8", "surrogatepass") for text in (program.source, program.tests))
    with tempfile.NamedTemporaryFile() as file:
        file.write(f"{len(source)} {len(tests)} {program.entry_point}\n".encode() + source + tests)
        file.flush()
        return stack.enter_context(Path(file.name).open("rb", buffering=0)).fileno()


@contextmanager
def _own_folder() -> Iterator[str]:
    """Make a folder for a program without namespaces; remove it whatever the program made of it."""
    folder = tempfile.mkdtemp(prefix="program-")
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        # Python's own removal gives up on folders without rights and on very deep ones.
        for command in (["chmod", "-R", "u+rwX", "--", folder], ["rm", "-rf", "--", folder]):
            subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)


def _clear_up(launcher: subprocess.Popen[bytes], guest_pid: int | None) -> None:
    """End everything: cut the lifeline, wait, and use force where that does not help.

    Args:
        launcher: The process that holds the program.
        guest_pid: The program's first process as this process table knows it, None if it does not or none started.
    """
    if launcher.stdin is not None:
        launcher.stdin.close()
    try:
        launcher.wait(_CLEARING_S)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()
    if launcher.returncode != 0 and guest_pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(guest_pid, signal.SIGKILL)
