"""What protects this machine is found by trying."""

import subprocess
import sys
from pathlib import Path

import pytest

from advisor.errors import InputError
from advisor.execution import probe
from advisor.execution.sandbox import SandboxError, Walls, run_between
from tests.execution.walls import BARE, LANDLOCK, use_interpreter_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")


def protection_between(walls: Walls, monkeypatch: pytest.MonkeyPatch) -> probe.Protection:
    use_interpreter_for(walls, monkeypatch)
    monkeypatch.setattr(probe, "_found", lambda: (walls, ()))
    return probe.protection.__wrapped__()


def test_namespaces_protect_from_all_that_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    if not probe.strongest_walls().namespaces:
        pytest.skip("this machine refuses namespaces")
    lines = probe.protection().lines()
    assert [line for line in lines if line.startswith("NOT")] == [lines[-1]]
    assert "kernel" in lines[-1]


def test_landlock_leaves_the_disk_open_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = protection_between(LANDLOCK, monkeypatch)
    assert (found.reading, found.writing, found.network, found.leftovers) == (True, True, True, True)
    assert "NOT protected from filling the disk with many files" in found.lines()


def test_without_a_wall_around_files_it_says_that_they_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    found = protection_between(BARE, monkeypatch)
    assert (found.reading, found.writing) == (False, False)
    assert (found.network, found.memory, found.processes, found.total_memory) == (True, True, True, True)
    assert "NOT protected from writing files outside its folder" in found.lines()


def test_without_any_wall_the_network_is_open_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = protection_between(Walls(), monkeypatch)
    assert (found.network, found.environment, found.leftovers) == (False, True, True)
    assert "NOT protected from the network" in found.lines()


def test_a_wall_that_the_machine_refuses_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(walls: Walls, *rest: object) -> object:
        if walls.namespaces:
            raise SandboxError("the sandbox could not be made: unshare: Operation not permitted")
        return run_between(walls, *rest)  # type: ignore[arg-type]

    use_interpreter_for(LANDLOCK, monkeypatch)
    monkeypatch.setattr(probe, "run_between", refusing)
    walls, refused = probe._found.__wrapped__()
    assert walls == LANDLOCK
    assert refused == ("namespaces: the sandbox could not be made: unshare: Operation not permitted",)


def test_inside_a_container_that_refuses_namespaces_landlock_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    use_interpreter_for(LANDLOCK, monkeypatch)
    # Containers refuse by a filter on system calls; so does this one, which leaves all other calls alone.
    source = (
        "from advisor.execution import protection, seccomp\n"
        "seccomp._FORBIDDEN = {'unshare': seccomp._FORBIDDEN['unshare']}\n"
        "seccomp._SOCKET = seccomp._PRLIMIT64 = (99999, 99999)\n"
        "seccomp.forbid_system_calls(signals_to=None)\n"
        "found = protection()\n"
        "print(found.walls)\nprint(*found.lines(), sep='\\n')"
    )
    command = [sys.executable, "-B", "-c", source]
    said = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Walls(namespaces=False, seccomp=True, landlock=True)\n")
    assert "not available here: namespaces: the sandbox could not be made: unshare: Operation not permitted" in said
    assert "protected from reading files outside its folder" in said
    assert "NOT protected from filling the disk" in said


def test_a_machine_that_refuses_everything_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> object:
        raise SandboxError("no interpreter")

    monkeypatch.setattr(probe, "run_between", refusing)
    with pytest.raises(InputError, match="no interpreter"):
        probe._found.__wrapped__()
