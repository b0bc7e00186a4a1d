"""Folders as bytes: what a worker on another machine writes appears whole on this one, without a shared file system.

A folder becomes a tar archive without compression (adapters and checkpoints hardly get smaller), cut into chunks so
that no message is too large. Nothing of it is on a disk as an archive, where it is made and where it is unpacked.
"""

import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from advisor.durable import put_in_place, sync_tree

CHUNK_BYTES = 64 * 1024**2
_READ_BYTES = 1024**2
# Two empty blocks: what every archive ends with; without them it was cut off.
_END = bytes(2 * tarfile.BLOCKSIZE)


class CutOffError(OSError):
    """An archive ended before its end."""


def chunks_of(folder: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield a folder as pieces of an archive, each but the last of `chunk_bytes` bytes.

    Raises:
        OSError: The folder cannot be read.
    """
    waiting = bytearray()
    for piece in _pieces_of(folder, chunk_bytes):
        waiting += piece
        while len(waiting) >= chunk_bytes:
            yield bytes(waiting[:chunk_bytes])
            del waiting[:chunk_bytes]
    if waiting:
        yield bytes(waiting)


def unpack(chunks: Iterable[bytes], final: Path) -> None:
    """Make the folder of `chunks_of`; it appears whole, or its files appear when all of them have come.

    Args:
        chunks: All pieces in their order.
        final: Folder to make; the files of one that exists stay beside those that come.

    Raises:
        CutOffError: Pieces are missing.
        OSError: The disk refused it, or the archive holds what does not belong into a folder of ours.
    """
    unfinished = final.with_name(f"{final.name}.unpacked")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        _extract(chunks, unfinished)
        sync_tree(unfinished)
        if final.exists():
            for child in unfinished.iterdir():
                put_in_place(child, final / child.name)
        else:
            put_in_place(unfinished, final)
    finally:
        with suppress(OSError):
            shutil.rmtree(unfinished, ignore_errors=True)


def _extract(chunks: Iterable[bytes], folder: Path) -> None:
    stream = _Stream(chunks)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=_READ_BYTES) as archive:
            for member in archive:
                archive.extract(member, folder, filter="data")
        stream.drain()
    except tarfile.TarError as error:
        raise CutOffError(f"{folder.name}: not a whole archive ({error})") from error
    if stream.last != _END:
        raise CutOffError(f"{folder.name}: not a whole archive (its end is missing)")


def _pieces_of(folder: Path, piece_bytes: int) -> Iterator[bytes]:
    next(folder.iterdir(), None)  # `rglob` says nothing of a folder that is not there
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and not path.is_file():
            continue
        about = tarfile.TarInfo(path.relative_to(folder).as_posix())
        about.mode = 0o755 if path.is_dir() else 0o644
        about.type = tarfile.DIRTYPE if path.is_dir() else tarfile.REGTYPE
        about.size = 0 if path.is_dir() else path.stat().st_size
        yield about.tobuf(tarfile.PAX_FORMAT)
        if path.is_file():
            yield from _contents_of(path, about.size, piece_bytes)
            yield bytes(-about.size % tarfile.BLOCKSIZE)
    yield _END


def _contents_of(path: Path, size: int, piece_bytes: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            piece = file.read(min(left, piece_bytes))
            if not piece:
                raise CutOffError(f"{path}: became shorter while it was read")
            left -= len(piece)
            yield piece


class _Stream:
    """Chunks as a file that is read from its beginning to its end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.last = b""  # as much as `_END`, of what was read

    def read(self, size: int) -> bytes:
        wanted = size
        parts: list[bytes] = []
        while wanted:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
            part = bytes(self._rest[:wanted])
            self._rest = self._rest[len(part) :]
            wanted -= len(part)
            parts.append(part)
        found = b"".join(parts)
        self.last = (self.last + found)[-len(_END) :]
        return found

    def drain(self) -> None:
        """Read what comes after the last member."""
        while self.read(CHUNK_BYTES):
            pass
