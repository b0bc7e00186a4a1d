"""CodeBLEU (Ren et al. 2020, arXiv 2009.10297): a quarter each of n-grams, weighted n-grams, syntax and data flow.

Follows CodeXGLUE's code-to-code-trans/evaluator/CodeBLEU through its published package `codebleu` (0.7.0), whose
keywords, comment removal and data-flow extraction are used here; syntax trees come from tree-sitter. Counts are kept
per example, so that resamples of a split need no parser. All parts are summed over the split before they are divided.

What the numbers mean, and where they differ from calls of the package:

- The syntax part is the share of the reference's subtrees that the prediction has anywhere, as in CodeXGLUE's code. The
  paper counts the prediction's subtrees that the reference has, over the number of the reference's.
- The weighted part weighs single tokens only (keywords 1, others 0.2), and its brevity penalty takes every reference
  for two tokens long, so that it hardly ever acts; both as in CodeXGLUE's code.
- Where the references have no data flow at all, nothing is missed and that part counts 1, as in the package (0 with a
  warning in CodeXGLUE). Where they have some and the prediction has none of it, the part is 0: the package's total
  counts 1 there as well, which rewards missing everything.
- In loops and merged branches the package orders the sources of a data flow by the hash of their names, so that its
  data-flow part changes with `PYTHONHASHSEED`. Here they are in the order of their tokens.

Code that does not parse still has a tree (tree-sitter repairs), and code whose data flow cannot be extracted has none.
Not covered: several references; other weights than a quarter.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.catalog.tasks import Metric
from advisor.errors import InputError, UnknownNameError
from advisor.metrics.codexglue import ORDERS, brevity_penalty, ngram_matches, ngrams
from advisor.metrics.optional import library
from advisor.metrics.statistics import Numbers, ratio

# Our name for a language -> the package's
LANGUAGES = {
    "c": "c", "c++": "cpp", "c#": "c_sharp", "go": "go", "java": "java", "javascript": "javascript", "php": "php",
    "python": "python", "ruby": "ruby", "rust": "rust",
}  # fmt: skip
INSTALL = "'peft-advisor[codebleu]'"
_METRIC: Metric = "codebleu"
_OTHER_WEIGHT = 0.2
_EPSILON = 0.1  # counted instead of no match: method 1 of Chen and Cherry 2014, as CodeXGLUE does
_REFERENCE_LENGTH = 2
_COLUMNS = 23
# Name of a variable, its token's number, relationship, names it comes from, their tokens' numbers.
Flow = tuple[str, int, str, list[str], list[int]]


class CodeBleu:
    """Counts for one programming language."""

    def __init__(self, language: str) -> None:
        """Load keywords and parser.

        Raises:
            UnknownNameError: A language that CodeBLEU does not know.
            InputError: No language is given, or a library is missing.
        """
        if not language:
            raise InputError(f"metric {_METRIC}: needs the programming language, one of {', '.join(LANGUAGES)}")
        if language not in LANGUAGES:
            raise UnknownNameError("language of CodeBLEU", language, LANGUAGES)
        name = LANGUAGES[language]
        package = library("codebleu", metric=_METRIC, install=INSTALL)
        library(f"tree_sitter_{name}", metric=_METRIC, install=INSTALL)
        flows = library("codebleu.dataflow_match", metric=_METRIC, install=INSTALL)
        tree_sitter = library("tree_sitter", metric=_METRIC, install=INSTALL)
        grammar = library("codebleu.utils", metric=_METRIC, install=INSTALL).get_tree_sitter_language
        words = Path(str(package.__file__)).with_name("keywords") / f"{name}.txt"
        self._keywords = frozenset(line.strip() for line in words.read_text(encoding="utf-8").splitlines())
        self._language = name
        self._parser = tree_sitter.Parser()
        self._parser.language = grammar(name)
        self._flows_of: Callable[..., tuple[list[Flow], object]] = flows.dfg_function[name]
        self._code_tools = flows

    def rows(self, expected: Sequence[str], predicted: Sequence[str]) -> Numbers:
        """Return what each example adds, shape (examples, 23).

        Columns: matches and n-grams of orders 1 to 4; lengths of reference and prediction; weighted matches and
        n-grams of orders 1 to 4; subtrees found and subtrees; data flows found and data flows; 1.
        """
        rows = [self._row(truth.strip(), guess.strip()) for truth, guess in zip(expected, predicted, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(-1, _COLUMNS)

    def _row(self, truth: str, guess: str) -> list[float]:
        wanted, made = truth.split(), guess.split()
        counted = ngram_matches(wanted, made)
        matches, possible = [each[1] for each in counted], [max(1, each[2]) for each in counted]
        weighted, weighted_possible = self._weighted(wanted, made)
        bare_truth, bare_guess = self._without_comments(truth), self._without_comments(guess)
        return [
            *matches, *possible, len(wanted), len(made), *weighted, *weighted_possible,
            *self._syntax(bare_truth, bare_guess), *self._data_flow(bare_truth, bare_guess), 1,
        ]  # fmt: skip

    def _weighted(self, wanted: Sequence[str], made: Sequence[str]) -> tuple[list[float], list[float]]:
        matches, possible = [], []
        for order in ORDERS:
            truth = ngrams(wanted, order)
            found = truth & ngrams(made, order)
            matches.append(self._weight(found, order))
            possible.append(max(1, self._weight(truth, order)))
        return matches, possible

    def _weight(self, counted: Counter[tuple[str, ...]], order: int) -> float:
        if order > 1:
            return counted.total()
        return sum(count * (1 if token in self._keywords else _OTHER_WEIGHT) for (token,), count in counted.items())

    def _without_comments(self, code: str) -> str:
        try:
            return str(self._code_tools.remove_comments_and_docstrings(code, self._language))
        except Exception:  # Python's tokenizer stops at code that is not Python: it stays as it is
            return code

    def _syntax(self, truth: str, guess: str) -> tuple[int, int]:
        wanted, made = self._subtrees(truth), set(self._subtrees(guess))
        return sum(subtree in made for subtree in wanted), len(wanted)

    def _subtrees(self, code: str) -> list[str]:
        """Return the root and every inner node below it as text: types of nodes without their tokens."""
        root = self._parser.parse(code.encode("utf-8", "replace")).root_node
        return [str(root), *(str(node) for node in _inner_nodes(root))]

    def _data_flow(self, truth: str, guess: str) -> tuple[int, int]:
        wanted, made = self._flows(truth), Counter(self._flows(guess))
        return (Counter(wanted) & made).total(), len(wanted)

    def _flows(self, code: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return the data flows with variables numbered in the order in which they come up."""
        try:
            names, flows = self._extracted(code)
        except Exception:  # broken code, or nested more deeply than Python can recurse: no data flow
            return []
        numbers: dict[str, str] = {}
        found = []
        for name, _, relationship, sources, tokens in _merged(flows, names):
            of_sources = [numbers.setdefault(each, f"v{len(numbers)}") for each in _in_order(sources, tokens, names)]
            found.append((numbers.setdefault(name, f"v{len(numbers)}"), relationship, tuple(of_sources)))
        return found

    def _extracted(self, code: str) -> tuple[list[str], list[Flow]]:
        """Return the text of every token, and the data flows that connect to another."""
        root = self._parser.parse(code.encode("utf-8", "replace")).root_node
        places = self._code_tools.tree_to_token_index(root)
        lines = code.split("\n")
        names = [str(self._code_tools.index_to_code_token(place, lines)) for place in places]
        index = {place: (number, name) for number, (place, name) in enumerate(zip(places, names, strict=True))}
        flows, _ = self._flows_of(root, index, {})
        flows = sorted(flows, key=lambda flow: flow[1])
        connected = {number for flow in flows for number in ([flow[1]] if flow[4] else []) + flow[4]}
        return names, [flow for flow in flows if flow[1] in connected]


