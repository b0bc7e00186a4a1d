"""Which programming language a row is in, by a column that says so or by a file name; texts are not guessed from.

File names go through Pygments' table of patterns. Extensions that several languages share (`.h`, `.m`, `.pl`) get the
one that Pygments ranks first. Not covered: rows without such a column.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath

_LANGUAGE_COLUMNS = ("language", "lang", "programming_language")
_FILE_COLUMNS = ("filename", "file_name", "path", "file", "file_path")
_LONGEST_NAME = 40


class Languages:
    """Tells the language of rows; every name is made once and shared by all rows that have it."""

    def __init__(self) -> None:
        """Start without any name."""
        self._names: dict[str, str] = {}

    def of(self, fields: Mapping[str, object]) -> str | None:
        """Return the language of a row, None where no column tells."""
        for column in _LANGUAGE_COLUMNS:
            value = fields.get(column)
            if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME:
                return self._names.setdefault(value, value)
        for column in _FILE_COLUMNS:
            value = fields.get(column)
            if isinstance(value, str) and value:
                return _by_suffix(PurePosixPath(value).suffix.lower())
        return None


@lru_cache(maxsize=4096)
def _by_suffix(suffix: str) -> str | None:
    from pygments.lexers import find_lexer_class_for_filename  # rich needs it too: no further library

    lexer = find_lexer_class_for_filename(f"x{suffix}") if suffix else None
    return None if lexer is None else str(lexer.name)
