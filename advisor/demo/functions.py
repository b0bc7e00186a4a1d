"""Python functions read from source text, with the first sentence of their docstring.

Functions come back in one plain layout (through `ast.unparse`): comments, docstrings and decorators are gone, so
that two versions of a function differ only in what was written, not in how it was laid out.

Not covered: nested functions, lambdas, generators' `async` forms, `match`, `:=`, `global` and `nonlocal`. Functions
with any of them are passed over, because rewriting them safely needs more than this package does.
"""

import ast
import copy
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from advisor.demo.rewrites.names import canonical_source
from advisor.demo.syntax import walk

MIN_LINES = 4
MAX_LINES = 25
MAX_CHARACTERS = 600
MIN_SUMMARY_WORDS = 3
MAX_SUMMARY_WORDS = 30

_UNSUPPORTED_NODES: frozenset[type[ast.AST]] = frozenset(
    {ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await, ast.ClassDef, ast.FunctionDef, ast.Global}
    | {ast.Lambda, ast.Match, ast.NamedExpr, ast.Nonlocal, ast.TryStar}
)
# These look at local variables by name, so that a renamed variable would be noticed.
_FRAME_READERS = frozenset({"eval", "exec", "globals", "locals", "vars", "dir"})
_SPECIAL_DECORATORS = frozenset({"overload", "typing.overload", "abstractmethod", "abc.abstractmethod"})
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)'\"`])[.!?](?=\s|$)")
_MARKUP_ROLE = re.compile(r":[a-zA-Z:]+:`~?([^`]*)`")
_NOT_PROSE = re.compile(r">>>|::|https?:|@param|:param|:return|\bTODO\b|[{}|\\]|--+|==+|\bArgs:|\bReturns:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of an installed package or of the standard library.

    Attributes:
        name: Name of the function.
        package: Top-level package that it comes from.
        source: Source text without docstring, comments and decorators.
        normalised: The same with all local names numbered: equal for functions that differ in names only.
        summary: First sentence of the docstring on one line; empty when there is none worth keeping.
    """

    name: str
    package: str
    source: str
    normalised: str
    summary: str


def find_functions(
    text: str, *, package: str, max_characters: int = MAX_CHARACTERS, documented: bool = False
) -> Iterator[Function]:
    """Yield the usable functions and methods of one source file, in the order in which they stand.

    Args:
        text: Python source text; text that does not parse yields nothing.
        package: Package name that the functions carry.
        max_characters: Longest function that is kept.
        documented: Keep only functions with a summary.

    Yields:
        Functions of `MIN_LINES` to `MAX_LINES` lines.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in _function_nodes(tree.body):
        n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
        # Cheap tests first: comments and docstrings make a function longer than it will be, but hardly threefold.
        if not MIN_LINES <= n_lines <= 3 * MAX_LINES:
            continue
        summary = summary_sentence(ast.get_docstring(node, clean=True) or "", name=node.name)
        if (documented and not summary) or not is_supported(node):
            continue
        source = plain_source(node)
        if MIN_LINES <= source.count("\n") + 1 <= MAX_LINES and len(source) <= max_characters:
            normalised = canonical_source(source)
            yield Function(name=node.name, package=package, source=source, normalised=normalised, summary=summary)


def plain_source(node: ast.FunctionDef) -> str:
    """Write a function without its docstring and decorators; an empty body becomes `pass`."""
    plain = copy.copy(node)
    plain.decorator_list = []
    if ast.get_docstring(node, clean=False) is not None:
        plain.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(plain)


def is_supported(node: ast.FunctionDef) -> bool:
    """Say whether a function is plain enough to be rewritten safely (see the module's limits)."""
    if any(ast.unparse(decorator) in _SPECIAL_DECORATORS for decorator in node.decorator_list):
        return False
    for child in walk(node):
        if type(child) in _UNSUPPORTED_NODES and child is not node:
            return False
        if isinstance(child, ast.Name) and child.id in _FRAME_READERS:
            return False
    return True


def summary_sentence(docstring: str, *, name: str) -> str:
    """First sentence of a docstring, or an empty text when it does not read like one.

    Args:
        docstring: Docstring with its indentation cleaned.
        name: Name of the function; a sentence that only repeats it is dropped.

    Returns:
        One line of `MIN_SUMMARY_WORDS` to `MAX_SUMMARY_WORDS` words in ASCII, without its closing full stop.
    """
    paragraph = docstring.strip().split("\n\n", 1)[0]
    text = " ".join(_MARKUP_ROLE.sub(r"\1", paragraph).replace("`", "").replace("*", "").split())
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0].strip().rstrip(".:;, ")
    words = sentence.split()
    if not MIN_SUMMARY_WORDS <= len(words) <= MAX_SUMMARY_WORDS or not sentence.isascii():
        return ""
    if _NOT_PROSE.search(sentence) or not words[0][0].isalpha() or "(" in words[0]:
        return ""
    letters = sum(character.isalpha() for character in sentence)
    said = {word.lower() for word in re.findall(r"[A-Za-z]+", sentence)}
    only_name = said <= {word.lower() for word in re.findall(r"[A-Za-z]+", name)}
    return "" if only_name or letters < 0.7 * len(sentence.replace(" ", "")) else sentence


def _function_nodes(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _function_nodes(node.body)
