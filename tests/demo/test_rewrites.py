"""Rewrites must change how a function is written and never what it does."""

import ast
import copy
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from advisor.demo.rewrites import REWRITES, rewritten
from advisor.demo.rewrites.names import canonical_source

# Each function with the argument lists that it is run on; errors are outcomes too.
PROGRAMS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "early return": (
        """
def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return high
    else:
        result = value
    return result
""",
        [(1, 2, 3), (5, 2, 3), (2.5, 2, 3), ("x", 1, 2)],
    ),
    "counting": (
        """
def count_even(numbers):
    count = 0
    total = 0.5
    for number in numbers:
        if number % 2 == 0:
            count += 1
        else:
            total = total - 1
            continue
        total *= 2
    return (count, total)
""",
        [([1, 2, 3, 4],), ([],), ((8, 8),), (3,)],
    ),
    "range whose variable changes and lives on": (
        """
def steps(n, skip):
    seen = []
    i = -1
    for i in range(1, n):
        if i == skip:
            continue
        i = i + 10
        seen.append(i)
        if len(seen) > 4:
            break
    return (seen, i)
""",
        [(5, 3), (20, 2), (0, 0), (1, 1)],
    ),
    "unpacking loop": (
        """
def invert(mapping, default=None):
    result = {}
    for key, value in mapping.items():
        if value is None and default is not None:
            value = default
        result.setdefault(value, []).append(key)
    return result if result else default
""",
        [({"a": 1, "b": 1, "c": None},), ({"a": None}, 7), ({},), ([],)],
    ),
    "while and else": (
        """
def collatz(n, limit=50):
    path = []
    while n != 1 and limit > 0:
        path.append(n)
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        limit -= 1
    return path
""",
        [(6,), (7, 3), (1,), (0, 4)],
    ),
    "comprehension that reuses a name": (
        """
def squares(x, items):
    x = [x * x for x in items if x > 0 if x != 3]
    y = ()
    z = list()
    return [(x, y, z) for _ in range(2)]
""",
        [(9, [1, -2, 3, 4]), (0, []), (1, ["a"])],
    ),
    "exceptions": (
        """
def parse(text, fallback=0):
    try:
        value = int(text)
    except (TypeError, ValueError) as error:
        if not (isinstance(error, TypeError) or fallback):
            raise
        return fallback
    finally:
        done = True
    return value if done and value >= fallback else -value
""",
        [("12",), ("x", 3), ("x",), (None, 0), ("1", 5)],
    ),
    "conditional assignment": (
        """
def sign(a, b):
    name = 'zero'
    pair = (a, b)
    first = a if a else b
    if a is None or b is None:
        name = 'missing'
    elif not (a < 0 or b < 0):
        name = 'plus' if first else 'none'
    else:
        name = 'minus'
    return (name, pair, first)
""",
        [(1, 2), (0, 0), (-1, 3), (None, 2), (0, -4)],
    ),
    "list that is changed in place": (
        """
def extend(items, more):
    alias = items
    items += more
    items *= 2
    count = len(items)
    count += 1
    return (alias, count, items is alias)
""",
        [([1], [2, 3]), ([], []), ((1,), (2,))],
    ),
    "generator": (
        """
def windows(values, size=2):
    buffer = []
    for index, value in enumerate(values):
        buffer.append(value)
        if len(buffer) == size:
            yield (index, tuple(buffer))
            del buffer[0]
    if buffer and index is not None:
        yield buffer
""",
        [([1, 2, 3],), ("abcd", 3)],
    ),
    "defaults that share a parameter's name": (
        """
def scale(values, len=len, factor=2):
    n = len(values)
    return {'n': n, 'values': [factor * value for value in values], f'{n}': f'{factor=}'}
""",
        [([1, 2],), ([],)],
    ),
}


def run(source: str, arguments: tuple[Any, ...]) -> tuple[str, Any, Any]:
    """Run the one function in a text; give the kind of outcome, its value, and the arguments afterwards."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "<function>", "exec"), namespace)
    function: Callable[..., Any] = next(value for key, value in namespace.items() if key != "__builtins__")
    given = copy.deepcopy(arguments)
    try:
        value = function(*given)
        outcome = list(value) if hasattr(value, "__next__") else value
    except Exception as error:
        return type(error).__name__, None, given
    return "value", outcome, given


def rewritten_by(name: str, source: str, seed: int) -> tuple[str, bool]:
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    changed = REWRITES[name](function, Random(seed))
    return ast.unparse(function), changed


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_keeps_what_the_function_does(name: str, program: str) -> None:
    source, calls = PROGRAMS[program]
    for seed in range(8):
        changed_source, changed = rewritten_by(name, source, seed)
        assert changed or changed_source == ast.unparse(ast.parse(source))
        for arguments in calls:
            assert run(changed_source, arguments) == run(source, arguments), changed_source


@pytest.mark.parametrize("name", REWRITES)
def test_every_rewrite_finds_something_to_change_in_some_program(name: str) -> None:
    plain = {program: ast.unparse(ast.parse(source)) for program, (source, _) in PROGRAMS.items()}
    assert any(rewritten_by(name, plain[program], 1)[0] != plain[program] for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_several_rewrites_one_after_the_other_keep_what_the_function_does(program: str) -> None:
    source, calls = PROGRAMS[program]
    for seed in range(60):
        changed_source = rewritten(source, Random(seed))
        for arguments in calls:
            assert run(changed_source, arguments) == run(source, arguments), changed_source


def test_rewriting_is_the_same_for_the_same_seed() -> None:
    source = PROGRAMS["counting"][0]
    assert rewritten(source, Random(3)) == rewritten(source, Random(3))
    assert len({rewritten(source, Random(seed)) for seed in range(10)}) > 5


def test_functions_that_differ_in_names_alone_have_one_canonical_text() -> None:
    first = "def f(a, b):\n    c = a + b\n    return [c for _ in other(b)]"
    second = "def g(x, y):\n    z = x + y\n    return [z for _ in other(y)]"
    assert canonical_source(first) == canonical_source(second)
    assert canonical_source(first) != canonical_source(second.replace("other", "another"))


def test_text_that_is_no_single_function_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one function"):
        rewritten("x = 1", Random(0))
