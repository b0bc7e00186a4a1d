"""Where the knowledge folder is, and how its JSONL files are read.

An installed wheel carries it as `advisor/knowledge/`; a checkout has it as `knowledge/` beside the package.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from advisor.errors import DataError


@cache
def knowledge_folder() -> Path:
    """Return the folder with the knowledge files.

    Raises:
        DataError: Neither place holds them; the installation is broken.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "knowledge", package.parent / "knowledge"):
        if (folder / "evidence.jsonl").is_file():
            return folder
    raise DataError("the knowledge files are missing from this installation; install peft-advisor again")


def read_lines(name: str) -> Iterator[str]:
    """Yield the non-empty lines of a knowledge file."""
    with (knowledge_folder() / name).open(encoding="utf-8") as file:
        for line in file:
            if not line.isspace():
                yield line


def read_rows(name: str, containing: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the parsed rows of a knowledge file.

    Args:
        name: File name, such as "evidence.jsonl".
        containing: Parse only lines with at least one of these texts (a filter before parsing, which is the
            slow part); empty for all lines.
    """
    for line in read_lines(name):
        if not containing or any(text in line for text in containing):
            yield json.loads(line)


def read_object(name: str) -> Any:
    """Return a parsed JSON knowledge file."""
    return json.loads((knowledge_folder() / name).read_text(encoding="utf-8"))
