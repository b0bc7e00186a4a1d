"""The process between the caller and a generated program: it shuts itself in, starts the program and clears up.

Runs in an interpreter of its own, started by `sandbox`, and imports only what it needs: it runs once per program.
Standard input is a lifeline: when the caller closes it or dies, everything in here ends. With namespaces the launcher's
child is the first process of the new process table, and the kernel ends all others with it; without, the launcher
adopts orphans and ends them itself.

It says on the status pipe, one line each: `started PID`, `ended CODE CPU_SECONDS` (code as in `subprocess`: negative
for a signal), or `error TEXT` when the sandbox could not be made.
"""
# pathlib would add a third to the time that the launcher takes to start.
# ruff: noqa: PTH118, PTH120, PTH123

import os
import resource
import select
import signal
import sys
import time

from advisor.execution.kernel import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, set_process_option
from advisor.execution.landlock import restrict_files
from advisor.execution.namespaces import HOME, NOBODY, enter_namespaces
from advisor.execution.process_tree import generations, n_threads_of_user
from advisor.execution.seccomp import forbid_system_calls

WALLS = ("namespaces", "seccomp", "landlock")

_CLEARING_S = 5.0
_STACK_BYTES = 8 * 2**20
_LAUNCHERS = 2  # processes of the same user that the limit on processes counts in a user namespace


class Plan:
    """What the caller asks for, from the command line.

    Attributes:
        namespaces, seccomp, landlock: Which walls to put up.
        status, report, nonce, program: Descriptors: pipe to the caller; the program's two pipes; its source.
        caller_pid: Whose death ends everything.
        scratch: Folder to hide under the new root, or without namespaces the program's own folder.
        python: The interpreter for the program.
        guest_code: What it runs there: the text of `guest`, read now because the new root does not hold it.
        folders: What it may read.
        cpu_s, memory_bytes, n_processes, n_open_files, file_bytes, disk_bytes: As in `Limits`.
    """

    def __init__(self, arguments: list[str]) -> None:
        walls, descriptors, limits, self.scratch, self.python, *self.folders = arguments
        self.namespaces, self.seccomp, self.landlock = (name in walls.split(",") for name in WALLS)
        self.status, self.report, self.nonce, self.program, self.caller_pid = map(int, descriptors.split(","))
        (
            self.cpu_s, self.memory_bytes, self.n_processes, self.n_open_files, self.file_bytes, self.disk_bytes,
        ) = map(int, limits.split(","))  # fmt: skip
        with open(os.path.join(os.path.dirname(__file__), "guest.py"), encoding="utf-8") as file:
            self.guest_code = file.read()


def main(arguments: list[str]) -> None:
    """Make the sandbox, run the program in it, and end when nothing of it is left."""
    plan = Plan(arguments)
    for descriptor in (plan.status, plan.program):
        os.set_inheritable(descriptor, False)
    try:
        _be_first_to_go()
        if plan.namespaces:
            _launch_in_namespaces(plan)
        else:
            _launch_as_group(plan)
    except OSError as error:
        _say(plan, f"error {error.strerror or error}")
    os._exit(0)


def _launch_in_namespaces(plan: Plan) -> None:
    enter_namespaces(plan.folders, scratch=plan.scratch, disk_bytes=plan.disk_bytes)
    _end_with_parent()  # after the change of user, which resets it
    if os.getppid() != plan.caller_pid:
        return
    first = os.fork()
    if first == 0:
        _end_with_parent()
        _supervise(plan, home=HOME)
        os._exit(0)  # the kernel ends whatever is left in this process table
    os.waitpid(first, 0)


def _launch_as_group(plan: Plan) -> None:
    if sys.platform == "linux":
        set_process_option(PR_SET_CHILD_SUBREAPER, 1)
        _end_with_parent()
    _supervise(plan, home=plan.scratch)
    deadline = time.monotonic() + _CLEARING_S
    while (left := [pid for level in generations(os.getpid()) for pid in level]) and time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: nobody forks while others are ended
            for pid in left:
                _send(pid, number)
        _reap()


def _supervise(plan: Plan, home: str) -> None:
    """Start the program and return when its first process has ended or the caller lets go."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    guest = os.fork()
    if guest == 0:
        _become_guest(plan, home)
    _say(plan, f"started {guest}")
    while True:
        ready, _, _ = select.select([0, wake_r], [], [])
        if wake_r in ready:
            os.read(wake_r, 4096)
            ended = _reap().get(guest)
            if ended is not None:
                code, cpu_s = ended
                _say(plan, f"ended {code} {cpu_s}")
                break
        if 0 in ready:  # nothing is ever sent: the lifeline has been cut
            break
    if sys.platform != "linux":  # there the group is all that can be found again
        _send(-guest, signal.SIGKILL)


def _reap() -> dict[int, tuple[int, float]]:
    """Take in all children that have ended: exit code and processor seconds of each."""
    ended: dict[int, tuple[int, float]] = {}
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = (os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)


def _become_guest(plan: Plan, home: str) -> None:
    """Take on the limits and start the interpreter with the program on standard input; never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        if not plan.namespaces and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        os.umask(0o077)
        os.chdir(home)
        os.dup2(plan.program, 0)
        _set_limits(plan)
        _put_up_walls(plan)
        os.execve(plan.python, _command(plan), _environment(home))
    except BaseException as error:
        _say(plan, f"error {error}")
    os._exit(127)


def _set_limits(plan: Plan) -> None:
    others = _LAUNCHERS if plan.namespaces else n_threads_of_user(os.getuid())
    wanted = {
        resource.RLIMIT_CPU: plan.cpu_s,
        resource.RLIMIT_DATA: plan.memory_bytes,
        resource.RLIMIT_NPROC: plan.n_processes + others,
        resource.RLIMIT_NOFILE: plan.n_open_files,
        resource.RLIMIT_FSIZE: plan.file_bytes,
        resource.RLIMIT_STACK: _STACK_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, soft in wanted.items():
        hard = soft + 1 if kind == resource.RLIMIT_CPU else soft  # SIGXCPU first, SIGKILL if that is ignored
        _, highest = resource.getrlimit(kind)
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        resource.setrlimit(kind, (soft, hard))


def _put_up_walls(plan: Plan) -> None:
    if plan.landlock:
        restrict_files(readable=plan.folders, writable=plan.scratch)
    if plan.seccomp:
        forbid_system_calls(signals_to=None if plan.namespaces else (0, os.getpid(), -os.getpid()))


def _command(plan: Plan) -> list[str]:
    # As isolated as -I, which would also ignore PYTHONHASHSEED: the order of sets must not change verdicts.
    return [plan.python, "-P", "-s", "-S", "-B", "-c", plan.guest_code, str(plan.report), str(plan.nonce)]


def _environment(home: str) -> dict[str, str]:
    return {"HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}


def _be_first_to_go() -> None:
    """Let the kernel choose this process and its children when the machine runs out of memory."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        return


def _end_with_parent() -> None:
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _say(plan: Plan, line: str) -> None:
    os.write(plan.status, f"{line}\n".encode())
