"""Descendants and their memory, compared with what the processes themselves say."""

import os
import subprocess
import sys

import pytest

from advisor.execution.process_tree import generations, n_threads_of_user, proportional_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")

NESTED = "import os\nx = bytearray(50_000_000)\nif os.fork() == 0: print('ready', flush=True)\ninput()"


def test_children_and_grandchildren_stand_by_level_with_their_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", NESTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        below = generations(os.getpid())
        assert below[0][child.pid] > 50_000_000
        (grandchild,) = generations(child.pid)[0]
        assert grandchild in below[1]
        shares = [proportional_bytes(pid) for pid in (child.pid, grandchild)]
        assert all(share is not None and 25_000_000 < share < 50_000_000 for share in shares)  # one array for both
        assert n_threads_of_user(os.getuid()) >= 3
        child.communicate(b"\n\n")


def test_a_process_that_is_gone_has_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert generations(child.pid) == []
    assert proportional_bytes(child.pid) is None
