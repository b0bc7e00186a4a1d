"""The corpus: the Python standard library's own source, split into training and validation files."""

import hashlib
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from advisor.demo.functions import Function, find_functions

# Tests are left out (long tables of values), and so are files that are data written as Python.
_LEFT_OUT_FOLDERS = frozenset(
    {
        "site-packages",
        "__pycache__",
        "test",
        "tests",
        "idle_test",
        "encodings",
        "pydoc_data",
        "ensurepip",
        "lib-dynload",
    }
)
_LEFT_OUT_PREFIXES = ("_sysconfigdata", "config-")
_MAX_FILE_CHARACTERS = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Texts and functions of the standard library, by split.

    Attributes:
        train_texts: Whole files to train on.
        valid_texts: Whole files held out.
        train_functions: Functions that stand in the training files, each text once.
        valid_functions: Functions that stand in the held-out files and not in the training files.
    """

    train_texts: tuple[str, ...]
    valid_texts: tuple[str, ...]
    train_functions: tuple[Function, ...]
    valid_functions: tuple[Function, ...]


def read_corpus(*, valid_percent: int) -> Corpus:
    """Read the standard library of the running Python.

    Args:
        valid_percent: Share of the files that is held out; a file's split hangs on its path alone.

    Returns:
        The corpus, in the order of the files' paths.
    """
    train: list[tuple[str, str]] = []
    valid: list[tuple[str, str]] = []
    for name, text in _distinct_files(Path(sysconfig.get_paths()["stdlib"])):
        digest = hashlib.sha256(name.encode()).digest()
        (valid if int.from_bytes(digest[:4], "big") % 100 < valid_percent else train).append((name, text))
    seen: set[str] = set()
    return Corpus(
        train_texts=tuple(text for _, text in train),
        valid_texts=tuple(text for _, text in valid),
        train_functions=tuple(_distinct_functions(train, seen)),
        valid_functions=tuple(_distinct_functions(valid, seen)),
    )


def _distinct_files(root: Path) -> Iterator[tuple[str, str]]:
    seen: set[bytes] = set()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if any(part in _LEFT_OUT_FOLDERS or part.startswith(_LEFT_OUT_PREFIXES) for part in parts):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        digest = hashlib.sha256("".join(text.split()).encode()).digest()
        if text.strip() and len(text) <= _MAX_FILE_CHARACTERS and digest not in seen:
            seen.add(digest)
            yield "/".join(parts), text


def _distinct_functions(files: list[tuple[str, str]], seen: set[str]) -> Iterator[Function]:
    for name, text in files:
        for function in find_functions(text, package=name):
            if function.source not in seen:
                seen.add(function.source)
                yield function
