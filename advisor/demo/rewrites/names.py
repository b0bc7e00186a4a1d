"""Names in a function: which are local, which are taken, which are free; and renaming of local variables."""

import ast
import builtins
import keyword
from collections.abc import Sequence
from random import Random

from advisor.demo.syntax import walk

# fmt: off
_WORDS = (
    "amount", "answer", "area", "base", "block", "bucket", "buffer", "cell", "chunk", "content", "context", "count",
    "current", "cursor", "data", "delta", "detail", "digest", "draft", "edge", "element", "entry", "extra", "field",
    "final", "first", "flag", "found", "frame", "given", "group", "guess", "handle", "head", "index", "info",
    "inner", "item", "key", "kind", "label", "last", "layer", "left", "level", "limit", "line", "link", "local",
    "mark", "middle", "mode", "model", "moment", "name", "node", "number", "obj", "offset", "old", "origin",
    "other", "outcome", "outer", "output", "pair", "part", "path", "piece", "place", "point", "position",
    "previous", "queue", "rate", "raw", "record", "ref", "remaining", "reply", "res", "result", "right", "root",
    "row", "sample", "scale", "second", "section", "seen", "segment", "shape", "share", "side", "signal", "size",
    "slot", "source", "span", "spec", "stack", "stage", "start", "state", "step", "stop", "store", "stream",
    "subject", "suffix", "table", "tail", "target", "temp", "text", "thing", "tmp", "token", "top", "total",
    "trace", "tree", "unit", "value", "variable", "vector", "view", "weight", "width", "window", "word", "work",
)
# fmt: on
_FRESH_WORDS = tuple(word for word in _WORDS if not keyword.iskeyword(word) and not hasattr(builtins, word))
_RECEIVERS = frozenset({"self", "cls", "mcs", "mcls"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    """All parameters of a function, `*args` and `**kwargs` included."""
    spec = function.args
    starred = [argument for argument in (spec.vararg, spec.kwarg) if argument is not None]
    return [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *starred]


def used_names(function: ast.FunctionDef) -> set[str]:
    """Every name that the function reads, binds or imports; attributes and keywords are no names."""
    names = {argument.arg for argument in parameters(function)}
    for node in walk(function):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
    return names


def local_names(function: ast.FunctionDef) -> set[str]:
    """Parameters and variables that may be renamed: no receiver, no import, no variable of a comprehension alone."""
    names = {argument.arg for argument in parameters(function)}
    imported: set[str] = set()
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, _COMPREHENSIONS):
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.alias):
            imported.add((node.asname or node.name).split(".")[0])
        pending.extend(ast.iter_child_nodes(node))
    return {name for name in names - imported - _RECEIVERS if not name.startswith("__")}


def fresh_name(function: ast.FunctionDef, rng: Random, *, taken: set[str] | None = None) -> str:
    """A plain word that the function does not use yet and that hides no built-in name.

    Args:
        function: Function in which the name shall be new.
        rng: Source of randomness.
        taken: Further names to keep clear of.

    Returns:
        The name; a number is added when all words are taken.
    """
    return _free_word(used_names(function) | (taken or set()), rng)


def rename(nodes: Sequence[ast.AST], mapping: dict[str, str]) -> None:
    """Rename variables in place, wherever they stand under the nodes."""
    for root in nodes:
        for node in walk(root):
            if isinstance(node, ast.Name):
                node.id = mapping.get(node.id, node.id)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                node.name = mapping.get(node.name, node.name)


def rename_variables(function: ast.FunctionDef, mapping: dict[str, str]) -> None:
    """Rename parameters and variables in place; defaults and annotations belong to the scope outside and stay."""
    for argument in parameters(function):
        argument.arg = mapping.get(argument.arg, argument.arg)
    rename(function.body, mapping)


def rename_locals(function: ast.FunctionDef, rng: Random) -> bool:
    """Give local variables and parameters other names (callers by keyword aside, nothing changes)."""
    mapping: dict[str, str] = {}
    avoided = used_names(function)
    for name in sorted(local_names(function)):
        mapping[name] = _free_word(avoided, rng)
        avoided.add(mapping[name])
    rename_variables(function, mapping)
    return bool(mapping)


def canonical_source(source: str) -> str:
    """Source text with one name for all functions and local variables numbered in order of use.

    Args:
        source: Source text of one function.

    Returns:
        A text that is equal for functions that differ in such names only.

    Raises:
        ValueError: If the text is not exactly one function.
    """
    function = parse_function(source)
    function.name = "function"
    order: dict[str, str] = {}
    movable = local_names(function)
    for node in walk(function):
        name = node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) else ""
        if name in movable and name not in order:
            order[name] = f"v{len(order)}"
    rename_variables(function, order)
    return ast.unparse(function)


def parse_function(source: str) -> ast.FunctionDef:
    """Read the source text of one function.

    Raises:
        ValueError: If the text is not exactly one function.
    """
    body = ast.parse(source).body
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise ValueError("expected the source of exactly one function")
    return body[0]


def _free_word(avoided: set[str], rng: Random) -> str:
    free = [word for word in _FRESH_WORDS if word not in avoided]
    if free:
        return rng.choice(free)
    number = 1
    while f"value_{number}" in avoided:
        number += 1
    return f"value_{number}"
