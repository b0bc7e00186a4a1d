"""Functions read from source text."""

import pytest

from advisor.demo.functions import find_functions, summary_sentence

SOURCE = '''
import os

def plain(path, *, deep=False):
    """Join a path to its parent. More.

    Args:
        path: Where.
    """
    parent = os.path.dirname(path)  # the parent
    if deep:
        return parent
    return os.path.join(parent, path)

class Holder:
    @property
    def value(self):
        first = self.first
        second = self.second
        return first + second

def short(x):
    return x

def outer(x):
    def inner(y):
        return y + x
    a = 1
    return inner(a)

async def waits(x):
    a = await x
    b = await x
    return a + b
'''


def test_functions_and_methods_come_without_docstring_comment_and_decorator() -> None:
    found = {function.name: function for function in find_functions(SOURCE, package="p")}
    assert set(found) == {"plain", "value"}
    assert found["plain"].summary == "Join a path to its parent"
    assert found["value"].summary == ""
    assert all(mark not in found["plain"].source for mark in ('"""', "#"))
    assert found["value"].source.startswith("def value(self):")
    assert found["plain"].package == "p"


def test_only_documented_functions_come_where_that_is_asked_for() -> None:
    assert [item.name for item in find_functions(SOURCE, package="p", documented=True)] == ["plain"]


def test_long_functions_are_left_out() -> None:
    assert not list(find_functions(SOURCE, package="p", max_characters=50))


@pytest.mark.parametrize("text", ["def broken(:\n", "\0", "(" * 500])
def test_text_that_does_not_parse_yields_nothing(text: str) -> None:
    assert not list(find_functions(text, package="p"))


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the sum of both.\n\nMore.", "Return the sum of both"),
        ("Return the `sum` of\n    both values! And more.", "Return the sum of both values"),
        ("Wait for :class:`~asyncio.Future` to end.", "Wait for asyncio.Future to end"),
        ("Too short.", ""),
        ("word " * 31, ""),
        (">>> add(1, 2)\n3", ""),
        (":param x: the value of it", ""),
        ("Gibt die Größe von allem zurück.", ""),
        ("The read file", "The read file"),
        ("Read the file read.", "Read the file read"),
        ("1 + 2 = 3, 4 * 5 = 20", ""),
    ],
)
def test_the_first_sentence_is_cleaned_or_dropped(docstring: str, sentence: str) -> None:
    assert summary_sentence(docstring, name="add") == sentence


def test_a_sentence_that_only_repeats_the_name_is_dropped() -> None:
    assert summary_sentence("Read the file.", name="read_the_file") == ""
