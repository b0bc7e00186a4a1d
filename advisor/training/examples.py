"""Examples of a task: read from a file, every row checked, every complaint with its line and field.

Forms: "pair" has code1, code2, label; "single" has code, label; "generation" has source, target. An `id` is
optional. Further fields are left alone. Not covered: multi-label and retrieval tasks.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from advisor.catalog.tasks import Form, Task
from advisor.errors import DataError, InputError, printable
from advisor.training.files import Row, kind_of, read_rows

TEXT_FIELDS: dict[Form, tuple[str, ...]] = {
    "pair": ("code1", "code2"),
    "single": ("code",),
    "generation": ("source", "target"),
}
_SHOWN_PROBLEMS = 5
_READ_PROBLEMS = 50  # a file with more is not read to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example with its texts as they stand in the file.

    Attributes:
        example_id: The row's `id`, or its place in the file.
        text: Source, or the (first) piece of code.
        text_pair: Second piece of code of a pair, else None.
        target: Target text, or the label as text ("1", "true", "vulnerable").
    """

    example_id: str
    text: str
    text_pair: str | None
    target: str

    @property
    def source(self) -> str:
        """What a reader is shown as the input."""
        return self.text if self.text_pair is None else f"{self.text}\n\n{self.text_pair}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleFile:
    """A file that was read.

    Attributes:
        path: As given.
        sha256: Of the file's bytes.
        examples: In the order of the file.
        label_counts: Rows per label, in the order of `label_names`; empty for generation.
        warnings: One line each: dropped rows, doubled ids.
    """

    path: str
    sha256: str
    examples: tuple[Example, ...]
    label_counts: dict[str, int]
    warnings: tuple[str, ...]


def read_examples(path: Path, task: Task) -> ExampleFile:
    """Read and check one file.

    Rows with a blank text or target are dropped with a warning; everything else that is wrong is refused.

    Raises:
        DataError: The file cannot be read, has no rows, or holds rows that are not examples of the task; one
            line that names file, lines and fields.
        InputError: Tasks of this form are not supported yet.
    """
    if task.form not in TEXT_FIELDS:
        raise InputError(f"task {task.slug}: files of form {task.form!r} cannot be read yet")
    checker = _Checker(path, task.form)
    examples = [example for row in read_rows(path) if (example := checker.example(row)) is not None]
    checker.finish(n_examples=len(examples))
    counts = Counter(example.target for example in examples) if task.form != "generation" else {}
    return ExampleFile(
        path=str(path),
        sha256=_sha256(path),
        examples=tuple(examples),
        label_counts={name: counts[name] for name in label_names(examples)} if counts else {},
        warnings=tuple(checker.warnings(examples)),
    )


def label_names(examples: Iterable[Example]) -> tuple[str, ...]:
    """Return the labels of examples in their order; the position is the class id."""
    return label_order({example.target for example in examples})


def label_order(names: set[str]) -> tuple[str, ...]:
    """Sort labels: numbers by value, anything else by text."""
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


