"""The two BLEU scores of CodeXGLUE, 0 to 100, which are neither each other nor sacrebleu's.

- Sentences ("codexglue-bleu", code-to-text/evaluator/evaluator.py; other papers call it smoothed BLEU-4 or B-Norm):
  mean over sentences of BLEU-4. Lower case, punctuation split off; add-one smoothing of 2- to 4-grams; brevity
  penalty `exp(min(0, 1 - (r + 1) / (c + 1)))` of reference length r and candidate length c. An empty candidate has no
  wrong n-gram and gets `100 * exp(-r)`: 37 beside a reference of one word, nothing beside a long one.
- Corpus ("codexglue-corpus-bleu", bleu.py of text-to-code, code-to-code-trans, code-refinement and text-to-text):
  counts are summed over the split. Split at white space, letter case kept; add-one smoothing of 1- to 4-grams;
  brevity penalty `exp(1 - r / c)` where c <= r. Its evaluators print it rounded to two decimals.

Smoothing: Lin and Och 2004, "ORANGE: a method for evaluating automatic evaluation metrics for machine translation"
(https://aclanthology.org/C04-1072/). One reference per example. A split without a single predicted token scores 0 here;
the corpus evaluator of CodeXGLUE stops with a division by zero.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from advisor.metrics.statistics import Numbers

ORDERS = (1, 2, 3, 4)
# Words, and every other character alone; the underscore splits words and counts as punctuation.
_TOKEN = re.compile(r"_|[^\W_]+|[^\w\s]")


def sentence_bleu(reference: str, candidate: str) -> float:
    """Return the smoothed BLEU-4 of one sentence, 0 to 100."""
    truth, guess = (_TOKEN.findall(text.lower()) for text in (reference, candidate))
    log_bleu = 0.0
    for order, matches, possible in ngram_matches(truth, guess):
        added = 1 if order > 1 else 0
        # The smallest number keeps the logarithm of nothing finite; its fourth root is nothing too.
        log_bleu += math.log(matches + added + sys.float_info.min) - math.log(possible + added + sys.float_info.min)
    brevity = min(0.0, 1 - (len(truth) + 1) / (len(guess) + 1))
    return 100 * math.exp(log_bleu / len(ORDERS) + brevity)


def corpus_bleu_rows(expected: Sequence[str], predicted: Sequence[str]) -> Numbers:
    """Return the matches of orders 1 to 4, the possible ones, and both lengths; shape (examples, 10)."""
    return np.array(
        [_corpus_row(truth.split(), guess.split()) for truth, guess in zip(expected, predicted, strict=True)],
        dtype=np.float64,
    ).reshape(-1, 2 * len(ORDERS) + 2)


def corpus_bleu_score(sums: Numbers) -> Numbers:
    """Return the smoothed corpus BLEU of summed rows."""
    matches, possible, lengths = sums[:, :4], sums[:, 4:8], sums[:, 8:]
    precision = np.exp(np.log((matches + 1) / (possible + 1)).mean(axis=1))
    return np.asarray(100 * precision * brevity_penalty(lengths[:, 0], lengths[:, 1]))


def brevity_penalty(reference_length: Numbers, candidate_length: Numbers) -> Numbers:
    """Return `exp(1 - r / c)` where candidates are not longer than references, else 1; 0 where there is no candidate.

    Args:
        reference_length: In tokens, summed over the split; shape (resamples,).
        candidate_length: Likewise.
    """
    some = candidate_length > 0
    excess = np.divide(reference_length, candidate_length, out=np.ones_like(reference_length), where=some)
    penalty = np.where(excess < 1, 1.0, np.exp(1 - excess))
    return np.where(some | (reference_length == 0), penalty, 0.0)


def ngram_matches(truth: Sequence[str], guess: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return order, matches (each n-gram of the reference counts once) and n-grams of the candidate, per order."""
    found = []
    for order in ORDERS:
        mine = ngrams(guess, order)
        found.append((order, (mine & ngrams(truth, order)).total(), mine.total()))
    return found


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of one order."""
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _corpus_row(truth: Sequence[str], guess: Sequence[str]) -> list[int]:
    counted = ngram_matches(truth, guess)
    matches, possible = [each[1] for each in counted], [each[2] for each in counted]
    return [*matches, *possible, len(truth), len(guess)]
