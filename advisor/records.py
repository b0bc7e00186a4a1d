"""Frozen dataclasses to and from JSON, checked field by field.

Every stage of the pipeline hands the next a record. A record written by one command is read by
another, or edited by a person in between, so reading checks names and types and says where a value
is wrong. Supported field types: str, int, float, bool, None, Literal, unions of these, `tuple[X, ...]`,
`Mapping[str, X]`, other records, and `object` for free JSON values.
"""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from advisor import durable
from advisor.errors import DataError, nearest_names, printable

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """Turn a record (or a tuple or mapping of records) into values that `json` can write."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no place in JSON; write None and say why")
    return value


def from_plain(cls: type[T], plain: object, where: str = "") -> T:
    """Build a record of type `cls` from parsed JSON.

    Args:
        cls: The record type.
        plain: Parsed JSON, normally a dict.
        where: Path of `plain` inside the file, for messages.

    Raises:
        DataError: A field is missing, unknown, of the wrong type, or refused by the record's own check.
    """
    if not isinstance(plain, dict):
        raise DataError(f"{where or cls.__name__}: expected an object, found {_kind(plain)}")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for name in plain:
        if name not in known:
            near = nearest_names(name, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"{_join(where, name)}: no such field in {cls.__name__}{meant}")
    values: dict[str, object] = {}
    for name, field in known.items():
        if name in plain:
            values[name] = _convert(hints[name], plain[name], _join(where, name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise DataError(f"{_join(where, name)}: missing")
    try:
        return cls(**values)
    except ValueError as error:
        raise DataError(f"{where or cls.__name__}: {error}") from error


def dumps(record: object) -> str:
    """Return the record as indented JSON with a final newline; same record, same bytes."""
    return json.dumps(to_plain(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read(cls: type[T], path: Path) -> T:
    """Read one record from a JSON file.

    Raises:
        DataError: The file is missing, not JSON, or not a record of type `cls`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error.__class__.__name__}: {error})") from error
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    try:
        return from_plain(cls, plain)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def write(record: object, path: Path) -> None:
    """Write one record as JSON; the file appears whole or not at all."""
    durable.write_text(path, dumps(record))


def _convert(hint: Any, value: object, where: str) -> object:
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(get_args(hint), value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise DataError(f"{where}: {printable(str(value))} is not one of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise DataError(f"{where}: expected a list, found {_kind(value)}")
        return tuple(_convert(get_args(hint)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected an object, found {_kind(value)}")
        return {key: _convert(get_args(hint)[1], item, _join(where, key)) for key, item in value.items()}
    if is_dataclass(hint):
        return from_plain(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_union(options: tuple[Any, ...], value: object, where: str) -> object:
    if value is None and type(None) in options:
        return None
    if type(value) in options:  # 8 stays 8 where `float` is named before `int`
        return value
    failures = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _convert(option, value, where)
        except DataError as error:
            failures.append(error)
    raise failures[0]


def _convert_scalar(hint: Any, value: object, where: str) -> object:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is type(None) and value is None:
        return None
    # bool is a subclass of int: `true` must not pass for a number.
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise DataError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {_kind(value)}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false", type(None): "null"}
    return names.get(type(value), f"the number {value}" if isinstance(value, (int, float)) else type(value).__name__)
