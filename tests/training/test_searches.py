"""What is searched, and what answers: each query once, every code once."""

import pytest

from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.errors import DataError
from advisor.training.searches import answers_of, search_of


def row(query: str, code: str, target: str = "1", code_id: str | None = None) -> Example:
    return Example(example_id=f"{query}-{code}", text=query, text_pair=code, target=target, code_id=code_id)


def test_without_a_codebase_the_code_of_all_rows_is_searched() -> None:
    found = search_of([row("sort", "a"), row("sort", "b"), row("find", "c", "0"), row("find", "a"), row("sort", "a")])
    assert [example.text for example in found.queries] == ["sort", "find"]
    assert [example.text for example in found.codes] == ["a", "b", "c"]
    assert found.relevant == (frozenset({0, 1}), frozenset({0}))


def test_a_codebase_is_searched_whole_and_answers_are_found_in_it_by_id_or_text() -> None:
    codebase = [Code(code_id="7", code="x"), Code(code_id="8", code="a"), Code(code_id="9", code="x")]
    rows = [row("one", "x", code_id="9"), row("two", "a"), row("three", "new")]
    found = search_of(rows, codebase)
    assert [example.text for example in found.codes] == ["x", "a", "x", "new"]
    assert found.relevant == (frozenset({2}), frozenset({1}), frozenset({3}))


def test_a_query_without_an_answer_is_not_asked_but_its_code_is_searched() -> None:
    found = search_of([row("one", "a"), row("two", "b", "0")])
    assert [example.text for example in found.queries] == ["one"]
    assert len(found.codes) == 2
    with pytest.raises(DataError, match="no row of a split is an answer"):
        search_of([row("one", "a", "0")])


def test_some_queries_are_still_asked_of_all_code() -> None:
    found = search_of([row("one", "a"), row("two", "b"), row("three", "c")]).only([0, 2])
    assert [example.text for example in found.queries] == ["one", "three"]
    assert found.relevant == (frozenset({0}), frozenset({2}))
    assert len(found.codes) == 3


def test_only_answers_are_learned() -> None:
    assert [example.text for example in answers_of([row("one", "a"), row("two", "b", "0")])] == ["one"]
