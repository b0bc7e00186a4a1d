"""The language of a row is told by a column, never by its text."""

import pytest

from advisor.data.languages import Languages


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"language": "java", "path": "x.py"}, "java"),
        ({"path": "src/main/App.java"}, "Java"),
        ({"filename": "a/b.py"}, "Python"),
        ({"filename": "a/b.CPP"}, "C++"),
        ({"filename": "Makefile"}, None),
        ({"filename": "a.nosuchsuffix"}, None),
        ({"code": "def f(): pass"}, None),
        ({"language": None, "path": 3}, None),
        ({"language": "x" * 1000}, None),
    ],
)
def test_a_column_tells_the_language(fields: dict[str, object], expected: str | None) -> None:
    assert Languages().of(fields) == expected
