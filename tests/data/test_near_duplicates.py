"""Near duplicates are those of a comparison of all pairs."""

import json
import random
from collections import Counter

import pytest

from advisor.data import near_duplicates
from advisor.data.near_duplicates import are_near, mark_near, tokens_of
from advisor.errors import InputError
from tests.data.rows import SHARED, program


def test_tokens_are_names_words_numbers_and_literals() -> None:
    assert tokens_of("int f_1($x) { return 'a b' + \"c\\\"d\" * 1.5e3; } // Zähler") == [
        "int", "f_1", "$x", "return", "'a b'", '"c\\"d"', "1.5e3", "Zähler",
    ]  # fmt: skip


# Sets of 10 tokens each with 9 or 8 in common: 9/11 = 0.818 is near, 8/12 = 0.667 is not.
@pytest.mark.parametrize(("common", "expected"), [(9, True), (8, False)])
def test_the_sets_must_agree_in_four_fifths(common: int, expected: bool) -> None:
    first = Counter(f"t{i}" for i in range(10))
    second = Counter(f"t{i}" for i in range(10 - common, 20 - common))
    assert are_near(first, second) is expected


# Equal sets, {a: 10, b: 1} beside {a: n, b: 1}: (n + 1) / 11 is 0.727 for n = 7 and 0.636 for n = 6.
@pytest.mark.parametrize(("n", "expected"), [(7, True), (6, False)])
def test_the_multisets_must_agree_in_seven_tenths(n: int, expected: bool) -> None:
    assert are_near(Counter(a=10, b=1), Counter(a=n, b=1)) is expected


def test_marks_go_both_ways_and_say_what_came_earlier() -> None:
    texts = [program("one"), program("two"), program("one", 60).upper(), "too short"]
    found = mark_near(texts, [1, 2, 4, 8])
    assert list(found.near) == [2, 1, 0, 0]
    assert list(found.near_earlier) == [0, 1, 0, 0]
    assert found.n_compared == 3


def brute_force(texts: list[str]) -> list[int]:
    counted = [Counter(tokens_of(text)) for text in texts]
    long = [place for place, tokens in enumerate(counted) if tokens.total() >= near_duplicates.MIN_TOKENS]
    return [
        int(place in long and any(are_near(counted[place], counted[other]) for other in long if other != place))
        for place in range(len(texts))
    ]


def test_edited_programs_are_found_as_by_comparing_all_pairs() -> None:
    rng = random.Random(0)
    texts = []
    for _ in range(60):
        tokens = [f"name{rng.randrange(5000)}" for _ in range(rng.randrange(15, 80))]
        for n_changed in (0, 1, 3, 6, 12):
            changed = list(tokens)
            for place in rng.sample(range(len(tokens)), min(n_changed, len(tokens))):
                changed[place] = f"other{rng.randrange(5000)}"
            texts.append(" ".join(changed) + f" v{n_changed}")
    expected = brute_force(texts)
    assert 100 < sum(expected) < 250
    assert list(mark_near(texts, [1] * len(texts)).near) == expected


def test_functions_of_real_projects_are_found_as_by_comparing_all_pairs() -> None:
    path = SHARED / "clone-detection" / "bigclonebench" / "train.jsonl"
    if not path.is_file():
        pytest.skip(f"needs the shared data file {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    texts = sorted({row["code1"] for row in rows})[:300]
    expected = brute_force(texts)
    assert sum(expected) > 3
    assert list(mark_near(texts, [1] * len(texts)).near) == expected


def test_very_many_equal_programs_are_all_found_in_one_bucket() -> None:
    texts = [program(f"name{i}") for i in range(400)]
    found = mark_near(texts, [1] * len(texts))
    assert all(found.near)
    assert [bool(mark) for mark in found.near_earlier] == [False] + [True] * 399


def test_nothing_to_compare_is_no_error() -> None:
    assert mark_near([], []).n_compared == 0
    assert list(mark_near(["short"], [1]).near) == [0]


def test_a_missing_library_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasketch", None)
    with pytest.raises(InputError, match="pip install datasketch"):
        mark_near([program("a")], [1])