def codebleu_score(sums: Numbers) -> Numbers:
    """Return CodeBLEU of summed rows, shape (resamples,); 0 to 1."""
    parts = codebleu_parts(sums)
    return np.asarray(sum(parts.values()) / len(parts))


def codebleu_parts(sums: Numbers) -> dict[str, Numbers]:
    """Return the four parts of summed rows, each of shape (resamples,); 0 to 1."""
    found, in_all = sums[:, 20], sums[:, 21]
    return {
        "ngram": _bleu(sums[:, :4], sums[:, 4:8], sums[:, 8], sums[:, 9]),
        "weighted-ngram": _bleu(sums[:, 10:14], sums[:, 14:18], sums[:, 22] * _REFERENCE_LENGTH, sums[:, 9]),
        "syntax": ratio(sums[:, 18], sums[:, 19]),
        "data-flow": np.where(in_all > 0, ratio(found, in_all), 1.0),
    }


def _bleu(matches: Numbers, possible: Numbers, reference_length: Numbers, candidate_length: Numbers) -> Numbers:
    precision = np.where(matches > 0, matches, _EPSILON) / np.maximum(possible, 1e-300)
    bleu = np.exp(np.log(precision).mean(axis=1)) * brevity_penalty(reference_length, candidate_length)
    return np.where(matches[:, 0] > 0, bleu, 0.0)


def _inner_nodes(root: Any) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        for child in waiting.pop().children:
            if child.children:
                waiting.append(child)
                yield child


def _merged(flows: Sequence[Flow], names: Sequence[str]) -> list[Flow]:
    """Put flows into the same token together."""
    merged: dict[int, Flow] = {}
    for flow in flows:
        if flow[1] in merged:
            name, number, relationship, sources, tokens = merged[flow[1]]
            together = sorted({*tokens, *flow[4]})
            merged[number] = (name, number, relationship, list({*sources, *flow[3]}), together)
        else:
            merged[flow[1]] = flow
    return list(merged.values())


def _in_order(sources: list[str], tokens: list[int], names: Sequence[str]) -> list[str]:
    """Return the names that a flow comes from: as they came, or by their tokens if they went through a set."""
    of_tokens = [names[number] for number in tokens]
    return sources if sources == of_tokens else list(dict.fromkeys(of_tokens))
