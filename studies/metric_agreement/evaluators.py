"""CodeXGLUE's evaluators, run as they stand in a checkout that lies outside this repository.

Their functions are called with texts instead of files; where they round a result for print, the rounding is taken out
by giving the module a `round` of its own.
"""

import ast
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.metric_agreement.inputs import Pair

SENTENCE_BLEU = "Code-Text/code-to-text/evaluator/evaluator.py"
CORPUS_BLEU = "Text-Code/text-to-code/evaluator/bleu.py"
MRR = "Text-Code/NL-code-search-Adv/evaluator/evaluator.py"
PRECISION_AT_R = "Code-Code/Clone-detection-POJ-104/evaluator/evaluator.py"
MAP_AT_R = "Code-Code/Clone-detection-POJ-104/code/run.py"
EDIT_SIMILARITY = "Code-Code/CodeCompletion-line/evaluator/evaluator.py"


class Evaluators:
    """The evaluators of one checkout."""

    def __init__(self, checkout: Path) -> None:
        """Take the folder; files are loaded when they are asked for."""
        self._checkout = checkout

    def sentence_bleu(self, pairs: Sequence[Pair]) -> float:
        """Return what the evaluator of code-to-text prints, unrounded."""
        module = self._load(SENTENCE_BLEU)
        texts = [(self._line(module, pair.reference), self._line(module, pair.predicted)) for pair in pairs]
        gold = {str(number): [reference] for number, (reference, _) in enumerate(texts)}
        guess = {str(number): [predicted] for number, (_, predicted) in enumerate(texts)}
        return float(module.bleuFromMaps(gold, guess)[0])

    def corpus_bleu(self, pairs: Sequence[Pair]) -> float:
        """Return what `_bleu` of text-to-code gives, unrounded."""
        references = [[pair.reference.strip().split()] for pair in pairs]
        predictions = [pair.predicted.strip().split() for pair in pairs]
        return 100 * float(self._load(CORPUS_BLEU).compute_bleu(references, predictions, 4, True)[0])

    def edit_similarity(self, pairs: Sequence[Pair]) -> float:
        """Return what the evaluator of line completion logs, unrounded."""
        module = self._load(EDIT_SIMILARITY)
        values = [
            module.fuzz.ratio(module.post_process(pair.predicted.strip()), module.post_process(pair.reference))
            for pair in pairs
        ]
        return float(np.mean(values))

    def mrr(self, answers: Sequence[int], returned: Sequence[Sequence[int]]) -> float:
        """Return the mean reciprocal rank of the evaluator of code search."""
        module = self._load(MRR)
        return float(module.calculate_scores(dict(enumerate(answers)), dict(enumerate(returned)))["MRR"])

    def precision_at_r(self, relevant: Sequence[Sequence[int]], returned: Sequence[Sequence[int]]) -> float:
        """Return the `MAP` of the evaluator of POJ-104."""
        module = self._load(PRECISION_AT_R)
        first = [items[: len(wanted)] for items, wanted in zip(returned, relevant, strict=True)]
        return float(module.calculate_scores(dict(enumerate(relevant)), dict(enumerate(first)))["MAP"])

    def map_at_r(self, vectors: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
        """Return the `eval_map` of POJ-104: the lines of `evaluate` from the products of vectors to the mean."""
        tree = ast.parse((self._checkout / MAP_AT_R).read_text(encoding="utf-8"))
        (evaluate,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "evaluate"]
        starts = [ast.unparse(line) for line in evaluate.body]
        first = next(number for number, line in enumerate(starts) if line.startswith("scores = np.matmul("))
        last = next(number for number, line in enumerate(starts) if line.startswith("result ="))
        names: dict[str, Any] = {"np": np, "vecs": vectors, "labels": labels}
        exec(compile(ast.Module(evaluate.body[first:last], []), MAP_AT_R, "exec"), names)
        return float(np.mean(names["MAP"]))

    @staticmethod
    def _line(module: ModuleType, text: str) -> str:
        return str(module.splitPuncts(" ".join(text.split()).lower()))

    def _load(self, path: str) -> ModuleType:
        name = "codexglue_" + path.removesuffix(".py").replace("/", "_").replace("-", "_")
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, self._checkout / path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            module.round = lambda value, _: value  # type: ignore[attr-defined]
            spec.loader.exec_module(module)
            sys.modules[name] = module
        return sys.modules[name]
