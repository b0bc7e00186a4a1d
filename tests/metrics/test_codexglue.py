"""CodeXGLUE's BLEU scores by hand; agreement with its evaluators is `tests/studies/test_metric_agreement.py`."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.metrics.codexglue import brevity_penalty, corpus_bleu_rows, corpus_bleu_score, sentence_bleu
from tests.training.toy import TEXTS

PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=10)


def corpus_bleu(expected: list[str], predicted: list[str]) -> float:
    return float(corpus_bleu_score(corpus_bleu_rows(expected, predicted).sum(axis=0, keepdims=True))[0])


def test_a_sentence_is_scored_by_hand() -> None:
    # Tokens: return the sum . / return the sum of . - matches 4, 2, 1, 0 of 4, 3, 2, 1; one is added from 2-grams on.
    precisions = [4 / 4, 3 / 4, 2 / 3, 1 / 2]
    wanted = 100 * math.prod(precisions) ** 0.25 * math.exp(1 - 6 / 5)
    assert sentence_bleu("Return the sum of.", "return The sum.") == pytest.approx(wanted)


def test_a_corpus_is_scored_by_hand() -> None:
    # Unigrams 3 + 1 of 3 + 2, bigrams 2 + 0 of 2 + 1, 3-grams 1 of 1, 4-grams 0 of 0; lengths 5 and 4 + 2.
    precisions = [5 / 6, 3 / 4, 2 / 2, 1 / 1]
    wanted = 100 * math.prod(precisions) ** 0.25 * math.exp(1 - 6 / 5)
    assert corpus_bleu(["x = a ;", "y ;"], ["x = a", "z ;"]) == pytest.approx(wanted)


def test_underscores_and_punctuation_split_the_words_of_a_sentence() -> None:
    assert sentence_bleu("get my_value(x)", "get my _ value ( x )") == pytest.approx(100)
    assert sentence_bleu("HTTP", "http") == pytest.approx(100)
    assert corpus_bleu(["HTTP"], ["http"]) < 100


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS, order=st.randoms(use_true_random=False))
def test_values_keep_their_bounds_and_do_not_depend_on_order(pairs: list[tuple[str, str]], order) -> None:
    expected, predicted = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    found = corpus_bleu(expected, predicted)
    assert 0 <= found <= 100 + 1e-9
    shuffled = order.sample(pairs, len(pairs))
    assert corpus_bleu([truth for truth, _ in shuffled], [guess for _, guess in shuffled]) == pytest.approx(found)
    assert corpus_bleu(expected, expected) == pytest.approx(100)
    for truth, guess in pairs:
        assert 0 <= sentence_bleu(truth, guess) <= 100 + 1e-9
        assert sentence_bleu(truth, truth) == pytest.approx(100)


def test_nothing_predicted_scores_nothing_and_nothing_expected_is_no_error() -> None:
    assert corpus_bleu(["return x", "y"], ["", ""]) == 0
    assert corpus_bleu([""], [""]) == pytest.approx(100)
    assert corpus_bleu([""], ["x"]) < 100
    # An empty sentence has no wrong n-gram: only the brevity penalty acts, so CodeXGLUE's evaluator gives it 13.5 here.
    assert sentence_bleu("return x", "") == pytest.approx(100 * math.exp(1 - 3 / 1))
    assert corpus_bleu_rows([], []).shape == (0, 10)


def test_the_brevity_penalty_acts_on_short_candidates_only() -> None:
    found = brevity_penalty(np.array([10.0, 10.0, 10.0, 10.0, 0.0]), np.array([20.0, 10.0, 5.0, 0.0, 0.0]))
    assert found.tolist() == pytest.approx([1, 1, math.exp(-1), 0, 1])
