"""trials.jsonl, the file of finished trials: one line each, in the order in which they ended.

Search writes it (`advisor.search.journal`), search and report read it. A killed process may leave a part of a line at
the end, which is no trial. Anything else that is not a trial is an error.
"""

import json
from pathlib import Path

from advisor.errors import DataError
from advisor.records import from_plain, to_plain
from advisor.trial import TrialRecord

FILE_NAME = "trials.jsonl"


def read_records(path: Path) -> tuple[TrialRecord, ...]:
    """Read all trials but a last one that was cut; a missing file holds no trials.

    Raises:
        DataError: The file cannot be read, a whole line is not a trial record, or a trial stands there twice.
    """
    records: dict[int, TrialRecord] = {}
    content = _content(path)
    for row, line in enumerate(content[: whole_size(content)].split(b"\n"), start=1):
        if not line.strip():
            continue
        record = _record(line, f"{path}:{row}")
        if record.number in records:
            raise DataError(f"{path}:{row}: trial {record.number} stands there twice; remove one of the lines")
        records[record.number] = record
    return tuple(records.values())


def line_of(record: TrialRecord) -> bytes:
    """Return the line of a trial, its line end included."""
    line = json.dumps(to_plain(record), ensure_ascii=False, allow_nan=False) + "\n"
    # A lone surrogate (an undecodable path) becomes its escape, which JSON reads back as the same character.
    return line.encode(errors="backslashreplace")


def whole_size(content: bytes) -> int:
    """Return how many bytes of the file's content are whole trials: a last one may lack its line end."""
    size = content.rfind(b"\n") + 1
    try:
        _record(content[size:], "")
    except DataError:
        return size
    return len(content)  # no part of an object is valid JSON, so this is all of it


def _record(line: bytes, where: str) -> TrialRecord:
    try:
        plain = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error})") from error
    try:
        return from_plain(TrialRecord, plain)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
