"""Values given on the command line as NAME=VALUE."""

import json
from collections.abc import Iterable

from advisor.errors import InputError, printable


def parse_settings(settings: Iterable[str]) -> dict[str, object]:
    """Read NAME=VALUE pairs; values are JSON, else text, and text with commas is a list of texts.

    Raises:
        InputError: A pair has no "=", no name, or a name comes twice.
    """
    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {printable(setting)}: give NAME=VALUE, such as --set r=16")
        if name.strip() in values:
            raise InputError(f"--set {printable(name.strip())}: given twice")
        values[name.strip()] = _value(text.strip())
    return values


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        words = {"True": True, "False": False, "None": None}
        if text in words:
            return words[text]
        return [part.strip() for part in text.split(",") if part.strip()] if "," in text else text