class _Checker:
    """Turns rows into examples and remembers what was wrong where."""

    def __init__(self, path: Path, form: Form) -> None:
        self._path = path
        self._texts = TEXT_FIELDS[form]
        self._has_label = form != "generation"
        self._problems: list[str] = []
        self._blank: dict[str, list[str]] = {}
        self._label_kinds: dict[str, str] = {}  # kind -> place where it first stood
        self._places: dict[str, list[str]] = {}  # id -> places

    def example(self, row: Row) -> Example | None:
        """Return the example in a row, None when it is dropped or refused."""
        problem = row.problem or self._problem(row)
        if problem is not None:
            self._problems.append(f"{row.where}: {problem}")
            if len(self._problems) >= _READ_PROBLEMS:
                self._refuse()
            return None
        texts = {name: str(row.fields[name]) for name in self._texts}
        blank = [name for name, text in texts.items() if not text.strip()]
        if blank:
            self._blank.setdefault(blank[0], []).append(row.where)
            return None
        row_id = row.fields.get("id")
        example_id = str(row_id) if row_id not in (None, "") else row.where
        self._places.setdefault(example_id, []).append(row.where)
        first, *rest = texts.values()
        if self._has_label:
            return Example(
                example_id=example_id, text=first, text_pair=rest[0] if rest else None, target=self._label(row)
            )
        return Example(example_id=example_id, text=first, text_pair=None, target=rest[0])

    def finish(self, *, n_examples: int) -> None:
        """Refuse the file if anything in it was wrong.

        Raises:
            DataError: See `read_examples`.
        """
        if self._problems:
            self._refuse()
        if len(self._label_kinds) > 1:
            found = " and ".join(f"{kind} ({where})" for kind, where in self._label_kinds.items())
            raise DataError(f"{self._path}: field 'label' mixes {found}; use one kind for all rows")
        if not n_examples:
            blank = sum(map(len, self._blank.values()))
            raise DataError(f"{self._path}: no rows{f' left after dropping {blank} blank ones' if blank else ''}")

    def warnings(self, examples: list[Example]) -> Iterator[str]:
        """Yield one line for each thing that the user should know of."""
        for name, places in self._blank.items():
            yield f"{self._path}: {len(places)} rows with blank {name!r} dropped ({_some(places)})"
        for example_id, places in self._places.items():
            if len(places) > 1:
                yield f"{self._path}: id {printable(example_id)} stands on {len(places)} rows ({_some(places)})"
        labels = {example.target for example in examples} if self._has_label else set()
        if len(labels) == 1 and examples:
            yield f"{self._path}: every label is {printable(labels.pop())}: metrics on it say little"

    def _problem(self, row: Row) -> str | None:
        expected = (*self._texts, "label") if self._has_label else self._texts
        missing = [name for name in expected if name not in row.fields]
        if missing:
            found = ", ".join(printable(str(name), 30) for name in list(row.fields)[:8]) or "nothing"
            return f"no field {', '.join(map(repr, missing))} (expected {', '.join(expected)}; found {found})"
        for name in self._texts:
            value = row.fields[name]
            if not isinstance(value, str):
                return f"field {name!r}: expected text, found {kind_of(value)}"
            if _has_surrogate(value):
                return f"field {name!r}: holds half a character (a lone surrogate)"
        row_id = row.fields.get("id", "")
        if row_id is not None and (isinstance(row_id, bool) or not isinstance(row_id, str | int)):
            return f"field 'id': expected text or an integer, found {kind_of(row_id)}"
        if isinstance(row_id, str) and _has_surrogate(row_id):
            return "field 'id': holds half a character (a lone surrogate)"
        return self._label_problem(row) if self._has_label else None

    def _label_problem(self, row: Row) -> str | None:
        label = row.fields["label"]
        if not isinstance(label, str | int):
            return f"field 'label': expected an integer, text or true/false, found {kind_of(label)}"
        if isinstance(label, str) and (not label.strip() or label != label.strip() or _has_surrogate(label)):
            return f"field 'label': {printable(label)} is blank or has blanks around it"
        return None

    def _label(self, row: Row) -> str:
        label = row.fields["label"]
        kind = {bool: "true/false", int: "integers"}.get(type(label), "text")
        self._label_kinds.setdefault(kind, row.where)
        return str(label).lower() if isinstance(label, bool) else str(label)

    def _refuse(self) -> None:
        more = len(self._problems) - _SHOWN_PROBLEMS
        shown = "; ".join(self._problems[:_SHOWN_PROBLEMS])
        raise DataError(f"{self._path}: {shown}{f'; and {more} more' if more > 0 else ''}")


def _some(places: list[str], n: int = 5) -> str:
    shown = ", ".join(places[:n])
    return f"{shown}, ..." if len(places) > n else shown


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
