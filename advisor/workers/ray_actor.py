"""The far end of a worker in a Ray cluster: holds a runner, in the process of an actor.

Calls and answers are bytes, so that what carries them needs to know nothing of trials. Folders that a call reads are
sent before it, those that it writes are fetched after it (`advisor.workers.shipping`); in between they lie in a folder
of this process, which goes when it ends.
"""

import atexit
import logging
import os
import pickle
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from advisor.workers.raised import told
from advisor.workers.shipping import CHUNK_BYTES, chunks_of, unpack

# What must be the same on both ends: pickled recipes and checkpoints mean the same only then.
_PACKAGES = ("peft-advisor", "torch")
_LOG_BYTES = 4 * 1024**2
FOLDER_PREFIX = "peft-advisor-worker-"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Stands for a folder in a call: one that was sent before.

    Attributes:
        place: Where it lies in the study's process, for messages.
    """

    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Stands for a folder, or a file in one, that the call writes and that is fetched after it.

    Attributes:
        place: Where it shall lie in the study's process, for messages.
        exists: Is the folder there before the call?
        file: Name of a file in it that the call is to write; None for the folder itself.
    """

    place: str
    exists: bool = False
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an actor is.

    Attributes:
        node: Address of its node.
        pid: Process id there.
        gpus: Ids of the GPUs that it was given.
        log: File there with what it prints, "" when not known.
    """

    node: str
    pid: int
    gpus: tuple[str, ...]
    log: str


def versions() -> Mapping[str, str]:
    """Return the versions that must be the same in all processes of a study."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


class RunnerActor:
    """Becomes an actor; its methods are called one after the other."""

    def __init__(self, recipe: bytes) -> None:
        """Keep the recipe; nothing can fail yet.

        Args:
            recipe: Pickled function that makes the runner, and its arguments.
        """
        self._recipe = recipe
        self._runner: Any = None
        self._folder = _own_folder()
        self._leaving: Iterator[bytes] = iter(())

    def versions(self) -> Mapping[str, str]:
        """Return what is installed here."""
        return versions()

    def ready(self) -> tuple[str, Any]:
        """Make the runner.

        Returns:
            "" and where it is, or the kind and the text of what went wrong.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        try:
            make_runner, arguments = pickle.loads(self._recipe)
            self._recipe = b""
            self._runner = make_runner(*arguments)
        except Exception as error:
            _log.exception("the runner cannot be made")
            return told(error)
        return "", _place()

    def take(self, chunk: bytes, begins: bool) -> None:
        """Keep a piece of a folder that a call will read.

        Raises:
            OSError: The disk of this node refused it.
        """
        with (self._folder / "coming").open("wb" if begins else "ab") as file:
            file.write(chunk)

    def call(self, method: str, call: bytes) -> bytes:
        """Call a method of the runner.

        Args:
            method: Its name.
            call: Pickled arguments and options.

        Returns:
            Pickled: "" and the result, or the kind and the text of what was raised.
        """
        names: dict[str, str] = {}
        try:
            arguments, options = pickle.loads(call)
            arguments = [self._here(value, names) for value in arguments]
            options = {name: self._here(value, names) for name, value in options.items()}
            answer: tuple[str, Any] = ("", getattr(self._runner, method)(*arguments, **options))
        except Exception as error:  # one call failed; what it means is for the study to say
            _log.exception("%s", method)
            kind, text = told(error)
            for here, there in names.items():
                text = text.replace(here, there)
            answer = (kind, text)
        return pickle.dumps(answer)

    def fetch(self, begins: bool) -> bytes:
        """Return the next piece of what the last call wrote, b"" after the last one.

        Raises:
            OSError: The disk of this node refused it.
        """
        written = self._folder / "going"
        if begins:
            self._leaving = chunks_of(written, CHUNK_BYTES)
        piece = next(self._leaving, b"")
        if not piece:
            shutil.rmtree(written, ignore_errors=True)
        return piece

    def log(self) -> bytes:
        """Return the end of what this process printed."""
        sys.stdout.flush()
        sys.stderr.flush()
        path = Path(_place().log)
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LOG_BYTES))
                return file.read()
        except OSError:
            return b""

    def _here(self, value: Any, names: dict[str, str]) -> Any:
        """Put a folder of this process in the place of one of the study's, and note the names of both."""
        if isinstance(value, Sent):
            folder = self._folder / "come"
            names[str(folder)] = value.place
            shutil.rmtree(folder, ignore_errors=True)
            coming = self._folder / "coming"
            with coming.open("rb") as file:
                unpack(iter(lambda: file.read(CHUNK_BYTES), b""), folder)
            coming.unlink()
            return folder
        if isinstance(value, Wanted):
            folder = self._folder / "going"
            names[str(folder)] = value.place
            shutil.rmtree(folder, ignore_errors=True)
            if value.exists:
                folder.mkdir()
            return folder if value.file is None else folder / value.file
        return value


def _place() -> Place:
    ray = import_module("ray")
    try:
        log = str(Path("/proc/self/fd/2").readlink())
    except OSError:
        log = ""
    return Place(
        node=ray.util.get_node_ip_address() or socket.gethostname(),
        pid=os.getpid(),
        gpus=tuple(str(gpu) for gpu in ray.get_gpu_ids()),
        log=log,
    )


def _own_folder() -> Path:
    """Make the folder of this process; what killed ones left on this machine goes."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
