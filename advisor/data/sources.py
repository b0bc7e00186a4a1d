"""Where datasets come from: a file, a folder of files, what `datasets` saved, its hub, CodeXGLUE's lists of pairs.

- A file (`data.files`): JSON Lines, also packed, CSV, Parquet.
- A folder with one file per split, called train, valid (or validation, val, dev, eval) and test; a `codebase` file
  beside them is what a code search searches (`code_id`, `code`).
- A folder that `datasets` wrote with `save_to_disk`.
- A dataset of the Hugging Face hub, as `owner/name` or `owner/name:configuration`; code from there is never run.
- CodeXGLUE's list form of clone pairs: two ids and a label on each line of `train.txt`, functions in `data.jsonl`.

Not covered: splits in several files (shards) outside `save_to_disk`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.data.files import SUFFIXES, Row, read_rows
from advisor.errors import DataError, InputError, printable
from advisor.trial import Split

# Names of splits in files and datasets, the usual one first.
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
_FUNCTIONS = "data.jsonl"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?::[\w.-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows that can be read, once or again.

    Attributes:
        name: For messages and reports.
        rows: Reads them from the beginning.
        file: The one file that they are all rows of, None where they are put together from several.
    """

    name: str
    rows: Callable[[], Iterable[Row]]
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What stands at a place that the user named.

    Attributes:
        name: As the user gave it.
        parts: Rows by split; a single file, or rows without a name of a split, are "train".
        is_whole: Whether the parts were not named, so that they may stand for any split.
        codebase: Rows of what is searched, for retrieval.
    """

    name: str
    parts: Mapping[Split, Part]
    is_whole: bool = False
    codebase: Part | None = None


def find_source(place: str | Path) -> Source:
    """Find out what stands at a place.

    Raises:
        InputError: There is nothing of that name.
        DataError: There is something that is no dataset, or two files are the same split.
    """
    path = Path(place)
    if path.is_dir():
        return _folder(path)
    if path.exists() or str(place).lower().endswith((*SUFFIXES, ".txt")):
        if not path.exists():
            raise InputError(f"{place} does not exist")
        return Source(name=str(place), parts={"train": _file_part(path)}, is_whole=True)
    name = path.as_posix()  # a name that came as a path has other slashes on Windows
    if not _HUB_NAME.fullmatch(name):
        raise InputError(f"{place} does not exist, and is no name of a dataset on the hub (owner/name) either")
    return _hub(name)


def _file_part(path: Path) -> Part:
    if path.suffix == ".txt":
        functions = path.with_name(_FUNCTIONS)
        if not functions.is_file():
            raise DataError(f"{path}: a list of pairs needs the functions in {_FUNCTIONS} beside it")
        return Part(name=str(path), rows=lambda: _listed_pairs(path, functions))
    return Part(name=str(path), rows=lambda: read_rows(path), file=path)


def _folder(path: Path) -> Source:
    if (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        return _saved(path)
    suffixes = (".txt",) if (path / _FUNCTIONS).is_file() else SUFFIXES
    parts: dict[Split, Part] = {}
    for split, names in SPLIT_NAMES.items():
        found = _files_called(path, names, suffixes)
        if len(found) > 1:
            which = " and ".join(one.name for one in found)
            raise DataError(f"{path}: {which} could both be the {split} split; name one with --{split}")
        if found:
            parts[split] = _file_part(found[0])
    if not parts:
        known = ", ".join(name for names in SPLIT_NAMES.values() for name in names)
        raise DataError(f"{path}: no file of a split there (called {known} with {', '.join(suffixes)})")
    codebase = _files_called(path, ("codebase",), SUFFIXES)
    return Source(name=str(path), parts=parts, codebase=_file_part(codebase[0]) if codebase else None)


def _files_called(folder: Path, names: Iterable[str], suffixes: Iterable[str]) -> list[Path]:
    wanted = {f"{name}{suffix}" for name in names for suffix in suffixes}
    return sorted(path for path in folder.iterdir() if path.name.lower() in wanted)


def _listed_pairs(path: Path, functions: Path) -> Iterator[Row]:
    """Yield the pairs of a list; texts are kept once, however many pairs they are in."""
    texts: dict[str, str] = {}
    for row in read_rows(functions):
        function, number = row.fields.get("func", row.fields.get("code")), row.fields.get("idx", row.fields.get("id"))
        if row.problem is not None or not isinstance(function, str) or isinstance(number, bool | float | None):
            raise DataError(f"{functions}: {row.where}: {row.problem or 'expected fields idx and func'}")
        texts[str(number)] = function
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _pair(f"line {number}", line[:1000].split(), texts)


def _pair(where: str, words: list[str], texts: Mapping[str, str]) -> Row:
    if len(words) != 3:
        return Row(where=where, fields={}, problem=f"expected two ids and a label, found {len(words)} words")
    unknown = [word for word in words[:2] if word not in texts]
    if unknown:
        return Row(where=where, fields={}, problem=f"id {printable(unknown[0], 30)} is not in {_FUNCTIONS}")
    first, second, label = words
    return Row(where=where, fields={"code1": texts[first], "code2": texts[second], "label": label})


def _saved(path: Path) -> Source:
    from datasets import load_from_disk

    return _tables(str(path), _loaded(str(path), lambda: load_from_disk(str(path)), "not a readable dataset folder"))


def _hub(name: str) -> Source:
    from datasets import load_dataset

    dataset, _, configuration = name.partition(":")
    refused = "neither a file here nor a dataset that can be had from the hub"
    return _tables(name, _loaded(name, lambda: load_dataset(dataset, configuration or None), refused))


def _loaded(name: str, load: Callable[[], Any], refused: str) -> Any:
    try:
        return load()
    except Exception as error:  # datasets, the hub's client and Arrow have no common class
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name}: {refused} ({reason or type(error).__name__})") from error


def _tables(name: str, loaded: Any) -> Source:
    if not isinstance(loaded, Mapping):
        return Source(name=name, parts={"train": _table(name, loaded)}, is_whole=True)
    parts: dict[Split, Part] = {}
    for split, names in SPLIT_NAMES.items():
        found = [key for key in loaded if str(key).lower() in names]
        if len(found) > 1:
            raise DataError(f"{name}: {' and '.join(map(str, found))} could both be the {split} split")
        if found:
            parts[split] = _table(f"{name}[{found[0]}]", loaded[found[0]])
    if not parts:
        raise DataError(f"{name}: no split that is called train, validation or test (found {', '.join(loaded)})")
    return Source(name=name, parts=parts)


def _table(name: str, table: Any) -> Part:
    def rows() -> Iterator[Row]:
        for number, fields in enumerate(table, start=1):
            yield Row(where=f"row {number}", fields=fields)

    return Part(name=name, rows=rows)
