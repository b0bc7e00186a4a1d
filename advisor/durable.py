"""Files that survive a killed process and a power loss: whole or not at all, and on the disk when a call returns.

A rename alone is not enough: after a power loss the new name may stand for an empty file, because names and contents
reach the disk apart. So contents are synced before the rename and the folder after it (see `fsync(2)`, `rename(2)`).
Not covered: disks and network file systems that call data safe when they are not.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

# What file systems answer that have nothing to sync in a folder.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all; a crash leaves the old one.

    Raises:
        OSError: The disk refused it; nothing of the attempt is left where that is possible.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        # A lone surrogate (an undecodable path) becomes its escape, which JSON reads back as the same character.
        with unfinished.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(unfinished, path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def append(path: Path, content: bytes) -> None:
    """Append to a file, which is made if it is not there; what a refused write left is cut off again.

    Raises:
        OSError: The disk refused it. A crash in the middle leaves a part of `content` at the end of the file.
    """
    is_new = not path.exists()
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            _write_all(file.fileno(), content)
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(size)
            raise
    if is_new:
        sync_folder(path.parent)


def put_in_place(unfinished: Path, final: Path) -> None:
    """Give a synced file or folder its final name, and sync the folder that it stands in.

    Raises:
        OSError: The disk refused it.
    """
    unfinished.replace(final)
    sync_folder(final.parent)


def sync_tree(folder: Path) -> None:
    """Bring all files of a folder and of its subfolders to the disk, then the folders.

    Raises:
        OSError: The disk refused it.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside comes before its folder
        if path.is_dir():
            sync_folder(path)
        else:
            _sync(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system knows how.

    Raises:
        OSError: The disk refused it.
    """
    if os.name == "nt":  # folders cannot be opened there
        return
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:  # a disk that is nearly full takes a part and says so; only the next write fails
        rest = rest[os.write(handle, rest) :]
