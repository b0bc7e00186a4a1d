"""The run folder: its name, whether it can be written, and that only one process writes it at a time."""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from advisor.errors import InputError, printable

STUDIES = "studies"
LOCK = "tune.lock"
# Either of them makes a folder that of a study: the study itself, or the address of the database that it is in.
STUDY_FILES = ("study.db", "storage.json")
# What a run folder may hold before its study begins: demonstration data, and what a killed run left.
_BEFORE_STUDY = {
    "data", "data_report.json", "data_report.json.part", "executions.jsonl", "predictions",
    "packing.json", "packing.json.part", "probe.json", "probe.json.part",
    "recommendation.json", "recommendation.json.part",
    "storage.json.part", "study.db.part", "study.db.part-journal", LOCK,
}  # fmt: skip


def default_folder(
    task: str, *base_models: str, quantizations: Sequence[str] = (), composed: str | None = None
) -> Path:
    """Return where a study goes: the same for the same request, so that it is continued.

    It is `studies/<task>-<base model's own name>`. Of several base models the first two stand in the name and the
    number of the others, then the storages of their weights that were asked for. Where adapters are made of trained
    ones the method stands last: these may come from studies of the same task on the same base model.
    """
    different = list(dict.fromkeys(base_models))
    names = [_own_name(one) for one in different[:2]]
    names += [f"{len(different) - 2}-more"] if len(different) > 2 else []
    names += dict.fromkeys("unquantized" if one == "none" else one for one in quantizations)
    names += [composed] if composed is not None else []
    return Path(STUDIES) / f"{task}-{'-'.join(names)}"


def _own_name(base_model: str) -> str:
    name = Path(base_model).resolve().name if Path(base_model).is_dir() else base_model.rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.").lower() or "model"


def check_writable(folder: Path) -> None:
    """Find out whether the folder can be made and written, without leaving anything behind.

    Raises:
        InputError: It cannot; the message says why.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not nearest.is_dir():
            raise InputError(f"--output: {nearest} is a file, not a folder; name another folder")
        # Read-only file systems show only when something is written; this file never gets a name.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(f"--output: {folder} cannot be written ({error.strerror}); name another folder") from error


def check_ours(folder: Path) -> None:
    """Keep away from folders with other people's files in them: a run replaces files of its own names.

    Raises:
        InputError: The folder holds files, but no study.
    """
    if not folder.is_dir() or any((folder / name).is_file() for name in STUDY_FILES):
        return
    others = sorted(path.name for path in folder.iterdir() if path.name not in _BEFORE_STUDY)
    if others:
        shown = ", ".join(printable(name, 40) for name in others[:3])
        raise InputError(f"--output: {folder} holds other files ({shown}); name an empty or a new folder")


def check_free(folder: Path) -> None:
    """Find out at once whether another `tune` is at work in the folder, not when the base model is loaded.

    Raises:
        InputError: One is.
    """
    if folder.is_dir():
        with locked(folder):
            pass


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep other `tune` processes out of it; the lock ends with the process, however it ends.

    Raises:
        InputError: Another process is at work in it, or it cannot be made or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"--output: {folder} cannot be made ({error.strerror}); name another folder") from error
    handles = [handle]
    try:
        try:
            _lock(handle, folder)
        except OSError:  # network file systems lock only files that are open for writing
            handles.append(_open_lock_file(folder))
            _lock_file(handles[-1], folder)
        yield
    finally:
        for opened in handles:
            os.close(opened)


def _lock(handle: int, folder: Path) -> None:
    """Lock what is open.

    Raises:
        InputError: Another process has locked it.
        OSError: It cannot be locked.
    """
    try:
        import fcntl  # not on Windows, where there is no lock
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{folder}: another `tune` is at work in this folder; wait for it or name another") from None


def _open_lock_file(folder: Path) -> int:
    try:
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"--output: {folder} cannot be written ({error.strerror}); name another folder") from error


def _lock_file(handle: int, folder: Path) -> None:
    try:
        _lock(handle, folder)
    except OSError as error:
        raise InputError(
            f"--output: {folder} cannot be locked against a second process ({error.strerror}); "
            "name a folder on another disk"
        ) from error
