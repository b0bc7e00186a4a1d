"""A generated program, and what came of running it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["passed", "failed", "timed-out", "out-of-memory", "killed", "too-much-output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Python source with the tests that decide about it.

    Attributes:
        source: The candidate; run first, as the module `program` (`__main__` when there are no tests).
        tests: Source run afterwards with the candidate's names in reach and with builtins as they were before it ran.
            Without tests a program passes by running to its end.
        entry_point: Name of the candidate under test. Other names of the candidate that hide builtins are not handed to
            the tests.
    """

    source: str
    tests: str = ""
    entry_point: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the run of one program ended.

    Attributes:
        outcome: "passed" only if source and tests ran to their end. "timed-out" is processor time or wall time,
            "killed" a signal that is none of the limits' own.
        exit_status: Of the program's first process; None if a signal or the sandbox ended it.
        signal: Number of the signal that ended it, if one did and the sandbox did not send it.
        stdout: What it wrote, up to the limit; bytes that are not UTF-8 replaced.
        stderr: Likewise, with the traceback of a failure.
        error: One line: the exception or limit that ended it; empty if it passed.
        duration_s: Wall time from the start of its interpreter.
        left_behind: Was its output still held open after the sandbox had ended everything it knew of?
    """

    outcome: Outcome
    exit_status: int | None
    signal: int | None
    stdout: str
    stderr: str
    error: str
    duration_s: float
    left_behind: bool = False

    @property
    def passed(self) -> bool:
        """Did the source and its tests run to their end?"""
        return self.outcome == "passed"
