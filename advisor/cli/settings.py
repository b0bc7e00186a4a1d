"""Values given on the command line as NAME=VALUE."""

import json
from collections.abc import Iterable

from advisor.errors import InputError, printable

_PYTHON_WORDS = {"True": True, "False": False, "None": None}


def parse_settings(settings: Iterable[str]) -> dict[str, object]:
    """Read NAME=VALUE pairs; values are JSON, else text, and what has commas is a list of such values.

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
        return json.loads(text, parse_constant=_not_a_number)
    except (ValueError, RecursionError):
        if text in _PYTHON_WORDS:
            return _PYTHON_WORDS[text]
        return [_value(part.strip()) for part in text.split(",") if part.strip()] if "," in text else text


def _not_a_number(word: str) -> object:
    """Refuse NaN and the infinities, which Python takes for JSON."""
    raise ValueError(word)
