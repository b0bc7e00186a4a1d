"""Rewrites of expressions: the value and the order of evaluation stay as they were.

Taken for granted: comparison operators of user types agree with their mirror images (`a < b` is `b > a`).
"""

import ast
from random import Random
from typing import TypeVar

from advisor.demo.rewrites.names import local_names, parameters, used_names
from advisor.demo.syntax import walk

_Item = TypeVar("_Item")
_MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
}
# Only these always give a plain true or false, so that their opposite is exact.
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def negated(test: ast.expr) -> ast.expr:
    """The opposite of a condition, for places where only its truth counts."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _OPPOSITE:
        return ast.Compare(left=test.left, ops=[_OPPOSITE[type(test.ops[0])]()], comparators=test.comparators)
    return ast.UnaryOp(op=ast.Not(), operand=test)


def flip_comparison(function: ast.FunctionDef, rng: Random) -> bool:
    """`a < b` becomes `b > a`, where reading either side has no effect."""
    candidates = [
        node
        for node in walk(function)
        if isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and type(node.ops[0]) in _MIRRORED
        and _is_effect_free(node.left)
        and _is_effect_free(node.comparators[0])
    ]
    for node in _some(candidates, rng):
        node.left, node.comparators = node.comparators[0], [node.left]
        node.ops = [_MIRRORED[type(node.ops[0])]()]
    return bool(candidates)


def apply_de_morgan(function: ast.FunctionDef, rng: Random) -> bool:
    """`if a and b` becomes `if not (not a or not b)`, and the other way round."""
    candidates = [
        node for node in walk(function) if isinstance(node, ast.If | ast.While) and _de_morgan(node.test) is not None
    ]
    for node in _some(candidates, rng):
        node.test = _de_morgan(node.test) or node.test
    return bool(candidates)


def swap_conditional(function: ast.FunctionDef, rng: Random) -> bool:
    """`a if c else b` becomes `b if not c else a`."""
    candidates = [node for node in walk(function) if isinstance(node, ast.IfExp)]
    for node in _some(candidates, rng):
        node.test, node.body, node.orelse = negated(node.test), node.orelse, node.body
    return bool(candidates)


def call_for_empty_display(function: ast.FunctionDef, rng: Random) -> bool:
    """`[]`, `{}` and `()` become `list()`, `dict()` and `tuple()`, and the other way round."""
    hidden = local_names(function) | {argument.arg for argument in parameters(function)}
    swap = _EmptyDisplays(rng, available={"list", "dict", "tuple"} - hidden)
    swap.generic_visit(function)
    return swap.changed


def rewrite_counter(function: ast.FunctionDef, rng: Random) -> bool:
    """`n += 1` becomes `n = n + 1` or back, for variables that only ever hold plain numbers."""
    counters = _counters(function)
    swap = _CounterSteps(counters, rng)
    swap.generic_visit(function)
    return swap.changed


class _EmptyDisplays(ast.NodeTransformer):
    def __init__(self, rng: Random, *, available: set[str]) -> None:
        self.changed = False
        self._rng = rng
        self._available = available

    def visit(self, node: ast.AST) -> ast.AST:
        node = super().visit(node)
        replacement = self._replacement(node)
        if replacement is None:
            return node
        self.changed = True
        return replacement

    def _replacement(self, node: ast.AST) -> ast.expr | None:
        if isinstance(node, ast.List | ast.Tuple) and not node.elts and isinstance(node.ctx, ast.Load):
            name = "list" if isinstance(node, ast.List) else "tuple"
        elif isinstance(node, ast.Dict) and not node.keys:
            name = "dict"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args and not node.keywords:
            if node.func.id not in self._available:
                return None
            return {
                "list": ast.List(elts=[], ctx=ast.Load()),
                "dict": ast.Dict(keys=[], values=[]),
                "tuple": ast.Tuple(elts=[], ctx=ast.Load()),
            }[node.func.id]
        else:
            return None
        if name not in self._available:
            return None
        return ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=[], keywords=[])


class _CounterSteps(ast.NodeTransformer):
    def __init__(self, counters: set[str], rng: Random) -> None:
        self.changed = False
        self._counters = counters
        self._rng = rng

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        if not (isinstance(node.target, ast.Name) and node.target.id in self._counters):
            return node
        self.changed = True
        name = node.target.id
        value = ast.BinOp(left=ast.Name(id=name, ctx=ast.Load()), op=node.op, right=node.value)
        return ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value, lineno=0)

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        target, value = node.targets[0], node.value
        if not (isinstance(target, ast.Name) and target.id in self._counters and isinstance(value, ast.BinOp)):
            return node
        self.changed = True
        return ast.AugAssign(target=ast.Name(id=target.id, ctx=ast.Store()), op=value.op, value=value.right)


def _counters(function: ast.FunctionDef) -> set[str]:
    """Variables whose every assignment is a number or a step by a number; anything else might be changed in place."""
    counted: set[str] = set()
    safe_targets: set[int] = set()
    for node in walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            target, value = node.targets[0], node.value
            steps = isinstance(value, ast.BinOp) and _is_step(value.op, value.right) and _is_name(value.left, target.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            target, value = node.target, node.value
            steps = _is_step(node.op, value)
        else:
            continue
        if steps or (isinstance(node, ast.Assign) and _is_number(value)):
            safe_targets.add(id(target))
            counted.add(target.id)
    unsafe = {
        node.id
        for node in walk(function)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) and id(node) not in safe_targets
    }
    return counted - unsafe - (used_names(function) - local_names(function)) - {p.arg for p in parameters(function)}


def _is_step(operator: ast.operator, value: ast.expr) -> bool:
    return isinstance(operator, ast.Add | ast.Sub | ast.Mult) and _is_number(value)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_effect_free(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name)
    return isinstance(node, ast.Name | ast.Constant)


def _de_morgan(test: ast.expr) -> ast.expr | None:
    inner = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else test
    if not isinstance(inner, ast.BoolOp):
        return None
    dual = ast.Or() if isinstance(inner.op, ast.And) else ast.And()
    opposite = ast.BoolOp(op=dual, values=[negated(value) for value in inner.values])
    return opposite if inner is not test else ast.UnaryOp(op=ast.Not(), operand=opposite)


def _some(candidates: list[_Item], rng: Random) -> list[_Item]:
    """One candidate at least, each further one with even odds."""
    if not candidates:
        return []
    sure = rng.randrange(len(candidates))
    return [candidate for number, candidate in enumerate(candidates) if number == sure or rng.random() < 0.5]
