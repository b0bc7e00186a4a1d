"""Writes trials.jsonl so that a killed process loses no finished trial.

A line is on the disk before Optuna hears of its trial; a process killed while it writes leaves at most one cut line at
the end, which readers ignore and the next writer removes.
"""

import os
from pathlib import Path

from advisor.durable import append
from advisor.trial import TrialRecord
from advisor.trials_file import FILE_NAME, line_of, read_records, whole_size


class Journal:
    """The finished trials of one study, on disk and in memory.

    Attributes:
        path: The file; it exists from the first trial on.
        records: In the order in which they ended.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there and cut off, or end, a line that a killed process left unfinished.

        Raises:
            DataError: A whole line is not a trial record, or a trial stands there twice.
            OSError: The unfinished line cannot be mended.
        """
        self.path = folder / FILE_NAME
        self.records = list(read_records(self.path))
        _mend_last_line(self.path)

    def append(self, record: TrialRecord) -> None:
        """Write one record; when this returns it is on the disk.

        Raises:
            OSError: The disk refused it; the file is as before.
        """
        append(self.path, line_of(record))
        self.records.append(record)


def _mend_last_line(path: Path) -> None:
    content = path.read_bytes() if path.exists() else b""
    whole = whole_size(content)
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
    elif content and not content.endswith(b"\n"):
        append(path, b"\n")
