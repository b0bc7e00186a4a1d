"""trials.jsonl: one line per finished trial, written so that a killed process loses no finished trial.

A line goes to the file in one write and is synced before Optuna hears of the trial; a process killed in
between leaves at most one cut line at the end, which readers ignore and the next writer removes.
"""

import json
import os
from pathlib import Path

from advisor.errors import DataError
from advisor.records import from_plain, to_plain
from advisor.trial import TrialRecord

FILE_NAME = "trials.jsonl"


class Journal:
    """The finished trials of one study, on disk and in memory.

    Attributes:
        path: The file; it exists from the first trial on.
        records: In the order in which they ended.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there and cut off a line that a killed process left unfinished.

        Raises:
            DataError: A whole line is not a trial record, or a trial stands there twice.
        """
        self.path = folder / FILE_NAME
        self.records = list(read_records(self.path))
        _cut_unfinished_line(self.path)

    def append(self, record: TrialRecord) -> None:
        """Write one record; when this returns it is on the disk."""
        line = json.dumps(to_plain(record), ensure_ascii=False, allow_nan=False) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
        self.records.append(record)


def read_records(path: Path) -> tuple[TrialRecord, ...]:
    """Read all whole lines; a missing file holds no trials.

    Raises:
        DataError: A whole line is not a trial record, or a trial stands there twice.
    """
    records: dict[int, TrialRecord] = {}
    for row, line in enumerate(_whole_lines(path), start=1):
        try:
            record = from_plain(TrialRecord, json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{row}: not a trial record ({error})") from error
        except DataError as error:
            raise DataError(f"{path}:{row}: {error}") from error
        if record.number in records:
            raise DataError(f"{path}:{row}: trial {record.number} stands there twice; remove one of the lines")
        records[record.number] = record
    return tuple(records.values())


def _whole_lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return content[: content.rfind(b"\n") + 1].splitlines()


def _cut_unfinished_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
