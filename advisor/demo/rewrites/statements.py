"""Rewrites of statements: branches turned round, values put into variables, statements that do nothing."""

import ast
from random import Random

from advisor.demo.rewrites.expressions import negated
from advisor.demo.rewrites.names import fresh_name, local_names
from advisor.demo.syntax import walk

Block = list[ast.stmt]
_TERMINAL = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def blocks(function: ast.FunctionDef) -> list[Block]:
    """Every list of statements in a function, outer ones first."""
    found: list[Block] = []
    for node in walk(function):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block:
                found.append(block)
    return found


def invert_branches(function: ast.FunctionDef, rng: Random) -> bool:
    """`if c: A else: B` becomes `if not c: B else: A`."""
    candidates = [node for node in walk(function) if isinstance(node, ast.If) and node.orelse]
    if not candidates:
        return False
    node = rng.choice(candidates)
    node.test, node.body, node.orelse = negated(node.test), node.orelse, node.body
    return True


def add_else(function: ast.FunctionDef, rng: Random) -> bool:
    """What follows an `if` that ends in `return` (or the like) moves into its `else`."""
    candidates = [
        (block, index)
        for block in blocks(function)
        for index, node in enumerate(block[:-1])
        if isinstance(node, ast.If) and not node.orelse and isinstance(node.body[-1], _TERMINAL)
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    node = block[index]
    assert isinstance(node, ast.If)
    node.orelse = block[index + 1 :]
    del block[index + 1 :]
    return True


def drop_else(function: ast.FunctionDef, rng: Random) -> bool:
    """The `else` of an `if` that ends in `return` (or the like) moves behind it."""
    candidates = [
        (block, index)
        for block in blocks(function)
        for index, node in enumerate(block)
        if isinstance(node, ast.If) and node.orelse and isinstance(node.body[-1], _TERMINAL)
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    node = block[index]
    assert isinstance(node, ast.If)
    block[index + 1 : index + 1] = node.orelse
    node.orelse = []
    return True


def nest_conditions(function: ast.FunctionDef, rng: Random) -> bool:
    """`if a and b: A` becomes `if a:` with `if b: A` inside."""
    candidates = [
        node
        for node in walk(function)
        if isinstance(node, ast.If)
        and not node.orelse
        and isinstance(node.test, ast.BoolOp)
        and isinstance(node.test.op, ast.And)
    ]
    if not candidates:
        return False
    node = rng.choice(candidates)
    assert isinstance(node.test, ast.BoolOp)
    first, *others = node.test.values
    rest = others[0] if len(others) == 1 else ast.BoolOp(op=ast.And(), values=others)
    node.test, node.body = first, [ast.If(test=rest, body=node.body, orelse=[])]
    return True


def branch_for_conditional(function: ast.FunctionDef, rng: Random) -> bool:
    """`return a if c else b` and `x = a if c else b` become an `if` statement."""
    candidates = [
        (block, index)
        for block in blocks(function)
        for index, node in enumerate(block)
        if (isinstance(node, ast.Return) or (isinstance(node, ast.Assign) and _plain_target(node)))
        and isinstance(node.value, ast.IfExp)
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    node = block[index]
    assert isinstance(node, ast.Return | ast.Assign)
    assert isinstance(node.value, ast.IfExp)
    choice = node.value
    block[index] = ast.If(test=choice.test, body=[_same(node, choice.body)], orelse=[_same(node, choice.orelse)])
    return True


def return_through_variable(function: ast.FunctionDef, rng: Random) -> bool:
    """`return f(x)` becomes `result = f(x)` and `return result`."""
    candidates = [
        (block, index)
        for block in blocks(function)
        for index, node in enumerate(block)
        if isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Name | ast.Constant)
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    node = block[index]
    assert isinstance(node, ast.Return)
    assert node.value
    name = fresh_name(function, rng)
    block[index : index + 1] = [_assign(name, node.value), ast.Return(value=ast.Name(id=name, ctx=ast.Load()))]
    return True


def condition_through_variable(function: ast.FunctionDef, rng: Random) -> bool:
    """`if f(x):` becomes `flag = f(x)` and `if flag:`."""
    candidates = [
        (block, index)
        for block in blocks(function)
        for index, node in enumerate(block)
        if isinstance(node, ast.If) and not isinstance(node.test, ast.Name | ast.Constant)
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    node = block[index]
    assert isinstance(node, ast.If)
    name = fresh_name(function, rng)
    block.insert(index, _assign(name, node.test))
    node.test = ast.Name(id=name, ctx=ast.Load())
    return True


def insert_idle_statement(function: ast.FunctionDef, rng: Random) -> bool:
    """A statement without effect: an unused constant, `pass`, or a branch that is never taken."""
    block = rng.choice(blocks(function))
    constant = ast.Constant(value=rng.choice([None, True, False, 0, 1, 2, 10, ""]))
    idle: ast.stmt = _assign(fresh_name(function, rng), constant)
    form = rng.randrange(4)
    if form == 0:
        idle = ast.Pass()
    elif form == 1:
        idle = ast.If(test=ast.Constant(value=False), body=[idle], orelse=[])
    block.insert(rng.randrange(len(block)), idle)
    return True


def swap_statements(function: ast.FunctionDef, rng: Random) -> bool:
    """Two neighbouring assignments change places, where one is free of effects and neither reads the other."""
    local = local_names(function)
    candidates = [
        (block, index)
        for block in blocks(function)
        for index in range(len(block) - 1)
        if _independent(block[index], block[index + 1], local)
    ]
    if not candidates:
        return False
    block, index = rng.choice(candidates)
    block[index], block[index + 1] = block[index + 1], block[index]
    return True


def _independent(first: ast.stmt, second: ast.stmt, local: set[str]) -> bool:
    pair = (first, second)
    if not all(isinstance(node, ast.Assign) and _plain_target(node) for node in pair):
        return False
    names = [{child.id for child in walk(node) if isinstance(child, ast.Name)} for node in pair]
    targets = [{node.targets[0].id} for node in pair]  # type: ignore[attr-defined]
    if targets[0] & names[1] or targets[1] & names[0] or not (targets[0] | targets[1]) <= local:
        return False
    # A name in the effect-free value may be unbound: reading it must not move across something that can fail.
    return any(_is_constant(node) for node in pair)


def _is_constant(node: ast.stmt) -> bool:
    """Say whether an assigned value neither reads, calls nor raises anything."""
    return isinstance(node, ast.Assign) and all(
        isinstance(child, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Load) for child in walk(node.value)
    )


def _plain_target(node: ast.Assign) -> bool:
    return len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)


def _same(node: ast.Return | ast.Assign, value: ast.expr) -> ast.stmt:
    if isinstance(node, ast.Return):
        return ast.Return(value=value)
    assert isinstance(node.targets[0], ast.Name)
    return _assign(node.targets[0].id, value)


def _assign(name: str, value: ast.expr) -> ast.Assign:
    return ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value, lineno=0)
