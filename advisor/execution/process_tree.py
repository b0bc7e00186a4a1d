"""Descendants of a process and their memory, read from /proc (Linux; elsewhere there is nothing to read)."""
# pathlib would add a third to the time that the launcher takes to start.
# ruff: noqa: PTH116, PTH123, PTH208

import os

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def generations(root_pid: int) -> list[dict[int, int]]:
    """Return children, grandchildren, and so on, each with its resident memory in bytes (shared pages included).

    A process whose parent has ended belongs to the nearest ancestor that takes orphans in, so a tree below such an
    ancestor is complete.
    """
    children: dict[int, dict[int, int]] = {}
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(int(fields[1]), {})[pid] = int(fields[21]) * _PAGE_BYTES
    found: list[dict[int, int]] = []
    parents = [root_pid]
    while level := {pid: size for parent in parents for pid, size in children.get(parent, {}).items()}:
        found.append(level)
        parents = list(level)
    return found


def proportional_bytes(pid: int) -> int | None:
    """Return the resident memory of a process with shared pages divided among those that share them; None if hidden."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration):
        return None


def n_threads_of_user(user_id: int) -> int:
    """Count the threads of a user; 0 where there is no /proc."""
    count = 0
    for pid in _pids():
        try:
            if os.stat(f"/proc/{pid}").st_uid == user_id:
                count += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    return count


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
