"""Which walls tests can put up here, and an interpreter that may run behind them."""

import os
import sys
from pathlib import Path

import pytest

from advisor.execution.landlock import landlock_version
from advisor.execution.sandbox import Walls

NAMESPACES = Walls(namespaces=True, seccomp=True)
LANDLOCK = Walls(landlock=True, seccomp=True)
BARE = Walls(seccomp=True)


def use_interpreter_for(walls: Walls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where these walls cannot stand; as root, take the system's interpreter for what runs as nobody."""
    if sys.platform != "linux":
        pytest.skip("these walls are Linux's")
    if walls.namespaces:
        return
    if walls.landlock and not landlock_version():
        pytest.skip("this kernel has no Landlock")
    if os.geteuid() == 0 and not nobody_may_run(Path(sys.executable).resolve()):
        system = Path("/usr/bin/python3").resolve()
        if not system.exists() or system.name < "python3.11":
            pytest.skip("no interpreter here that nobody may run")
        monkeypatch.setattr(sys, "executable", str(system))
        monkeypatch.setattr(sys, "base_prefix", "/usr")
        monkeypatch.setattr(sys, "base_exec_prefix", "/usr")


def nobody_may_run(path: Path) -> bool:
    """May every user go through all folders above a file?"""
    return all(folder.stat().st_mode & 0o001 for folder in path.parents)
