"""What programs do in the sandbox, and what they cannot do. The attacks are those of `studies/sandbox_attacks`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from advisor.errors import InputError
from advisor.execution import Execution, Limits, Program, run_program
from advisor.execution.probe import strongest_walls
from advisor.execution.sandbox import Walls, require_permission
from studies.sandbox_attacks.arena import Arena, arena, n_orphans
from studies.sandbox_attacks.attacks import ATTACKS, CHEATING, ENDLESS, GREEDY, KNOWN_HOLES, REACHING_OUT, Attack
from tests.execution.walls import BARE, LANDLOCK, use_interpreter_for

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="generated programs are not run on Windows"),
    pytest.mark.slow,  # together more than the fast part can take
]

MIB = 2**20
SMALL = Limits(cpu_s=2, wall_s=20.0, memory_bytes=64 * MIB, n_processes=16, file_bytes=MIB, disk_bytes=8 * MIB)
SHORT = Limits(cpu_s=1, wall_s=3.0, memory_bytes=64 * MIB, n_processes=16)
LASTING = {*(one.name for one in ENDLESS if one.name != "input"), "fork-bomb", "huge-number", "recursion"}
# Without a file system of its own the disk is not protected: these would fill this machine's, or take long to remove.
NEED_NAMESPACES = {"many-files", "deep-folders"}


@pytest.fixture(scope="module")
def target() -> Iterator[Arena]:
    with arena(SMALL) as made:
        yield made


def run(source: str, tests: str = "", *, limits: Limits = SMALL, walls: Walls | None = None) -> Execution:
    program = Program(source=source, tests=tests, entry_point="answer")
    return run_program(program, limits=limits, allow_execution=True, walls=walls)


def assert_it_fails(attack: Attack, target: Arena, walls: Walls | None) -> None:
    limits = SHORT if attack.name in LASTING else SMALL
    execution = run_program(target.program(attack), limits=limits, allow_execution=True, walls=walls)
    assert execution.outcome in attack.expected, execution
    assert target.escapes(execution) == []


QUICK = [one for one in ATTACKS if one.name not in LASTING]


@pytest.mark.parametrize("attack", [pytest.param(one, id=one.name) for one in QUICK])
def test_an_attack_ends_as_it_should_and_reaches_nothing(attack: Attack, target: Arena) -> None:
    if not strongest_walls().namespaces and attack.name in NEED_NAMESPACES:
        pytest.skip("this machine has no namespaces")
    assert_it_fails(attack, target, None)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [pytest.param(one, id=one.name) for one in ATTACKS if one.name in LASTING])
def test_an_attack_without_end_is_ended(attack: Attack, target: Arena) -> None:
    assert_it_fails(attack, target, None)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [pytest.param(one, id=one.name) for one in (*REACHING_OUT, *GREEDY, *CHEATING)])
def test_landlock_and_seccomp_hold_where_namespaces_are_refused(
    attack: Attack, target: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack.name in NEED_NAMESPACES:
        pytest.skip("protected by namespaces only, as `protection` says")
    use_interpreter_for(LANDLOCK, monkeypatch)
    assert_it_fails(attack, target, LANDLOCK)


def test_limits_and_seccomp_alone_still_keep_off_network_and_leftovers(
    target: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_interpreter_for(BARE, monkeypatch)
    for attack in REACHING_OUT:
        if attack.name in ("network", "network-udp", "daemon", "kill-parent", "trace", "read-secret-variable"):
            assert_it_fails(attack, target, BARE)


def test_every_group_of_attacks_is_tried() -> None:
    assert {*ENDLESS, *GREEDY, *REACHING_OUT, *CHEATING, *KNOWN_HOLES} == {*ATTACKS}
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) > 50


def test_a_right_answer_passes_and_a_wrong_one_says_where_it_failed() -> None:
    right = run("def answer(): return 42", "assert answer() == 42")
    assert (right.outcome, right.passed, right.exit_status, right.error) == ("passed", True, 0, "")
    wrong = run("def answer():\n    return 1 / 0", "assert answer() == 42")
    assert (wrong.outcome, wrong.exit_status) == ("failed", 1)
    assert wrong.error == "ZeroDivisionError: division by zero"
    assert "return 1 / 0" in wrong.stderr


def test_a_program_without_tests_passes_by_reaching_its_end() -> None:
    assert run("import sys\nif __name__ == '__main__': print('out'); print('err', file=sys.stderr)").stdout == "out\n"
    assert run("raise SystemExit(3)").exit_status == 3
    assert run("def (").error.startswith("SyntaxError")


@pytest.mark.parametrize(
    "source", ["", "# -*- coding: latin-1 -*-\n", "\ufefftext = 'ü'\n", "x = '\ud800'", "\0", "\r"]
)
def test_strange_text_is_judged_and_breaks_nothing(source: str) -> None:
    assert run(source).outcome in ("passed", "failed")


def test_dataclasses_and_pickle_work_as_in_a_module() -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport pickle\n"
        "@dataclass\nclass Point:\n    x: int\ndef answer(): return pickle.loads(pickle.dumps(Point(42))).x"
    )
    assert run(source, "assert answer() == 42").passed


def test_children_threads_and_files_of_its_own_are_allowed() -> None:
    source = (
        "import os, pathlib, subprocess, sys, tempfile, threading\n"
        "with tempfile.TemporaryDirectory() as folder: (pathlib.Path(folder) / 'a').write_text('b')\n"
        "pathlib.Path('here').write_text('42')\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run([sys.executable, '-c', 'print(open(\"here\").read())'], capture_output=True).stdout)\n"
    )
    assert run(source).stdout == "thread\nb'42\\n'\n"


def test_nothing_of_a_program_is_there_for_the_next() -> None:
    assert run("open('kept', 'w').write('x')").passed
    assert run("open('kept')").error.startswith("FileNotFoundError")


def test_the_order_of_sets_is_the_same_in_every_run() -> None:
    source = "print(list({'a', 'b', 'c', 'd', 'e', 'f'}))"
    assert run(source).stdout == run(source).stdout


def test_the_environment_is_empty_but_for_what_an_interpreter_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONSTARTUP", "secret")
    shown = run("import os\nprint(sorted(os.environ), os.getcwd() == os.environ['HOME'])").stdout
    assert shown == "['HOME', 'LANG', 'PATH', 'PYTHONHASHSEED', 'TMPDIR'] True\n"


def test_all_file_systems_but_its_own_folder_are_read_only() -> None:
    if not strongest_walls().namespaces:
        pytest.skip("this machine has no namespaces")
    source = (
        "import os\nfor folder in ('/', os.path.dirname(os.__file__), '/usr', '/dev'):\n"
        "    assert os.statvfs(folder).f_flag & os.ST_RDONLY, folder\n"
        "assert not os.statvfs('.').f_flag & os.ST_RDONLY\n"
    )
    assert run(source).error == ""


def test_output_is_kept_up_to_the_limit_and_no_further() -> None:
    limits = Limits(output_bytes=1000)
    assert len(run("print('x' * 999)", limits=limits).stdout) == 1000
    flood = run("import sys\nprint('x' * 10**6, file=sys.stderr)", limits=limits)
    assert (flood.outcome, len(flood.stderr)) == ("too-much-output", 1000)


def test_a_program_ended_by_a_signal_is_told_from_one_that_fails() -> None:
    execution = run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert (execution.outcome, execution.signal, execution.exit_status) == ("killed", signal.SIGSEGV, None)


@pytest.mark.slow
def test_waiting_costs_wall_time_and_computing_processor_time() -> None:
    waiting = run("import time\ntime.sleep(60)", limits=SHORT)
    assert (waiting.outcome, waiting.error) == ("timed-out", "ran longer than 3 s")
    assert 3.0 <= waiting.duration_s < 6.0
    limits = Limits(cpu_s=1, wall_s=60.0)
    computing = run("while True: pass", limits=limits)
    assert (computing.outcome, computing.error) == ("timed-out", "used more than 1 s of processor time")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the death of a parent is told on Linux only")
def test_a_program_dies_with_the_process_that_asked_for_it() -> None:
    call = "run_program('import time; time.sleep(60)', allow_execution=True)"
    caller = subprocess.Popen(
        [sys.executable, "-c", f"from advisor.execution import run_program; print(1, flush=True); {call}"],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert caller.stdout is not None
    assert caller.stdout.readline()
    wait_until(lambda: has_guest_below(caller.pid))
    caller.kill()
    caller.wait()
    caller.stdout.close()
    wait_until(lambda: n_orphans() == 0)


def has_guest_below(pid: int) -> bool:
    from advisor.execution.process_tree import generations

    return len(generations(pid)) >= (3 if strongest_walls().namespaces else 2)


def wait_until(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_descriptor_and_no_child_is_left_open_by_running() -> None:
    run("pass")
    before = open_descriptors()
    for source in ("pass", "1 / 0", "import os\nos._exit(0)"):
        run(source)
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no list of descriptors here")
    return len(list(folder.iterdir()))


def test_programs_run_from_several_threads_at_once() -> None:
    found: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: run(f"print({n})").stdout})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: f"{n}\n" for n in range(4)}


def test_nothing_runs_without_permission() -> None:
    with pytest.raises(InputError, match="allow_execution=True"):
        run_program("pass")


def test_windows_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(InputError, match="Windows"):
        require_permission(True)
