"""Rows of a data file, read one at a time: JSON Lines (plain, gzipped or packed by zstd), CSV, Parquet.

Says where a row stands and what is wrong with it; what its fields mean is decided by `data.examples`. Memory is
bounded: no more than a line, a record of CSV or a batch of Parquet rows is held, and each has a largest size.
CSV is read with the standard library, which can name the row that is broken; Parquet and zstd through pyarrow.

Not covered: a Parquet file written so that a batch of its rows unpacks to gigabytes is noticed only after that.
"""

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from advisor.errors import DataError, printable

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".jsonl.zst", ".csv", ".parquet")
MAX_LINE_BYTES = 32 * 1024**2
MAX_UNPACKED_BYTES = 2 * 1024**3
_PARQUET_BATCH_ROWS = 64
_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as it stands in the file.

    Attributes:
        where: Place in the file for people, such as "line 7".
        fields: Values by field name; empty when there is a problem.
        problem: Why the row cannot be used, or None.
    """

    where: str
    fields: Mapping[str, object]
    problem: str | None = None


class _RefusedValueError(ValueError):
    """Valid for `json`, but not for us (NaN, a doubled key)."""


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order; blank lines are left out.

    Raises:
        DataError: The file is missing, of an unknown kind, packed badly, or in another encoding than UTF-8.
            A row that is merely broken is yielded with its problem.
    """
    name = path.name.lower()
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file; name a file in it ({', '.join(SUFFIXES)})")
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of file; known: {', '.join(SUFFIXES)}")
    if name.endswith(".parquet"):
        yield from _parquet_rows(path)
    elif name.endswith(".csv"):
        yield from _csv_rows(path)
    else:
        yield from _json_rows(path)


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        where = f"line {number}"
        if isinstance(line, Row):
            yield line
        elif not line.strip():
            continue
        else:
            yield _parse_json(where, line)


def _parse_json(where: str, line: str) -> Row:
    try:
        value = _DECODER.decode(line)
    except RecursionError:
        return Row(where=where, fields={}, problem="nested too deeply")
    except json.JSONDecodeError as error:
        return Row(where=where, fields={}, problem=f"not valid JSON ({error.msg} at column {error.colno})")
    except ValueError as error:  # a refused value, or a number with too many digits for Python
        return Row(where=where, fields={}, problem=str(error).partition(";")[0])
    if not isinstance(value, dict):
        return Row(where=where, fields={}, problem=f"expected an object, found {kind_of(value)}")
    return Row(where=where, fields=value)


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedValueError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedValueError(f"the number {text} is too large")
    return value


def _without_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise _RefusedValueError(f"field {printable(doubled)} stands there twice")
    return fields


# `json.loads` would build one for every line.
_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite_float, object_pairs_hook=_without_doubled_keys
)


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(_csv_lines(path), strict=True)
    header: list[str] | None = None
    number = 0  # of data rows, the header not counted
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"row {number + 1} (up to line {reader.line_num})"
            yield Row(where=where, fields={}, problem=f"not valid CSV ({error}; is a quote not closed?)")
            return
        if not record:
            continue
        if header is None:
            header = [name.strip() for name in record]
            if len(set(header)) < len(header):
                raise DataError(f"{path}: line 1: a column name stands there twice")
            continue
        number += 1
        where = f"row {number} (up to line {reader.line_num})"
        if len(record) != len(header):
            problem = f"{len(record)} values for {len(header)} columns"
            yield Row(where=where, fields={}, problem=problem)
        else:
            yield Row(where=where, fields=dict(zip(header, record, strict=True)))


def _csv_lines(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        if isinstance(line, Row):
            raise DataError(f"{path}: line {number}: {line.problem}")
        yield line


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet  # heavy, and wanted for this kind of file only

    _open(path).close()  # a missing file gets the usual message
    try:
        with parquet.ParquetFile(path) as file:
            about = file.metadata
            _check_unpacked(path, sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups)))
            batches = file.iter_batches(batch_size=_PARQUET_BATCH_ROWS, use_threads=False)
            for number, fields in enumerate((row for batch in batches for row in batch.to_pylist()), start=1):
                for value in fields.values():
                    if isinstance(value, str) and len(value) > MAX_LINE_BYTES:
                        raise DataError(f"{path}: row {number}: longer than {MAX_LINE_BYTES // 1024**2} MiB")
                yield Row(where=f"row {number}", fields=fields)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise DataError(f"{path}: not a readable Parquet file ({reason})") from error


def _check_unpacked(path: Path, n_bytes: int) -> None:
    if n_bytes > MAX_UNPACKED_BYTES:
        raise DataError(f"{path}: more than {MAX_UNPACKED_BYTES // 1024**3} GiB of text")


def _lines(path: Path) -> Iterator[tuple[int, str | Row]]:
    """Yield number and text of each line with its line feed, or a row with a problem in place of the text.

    Lines end at the line feed only: U+2028 and others inside a string are text.
    """
    unpacked = 0
    with _open(path) as file:
        number = 0
        while True:
            try:
                raw = file.readline(MAX_LINE_BYTES + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: cannot be read after line {number} ({error})") from error
            if not raw:
                return
            number += 1
            unpacked += len(raw)
            if len(raw) > MAX_LINE_BYTES:
                raise DataError(f"{path}: line {number}: longer than {MAX_LINE_BYTES // 1024**2} MiB")
            _check_unpacked(path, unpacked)
            yield number, _decode(path, number, raw)


def _decode(path: Path, number: int, raw: bytes) -> str | Row:
    if number == 1:
        for mark, encoding in _OTHER_BOMS.items():
            if raw.startswith(mark):
                raise DataError(f"{path}: the encoding is {encoding}; save it as UTF-8")
        raw = raw.removeprefix(_UTF8_BOM)
    if b"\x00" in raw:
        return Row(where=f"line {number}", fields={}, problem="holds a NUL byte (is it UTF-8?)")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"not valid UTF-8 at byte {error.start + 1} of the line; save the file as UTF-8"
        return Row(where=f"line {number}", fields={}, problem=problem)


def _open(path: Path) -> IO[bytes]:
    name = path.name.lower()
    try:
        if name.endswith(".gz"):
            return cast("IO[bytes]", gzip.open(path, "rb"))
        if name.endswith(".zst"):
            import pyarrow  # part of `datasets`: no further library for one suffix

            return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"))
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def kind_of(value: object) -> str:
    """Name the kind of a JSON value for a message."""
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, int | float):
        return "a number"
    names = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), type(value).__name__)
