"""Rewrites of loops: `for` as `while`, a list comprehension as a loop, a loop condition moved inside.

Taken for granted: `range` is called with whole numbers, as it demands.
"""

import ast
import copy
from collections.abc import Callable
from random import Random

from advisor.demo.rewrites.expressions import negated
from advisor.demo.rewrites.names import fresh_name, local_names, rename
from advisor.demo.rewrites.statements import Block, blocks
from advisor.demo.syntax import walk


def count_with_while(function: ast.FunctionDef, rng: Random) -> bool:
    """`for i in range(n)` becomes a `while` loop with its own counter, so that changes to `i` inside do no harm."""
    if "range" in local_names(function):
        return False
    found = _pick(function, rng, _is_counting)
    if found is None:
        return False
    block, index, node = found
    assert isinstance(node.iter, ast.Call)
    assert isinstance(node.target, ast.Name)
    arguments = node.iter.args
    start, stop = (ast.Constant(value=0), arguments[0]) if len(arguments) == 1 else (arguments[0], arguments[1])
    counter = fresh_name(function, rng)
    limit = fresh_name(function, rng, taken={counter})
    step = ast.AugAssign(target=_store(counter), op=ast.Add(), value=ast.Constant(value=1))
    loop = ast.While(
        test=ast.Compare(left=_load(counter), ops=[ast.Lt()], comparators=[_load(limit)]),
        body=[_assign(node.target, _load(counter)), step, *node.body],
        orelse=[],
    )
    block[index : index + 1] = [_assign(_store(counter), start), _assign(_store(limit), stop), loop]
    return True


def iterate_with_while(function: ast.FunctionDef, rng: Random) -> bool:
    """`for x in xs` becomes `while True` around `next(iterator)`."""
    if local_names(function) & {"iter", "next", "StopIteration"}:
        return False
    found = _pick(function, rng, lambda node: not _is_counting(node))
    if found is None:
        return False
    block, index, node = found
    iterator = fresh_name(function, rng)
    advance = ast.Call(func=_load("next"), args=[_load(iterator)], keywords=[])
    # Unpacking stays outside the `try`: it may run code of its own.
    taken: list[ast.stmt] = []
    target: ast.expr = node.target
    if not isinstance(target, ast.Name):
        item = fresh_name(function, rng, taken={iterator})
        taken = [_assign(target, _load(item))]
        target = _store(item)
    attempt = ast.Try(
        body=[_assign(target, advance)],
        handlers=[ast.ExceptHandler(type=_load("StopIteration"), name=None, body=[ast.Break()])],
        orelse=[],
        finalbody=[],
    )
    start = ast.Call(func=_load("iter"), args=[node.iter], keywords=[])
    loop = ast.While(test=ast.Constant(value=True), body=[attempt, *taken, *node.body], orelse=[])
    block[index : index + 1] = [_assign(_store(iterator), start), loop]
    return True


def move_loop_condition(function: ast.FunctionDef, rng: Random) -> bool:
    """`while c: A` becomes `while True:` with `if not c: break` first."""
    candidates = [
        node
        for node in walk(function)
        if isinstance(node, ast.While) and not node.orelse and not isinstance(node.test, ast.Constant)
    ]
    if not candidates:
        return False
    node = rng.choice(candidates)
    node.body.insert(0, ast.If(test=negated(node.test), body=[ast.Break()], orelse=[]))
    node.test = ast.Constant(value=True)
    return True


def loop_for_comprehension(function: ast.FunctionDef, rng: Random) -> bool:
    """`return [f(x) for x in xs if c]` (or an assignment of it) becomes a loop that appends."""
    candidates = [
        (block, index)
        for block in blocks(function)
        for index, node in enumerate(block)
        if isinstance(node, ast.Return | ast.Assign)
        and isinstance(node.value, ast.ListComp)
        and len(node.value.generators) == 1
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    node = block[index]
    assert isinstance(node, ast.Return | ast.Assign)
    assert isinstance(node.value, ast.ListComp)
    collected = fresh_name(function, rng)
    loop = _appending_loop(function, rng, node.value, collected)
    node.value = _load(collected)
    block[index:index] = [_assign(_store(collected), ast.List(elts=[], ctx=ast.Load())), loop]
    return True


def _appending_loop(function: ast.FunctionDef, rng: Random, written: ast.ListComp, collected: str) -> ast.For:
    """The loop of a comprehension; its variables get new names, as those of a loop live on after it."""
    part = written.generators[0]
    element, target = copy.deepcopy(written.elt), copy.deepcopy(part.target)
    conditions = [copy.deepcopy(condition) for condition in part.ifs]
    mapping: dict[str, str] = {}
    for name in sorted({child.id for child in walk(target) if isinstance(child, ast.Name)}):
        mapping[name] = fresh_name(function, rng, taken={collected, *mapping.values()})
    rename([element, target, *conditions], mapping)
    append = ast.Attribute(value=_load(collected), attr="append", ctx=ast.Load())
    body: list[ast.stmt] = [ast.Expr(value=ast.Call(func=append, args=[element], keywords=[]))]
    for condition in reversed(conditions):
        body = [ast.If(test=condition, body=body, orelse=[])]
    return ast.For(target=target, iter=part.iter, body=body, orelse=[], lineno=0)


def _pick(
    function: ast.FunctionDef, rng: Random, wanted: Callable[[ast.For], bool]
) -> tuple[Block, int, ast.For] | None:
    candidates = [
        (block, index, node)
        for block in blocks(function)
        for index, node in enumerate(block)
        if isinstance(node, ast.For) and not node.orelse and wanted(node)
    ]
    return rng.choice(candidates) if candidates else None


def _is_counting(node: ast.For) -> bool:
    call = node.iter
    return (
        isinstance(node.target, ast.Name)
        and isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "range"
        and not call.keywords
        and len(call.args) in (1, 2)
        and not any(isinstance(argument, ast.Starred) for argument in call.args)
    )


def _load(name: str) -> ast.Name:
    return ast.Name(id=name, ctx=ast.Load())


def _store(name: str) -> ast.Name:
    return ast.Name(id=name, ctx=ast.Store())


def _assign(target: ast.expr, value: ast.expr) -> ast.Assign:
    return ast.Assign(targets=[target], value=value, lineno=0)
