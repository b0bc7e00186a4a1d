"""Looking on while a program runs: its output up to a cap, its time, its memory with that of its descendants."""

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from advisor.execution.limits import MIB, Limits
from advisor.execution.outcome import Outcome
from advisor.execution.process_tree import generations, proportional_bytes

_SETUP_S = 60.0  # a busy machine; without an answer by then something is broken
_CHUNK_BYTES = 65536
_LOOK_S = 0.05
_LOOKING_SHARE = 0.1  # of a processor at most: looking reads about all processes of the machine
_INTERPRETER_BYTES = 32 * MIB  # resident in any case; the limit counts what a program adds
_MESSAGE_BYTES = 4096


@dataclass(slots=True, kw_only=True)
class Stream:
    """The reading end of a pipe.

    Attributes:
        descriptor: Owned by the caller.
        cap_bytes: At most this much is kept, and little more is ever read.
        content: What came.
        overflown: Did more come?
        closed: Has the last writer gone?
    """

    descriptor: int
    cap_bytes: int
    content: bytearray = field(default_factory=bytearray)
    overflown: bool = False
    closed: bool = False

    def read(self) -> None:
        """Take what is there, without waiting."""
        room = self.cap_bytes - len(self.content)
        try:
            chunk = os.read(self.descriptor, min(_CHUNK_BYTES, room + 1))
        except BlockingIOError:
            return
        self.closed = not chunk
        self.overflown = len(chunk) > room
        self.content += chunk[:room]

    def drain(self) -> None:
        """Take what is left after the writers have ended."""
        before = -1
        while not self.closed and not self.overflown and len(self.content) != before:
            before = len(self.content)
            self.read()


class Watch:
    """Reads a program's pipes until it ends or meets a limit.

    Attributes:
        stdout, stderr, report, status: What came through each pipe.
        started_s, ended_s: By the monotonic clock; None before the program started.
    """

    def __init__(self, limits: Limits, *, stdout: int, stderr: int, report: int, status: int) -> None:
        """Prepare to look on.

        Args:
            limits: Of the program.
            stdout, stderr, report, status: Reading ends of the pipes, not blocking.
        """
        self.stdout = Stream(descriptor=stdout, cap_bytes=limits.output_bytes)
        self.stderr = Stream(descriptor=stderr, cap_bytes=limits.output_bytes)
        self.report = Stream(descriptor=report, cap_bytes=_MESSAGE_BYTES)
        self.status = Stream(descriptor=status, cap_bytes=_MESSAGE_BYTES)
        self.started_s: float | None = None
        self.ended_s = 0.0
        self._limits = limits

    def until_end(
        self, launcher_pid: int, *, n_launcher_levels: int, is_cancelled: Callable[[], bool]
    ) -> Outcome | None:
        """Wait for the program; return the limit that it met, None if it ended by itself or is to be given up.

        Args:
            launcher_pid: The process that holds it.
            n_launcher_levels: Levels of processes below that one that belong to the sandbox.
            is_cancelled: Asked again and again whether to wait on.
        """
        met: Outcome | None = None
        look_at_s = 0.0
        deadline_s = time.monotonic() + _SETUP_S
        with selectors.DefaultSelector() as selector:
            for stream in self._streams():
                selector.register(stream.descriptor, selectors.EVENT_READ, stream)
            while met is None and not self._has_ended() and not is_cancelled():
                self._read(selector, max(0.0, min(_LOOK_S, deadline_s - time.monotonic())))
                now_s = time.monotonic()
                if self.started_s is None and b"started" in self.status.content:
                    self.started_s, look_at_s, deadline_s = now_s, now_s + _LOOK_S, now_s + self._limits.wall_s
                if any(stream.overflown for stream in self._streams()):
                    met = "too-much-output"
                elif now_s >= deadline_s and not self._has_ended():
                    met = "timed-out"
                elif self.started_s is not None and now_s >= look_at_s:
                    met = "out-of-memory" if self._is_too_big(launcher_pid, n_launcher_levels) else None
                    look_at_s = now_s + max(_LOOK_S, (time.monotonic() - now_s) / _LOOKING_SHARE)
        self.ended_s = time.monotonic()
        return met

    def drain(self) -> None:
        """Take what the pipes still hold after all writers have ended."""
        for stream in self._streams():
            stream.drain()

    @property
    def guest_pid(self) -> int | None:
        """The program's first process, by the number that the launcher sees."""
        words = self.status.content.split()
        return int(words[1]) if words[:1] == [b"started"] and len(words) > 1 else None

    @property
    def is_held_open(self) -> bool:
        """After the end: is the program's output still held open? Unknown, so False, where more came than fits."""
        return any(not stream.closed and not stream.overflown for stream in (self.stdout, self.stderr))

    def _streams(self) -> tuple[Stream, ...]:
        return self.stdout, self.stderr, self.report, self.status

    def _has_ended(self) -> bool:
        return self.status.closed or b"ended" in self.status.content or b"error" in self.status.content

    def _read(self, selector: selectors.BaseSelector, wait_s: float) -> None:
        for key, _ in selector.select(wait_s):
            key.data.read()
            if key.data.closed:
                selector.unregister(key.fileobj)

    def _is_too_big(self, launcher_pid: int, n_launcher_levels: int) -> bool:
        allowed_bytes = self._limits.memory_bytes + _INTERPRETER_BYTES
        levels = generations(launcher_pid)[n_launcher_levels:]
        resident = {pid: size for level in levels for pid, size in level.items()}
        if sum(resident.values()) <= allowed_bytes:
            return False
        # Pages that processes share were counted once for each: the slower count is exact.
        exact = {pid: proportional_bytes(pid) for pid in resident}
        return sum(resident[pid] if size is None else size for pid, size in exact.items()) > allowed_bytes
