"""The filter holds the numbers that the system's own headers name."""

import re
import sys
from pathlib import Path

import pytest

from advisor.execution import seccomp

HEADERS = {0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), 1: Path("/usr/include/asm-generic/unistd.h")}


@pytest.mark.skipif(sys.platform != "linux", reason="filters are Linux's")
@pytest.mark.parametrize("column", [0, 1], ids=["x86_64", "aarch64"])
def test_call_numbers_are_those_of_the_kernel_headers(column: int) -> None:
    if not HEADERS[column].exists():
        pytest.skip("the kernel headers are not installed")
    defined = {
        name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", HEADERS[column].read_text())
    }
    ours = seccomp._FORBIDDEN | seccomp._FORBIDDEN_SIGNALS
    ours |= {"clone": seccomp._CLONE, "clone3": seccomp._CLONE3, "socket": seccomp._SOCKET}
    ours |= {"prlimit64": seccomp._PRLIMIT64, "kill": seccomp._KILL, "tgkill": seccomp._TGKILL}
    assert {name: numbers[column] for name, numbers in ours.items() if name in defined} == {
        name: defined[name] for name in ours if name in defined
    }
    assert len([name for name in ours if name in defined]) > 30
