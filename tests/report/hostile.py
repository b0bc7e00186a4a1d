"""Run folders in which every text that the readers let through is hostile: values, names of values, lines of files.

Where a text stands is told by a path in JSON with places of lists left out: `trials.jsonl`, `*`, `failure`, `message`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.report.run_folder import RunFolder, read_run_folder

Place = tuple[str, ...]
ANY = "*"  # a place in a list, or a line of a file
NEW_NAME = "+"  # another name in an object, with the value of the first
REFERENCES = {("result.json", "plan", "primary_metric")}  # no free text: names what other records hold


def places(folder: Path) -> list[Place]:
    """Return every place of a text in the records of a folder, the file's name first."""
    found: dict[Place, None] = {}
    for path in _files(folder):
        found |= dict.fromkeys((str(path.relative_to(folder)), *place) for place in _places(_read(path)))
    return [place for place in found if place not in REFERENCES]


def open_places(folder: Path, text: str) -> list[Place]:
    """Return the places at which the readers take a text, each tried alone; the folder is left as it was."""
    whole = read_run_folder(folder)
    found = []
    for place in places(folder):
        path = folder / place[0]
        before = path.read_bytes()
        _write(path, _with_text(_read(path), place[1:], text))
        try:
            changed = read_run_folder(folder)
        except AdvisorError:
            continue
        else:
            if _parts(changed) == _parts(whole):
                found.append(place)
        finally:
            path.write_bytes(before)
    return found


def write_texts(folder: Path, at: list[Place], text: str) -> None:
    """Write a text at many places of a folder."""
    for place in at:
        path = folder / place[0]
        _write(path, _with_text(_read(path), place[1:], text))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl"))


def _read(path: Path) -> Any:
    lines = path.read_text(encoding="utf-8").split("\n")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in lines if line]
    return json.loads("\n".join(lines))


def _write(path: Path, plain: Any) -> None:
    text = "".join(json.dumps(one) + "\n" for one in plain) if path.suffix == ".jsonl" else json.dumps(plain)
    path.write_text(text, encoding="utf-8")


def _parts(run: RunFolder) -> tuple[bool, ...]:
    """Tell what was read: a part that cannot be read is left out of some reports rather than refused."""
    return (run.result is None, run.data_report is None, run.importance is None, not run.final_reports)


def _places(plain: Any) -> Iterator[Place]:
    if isinstance(plain, str):
        yield ()
    elif isinstance(plain, list):
        for item in plain:
            yield from ((ANY, *place) for place in _places(item))
    elif isinstance(plain, dict):
        for name, item in plain.items():
            yield from ((name, *place) for place in _places(item))
        if plain:
            yield (NEW_NAME,)


def _with_text(plain: Any, place: Place, text: str) -> Any:
    if not place:
        return text if isinstance(plain, str) else plain
    first, *rest = place
    if isinstance(plain, list):
        return [_with_text(item, tuple(rest), text) for item in plain] if first == ANY else plain
    if not isinstance(plain, dict) or not plain:
        return plain
    if first == NEW_NAME:
        return plain | {text: next(iter(plain.values()))}
    return plain | {first: _with_text(plain[first], tuple(rest), text)} if first in plain else plain
