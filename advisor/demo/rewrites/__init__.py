"""Rewrites of a Python function that leave what it does as it was.

Each rewrite changes a function's syntax tree in place and says whether it found anything to change. Limits: callers
by keyword would notice renamed parameters; names of built-ins are taken to mean the built-ins; operators of user types
are taken to agree with their mirror images; the time that a function takes and its bytecode may differ.
"""

import ast
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

from advisor.demo.rewrites import expressions, loops, statements
from advisor.demo.rewrites.names import parse_function, rename_locals

Rewrite = Callable[[ast.FunctionDef, Random], bool]

REWRITES: Mapping[str, Rewrite] = MappingProxyType(
    {
        "rename-locals": rename_locals,
        "flip-comparison": expressions.flip_comparison,
        "apply-de-morgan": expressions.apply_de_morgan,
        "swap-conditional": expressions.swap_conditional,
        "call-for-empty-display": expressions.call_for_empty_display,
        "rewrite-counter": expressions.rewrite_counter,
        "invert-branches": statements.invert_branches,
        "add-else": statements.add_else,
        "drop-else": statements.drop_else,
        "nest-conditions": statements.nest_conditions,
        "branch-for-conditional": statements.branch_for_conditional,
        "return-through-variable": statements.return_through_variable,
        "condition-through-variable": statements.condition_through_variable,
        "insert-idle-statement": statements.insert_idle_statement,
        "swap-statements": statements.swap_statements,
        "count-with-while": loops.count_with_while,
        "iterate-with-while": loops.iterate_with_while,
        "move-loop-condition": loops.move_loop_condition,
        "loop-for-comprehension": loops.loop_for_comprehension,
    }
)

_MIN_STRUCTURAL = 2
_MAX_STRUCTURAL = 4
_RENAMING_ODDS = 0.85


def rewritten(source: str, rng: Random) -> str:
    """Rewrite a function by several rewrites drawn at random.

    Args:
        source: Source text of one function.
        rng: Source of all randomness.

    Returns:
        Source text of a function that does the same; equal to `source` only if nothing applied.

    Raises:
        ValueError: If the text is not exactly one function.
    """
    function = parse_function(source)
    names = [name for name in REWRITES if name != "rename-locals"]
    rng.shuffle(names)
    wanted = rng.randint(_MIN_STRUCTURAL, _MAX_STRUCTURAL)
    for name in names:
        if wanted and REWRITES[name](function, rng):
            wanted -= 1
    if rng.random() < _RENAMING_ODDS:
        rename_locals(function, rng)
    return ast.unparse(function)
