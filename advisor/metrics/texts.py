"""Metrics of a generated text beside one reference, each as statistics of its examples.

- exact-match: share of equal texts, white space around them ignored. 0 to 1.
- bleu: corpus BLEU of sacrebleu, tokenizer 13a, exponential smoothing, as sacrebleu does by default. Where no predicted
  text has four words it is 0, however good they are. 0 to 100.
- codexglue-bleu, codexglue-corpus-bleu: see `codexglue`. 0 to 100.
- rouge-l: mean sentence ROUGE-L F-measure of rouge-score, no stemming. 0 to 1.
- meteor: mean METEOR of nltk (alpha 0.9, beta 3, gamma 0.5; Treebank tokens) whose words match exactly or by Porter's
  stem, never by WordNet's synonyms: those need a download, and a metric must not depend on one being there. It is at
  most what nltk gives with WordNet. 0 to 1, and a perfect text of m words has 1 - 0.5 / m**3.
- chrf: corpus chrF2 of sacrebleu. 0 to 100.
- edit-similarity: mean of the whole percentage `100 * (1 - d / (m + n))`, where d counts inserted and deleted
  characters and m and n are the lengths; with the literals of CodeXGLUE's completion data (`<STR_LIT:...>`) written
  out. This is the ratio of fuzzywuzzy on Levenshtein's library, which CodeXGLUE's evaluator for completion asks;
  without that library fuzzywuzzy falls back to Python's difflib, whose ratio is another. 0 to 100.
- codebleu: see `codebleu`. 0 to 1.

The BLEU of sacrebleu and of CodeXGLUE cannot be compared: they split words and smooth differently. Not covered:
several references for one example.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Metric as SacreMetric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from advisor.catalog.tasks import Metric
from advisor.metrics.codebleu import CodeBleu, codebleu_score
from advisor.metrics.codexglue import corpus_bleu_rows, corpus_bleu_score, sentence_bleu
from advisor.metrics.optional import library
from advisor.metrics.statistics import ExampleStatistics, Numbers, Progress, Score, mean_score

TEXT_METRICS: tuple[Metric, ...] = (
    "exact-match", "bleu", "codexglue-bleu", "codexglue-corpus-bleu", "rouge-l", "meteor", "chrf", "edit-similarity",
    "codebleu",
)  # fmt: skip
BATCH_SIZE = 256
# What some examples add to a metric, from their references and predictions; shape (examples, statistics).
_Rows = Callable[[Sequence[str], Sequence[str]], Numbers]


def text_statistics(
    metric: Metric,
    expected: Sequence[str],
    predicted: Sequence[str],
    *,
    language: str = "",
    progress: Progress | None = None,
) -> ExampleStatistics:
    """Return the statistics whose sums give the metric.

    Args:
        metric: Of `TEXT_METRICS`.
        expected: Reference texts.
        predicted: Generated texts, as many.
        language: Programming language of the texts; only "codebleu" asks for it.
        progress: Called after each batch of examples with the number done and of all.

    Raises:
        InputError: A library that the metric needs is not installed, or "codebleu" is not told the language.
        ValueError: The metric is not computed from texts, or there are no or not as many predictions.
    """
    if len(expected) != len(predicted) or not expected:
        raise ValueError(f"{len(predicted)} predictions for {len(expected)} examples")
    rows_of, score = _made_for(metric, language)
    parts = []
    for start in range(0, len(expected), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        parts.append(rows_of(expected[batch], predicted[batch]))
        if progress:
            progress(min(start + BATCH_SIZE, len(expected)), len(expected))
    return ExampleStatistics(rows=np.concatenate(parts), score=score)


def _made_for(metric: Metric, language: str) -> tuple[_Rows, Score]:
    """Return what makes the statistics of a metric, and what makes the metric of their sums."""
    if metric == "codebleu":
        return CodeBleu(language).rows, codebleu_score
    if metric == "codexglue-corpus-bleu":
        return corpus_bleu_rows, corpus_bleu_score
    if metric == "bleu":
        # Code may well end in " .", which sacrebleu would otherwise take for tokenized text and warn about.
        return _of_sacrebleu(BLEU(tokenize="13a", smooth_method="exp", force=True))
    if metric == "chrf":
        return _of_sacrebleu(CHRF())
    if metric not in _PAIRS:
        raise ValueError(f"{metric} is not computed from pairs of texts")
    value = _PAIRS[metric]()
    return lambda expected, predicted: _mean_rows(value, expected, predicted), mean_score


def _of_sacrebleu(scorer: SacreMetric) -> tuple[_Rows, Score]:
    def rows(expected: Sequence[str], predicted: Sequence[str]) -> Numbers:
        return np.array(scorer._extract_corpus_statistics(list(predicted), [list(expected)]), dtype=np.float64)

    def score(sums: Numbers) -> Numbers:
        return np.array([scorer._compute_score_from_stats([round(count) for count in row]).score for row in sums])

    return rows, score


def _mean_rows(value: Callable[[str, str], float], expected: Sequence[str], predicted: Sequence[str]) -> Numbers:
    return np.array([(value(truth, guess), 1.0) for truth, guess in zip(expected, predicted, strict=True)])


def _exact_match() -> Callable[[str, str], float]:
    return lambda truth, guess: float(truth.strip() == guess.strip())


def _rouge_l() -> Callable[[str, str], float]:
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return lambda truth, guess: float(scorer.score(truth, guess)["rougeL"].fmeasure)


def _meteor() -> Callable[[str, str], float]:
    score = library("nltk.translate.meteor_score", metric="meteor", install="nltk").single_meteor_score
    # Of a whole text at once: to split it into sentences first would need another download.
    split = library("nltk.tokenize", metric="meteor", install="nltk").NLTKWordTokenizer().tokenize
    return lambda truth, guess: float(score(split(truth), split(guess), wordnet=_NoSynonyms()))


class _NoSynonyms:
    """Stands for WordNet where nltk looks words up."""

    def synsets(self, word: str) -> list[object]:
        return []


def _edit_similarity() -> Callable[[str, str], float]:
    ratio = library("rapidfuzz.fuzz", metric="edit-similarity", install="rapidfuzz").ratio

    def similarity(truth: str, guess: str) -> float:
        truth, guess = literals_written_out(truth.strip()), literals_written_out(guess.strip())
        if truth == guess:
            return 100.0
        return float(round(ratio(truth, guess))) if truth and guess else 0.0

    return similarity


def literals_written_out(code: str) -> str:
    """Return code of CodeXGLUE's completion data with its placeholders of literals replaced by what they stand for."""
    code = code.replace("<NUM_LIT>", "0").replace("<STR_LIT>", "").replace("<CHAR_LIT>", "")
    return re.sub(r"<(?:STR|NUM|CHAR)_LIT:(.*?)>", r"\1", code, flags=re.DOTALL)


_PAIRS: dict[str, Callable[[], Callable[[str, str], float]]] = {
    "exact-match": _exact_match,
    "codexglue-bleu": lambda: sentence_bleu,
    "rouge-l": _rouge_l,
    "meteor": _meteor,
    "edit-similarity": _edit_similarity,
}
