"""Installed Python packages as a source of functions: which there are, and which split each belongs to."""

import os
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from advisor.demo.functions import Function, find_functions

SPLIT_SHARES: Mapping[str, float] = {"train": 0.6, "valid": 0.15, "test": 0.25}

# The base models were trained on the standard library, so copies and forks of parts of it stay out of the data.
_FORKS_OF_STANDARD_LIBRARY = frozenset(
    {"_distutils_hack", "_multiprocess", "backports", "importlib_metadata", "multiprocess", "pip", "pkg_resources"}
    | {"setuptools", "tomli", "typing_extensions", "zipp"}
)
_OWN_PACKAGE = "advisor"
_LEFT_OUT_FOLDERS = frozenset({"__pycache__", "_vendor", "vendor", "externals", "test", "tests", "testing"})
_MAX_FILE_BYTES = 150_000
# Sizes above this count the same: otherwise one large package would be a whole split.
_MAX_COUNTED_BYTES = 1_000_000
_MIN_COUNTED_BYTES = 4_000


def installed_package_folders() -> list[Path]:
    """Folders that hold the installed packages of the running Python."""
    paths = sysconfig.get_paths()
    return [Path(path) for path in dict.fromkeys((paths["purelib"], paths["platlib"]))]


def find_packages(folders: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """List the source files of every top-level package.

    Args:
        folders: Folders that hold packages.

    Returns:
        Package name to its files in order of path; packages with next to no source are left out.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for folder in folders:
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = entry.name.removesuffix(".py")
            if name in _FORKS_OF_STANDARD_LIBRARY or name == _OWN_PACKAGE or name in found or not name.isidentifier():
                continue
            files = tuple(_source_files(entry)) if entry.is_dir() else (entry,) if entry.suffix == ".py" else ()
            if name not in _LEFT_OUT_FOLDERS and _counted_bytes(files) >= _MIN_COUNTED_BYTES:
                found[name] = files
    return found


def assign_splits(packages: Mapping[str, Sequence[Path]], *, seed: int) -> dict[str, tuple[str, ...]]:
    """Give every package to one split, so that the splits' sizes come near `SPLIT_SHARES`.

    Args:
        packages: Package name to its files.
        seed: Decides between packages of the same counted size.

    Returns:
        Split name to package names; no package is in two splits.
    """
    sizes = {name: _counted_bytes(files) for name, files in packages.items()}
    order = sorted(sizes)
    Random(f"splits:{seed}").shuffle(order)
    order.sort(key=lambda name: -sizes[name])
    splits: dict[str, list[str]] = {split: [] for split in SPLIT_SHARES}
    filled = dict.fromkeys(SPLIT_SHARES, 0)
    for name in order:
        # The split that has the smallest part of its share takes the next package, large ones first.
        split = min(SPLIT_SHARES, key=lambda candidate: filled[candidate] / SPLIT_SHARES[candidate])
        splits[split].append(name)
        filled[split] += sizes[name]
    return {split: tuple(sorted(names)) for split, names in splits.items()}


def read_functions(
    packages: Mapping[str, Sequence[Path]],
    *,
    chunk: int,
    max_characters: int,
    documented: bool,
    seen: set[str],
    rng: Random,
) -> Iterator[Function]:
    """Yield distinct functions, a chunk from each package in turn, reading no more files than it takes.

    Args:
        packages: Package name to its files.
        chunk: Functions taken from one package before the next has its turn.
        max_characters: Longest function that is kept.
        documented: Keep only functions with a summary.
        seen: Normalised texts that were met already; grows.
        rng: Shuffles packages and files.

    Yields:
        Functions none of which differs from another only in names or layout.
    """
    order = sorted(packages)
    rng.shuffle(order)
    streams: dict[str, Iterator[Function]] = {}
    for name in order:
        files = list(packages[name])
        rng.shuffle(files)
        found = _package_functions(name, files, max_characters=max_characters, documented=documented)
        streams[name] = _distinct(found, seen)
    while streams:
        for name in list(streams):
            for _ in range(chunk):
                function = next(streams[name], None)
                if function is None:
                    del streams[name]
                    break
                yield function


def _package_functions(
    name: str, files: Sequence[Path], *, max_characters: int, documented: bool
) -> Iterator[Function]:
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        yield from find_functions(text, package=name, max_characters=max_characters, documented=documented)


def _distinct(functions: Iterable[Function], seen: set[str]) -> Iterator[Function]:
    for function in functions:
        if function.normalised not in seen:
            seen.add(function.normalised)
            yield function


def _source_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT_FOLDERS)
        for name in sorted(names):
            path = Path(place, name)
            if name.endswith(".py") and not name.startswith("test_") and path.stat().st_size <= _MAX_FILE_BYTES:
                yield path


def _counted_bytes(files: Sequence[Path]) -> int:
    total = 0
    for path in files:
        total += path.stat().st_size
        if total >= _MAX_COUNTED_BYTES:
            return _MAX_COUNTED_BYTES
    return total
