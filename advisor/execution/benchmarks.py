"""Rows of HumanEval and MBPP, with a completion, as programs.

Both come with `test`, source that defines `check(candidate)`, and `entry_point`, the name to check.
Sources: Chen et al. 2021 (arXiv 2107.03374); Austin et al. 2021 (arXiv 2108.07732) in the form of Athiwaratkun et al.
2023 (MBXP).
"""

from collections.abc import Mapping

from advisor.errors import DataError, printable
from advisor.execution.outcome import Program

_CANDIDATE = "candidate_under_test"


def humaneval_program(row: Mapping[str, object], completion: str) -> Program:
    """Return the program of a HumanEval row: signature and docstring, then the completion, which is the body.

    Args:
        row: With `source`, `test` and `entry_point`.
        completion: What the model wrote after `source`; the reference is `target`.

    Raises:
        DataError: A field is missing or not text.
    """
    return _checked_program(row, _text(row, "source") + completion)


def mbpp_program(row: Mapping[str, object], completion: str) -> Program:
    """Return the program of an MBPP row: the completion alone, which is a whole function with what it imports.

    Args:
        row: With `test` and `entry_point`; `source` is the task in words and no part of the program.
        completion: What the model wrote; the reference is `target`.

    Raises:
        DataError: A field is missing or not text.
    """
    return _checked_program(row, completion)


def _checked_program(row: Mapping[str, object], source: str) -> Program:
    entry_point = _text(row, "entry_point")
    if not entry_point.isidentifier():
        raise DataError(f"row {row.get('id', '')}: entry_point {printable(entry_point)} is not the name of a function")
    # Kept under another name: some candidates are called `check` themselves.
    tests = f"{_CANDIDATE} = {entry_point}\n{_text(row, 'test')}\n\ncheck({_CANDIDATE})\n"
    return Program(source=source, tests=tests, entry_point=entry_point)


def _text(row: Mapping[str, object], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise DataError(f"row {row.get('id', '')}: field {field!r} must be text, is {type(value).__name__}")
    return value
