"""Metrics agree with the libraries they are named after."""

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from advisor.training.metrics import measure
from tests.training.toy import LABELS, TEXTS


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from(LABELS[:2]), st.sampled_from(LABELS[:2])), min_size=1))
def test_two_classes_agree_with_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    expected, predicted = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    found = measure(("f1", "accuracy", "mcc"), expected, predicted, label_names=("0", "1"))
    assert found["f1"] == f1_score(expected, predicted, pos_label="1", zero_division=0)
    assert found["accuracy"] == pytest.approx(accuracy_score(expected, predicted))
    if len({*expected, *predicted}) > 1:
        assert found["mcc"] == matthews_corrcoef(expected, predicted)
    else:
        assert found["mcc"] == 0


def test_the_second_label_is_the_positive_one() -> None:
    found = measure(("f1",), ["clean", "clean", "vulnerable"], ["clean"] * 3, label_names=("clean", "vulnerable"))
    assert found == {"f1": 0.0}


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1))
def test_more_classes_take_the_macro_average(pairs: list[tuple[str, str]]) -> None:
    expected, predicted = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    found = measure(("f1", "mcc"), expected, predicted, label_names=LABELS)
    assert found["f1"] == f1_score(expected, predicted, average="macro", zero_division=0)


@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=10))
def test_texts_agree_with_sacrebleu_and_rouge_score(pairs: list[tuple[str, str]]) -> None:
    expected, predicted = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    found = measure(("bleu", "chrf", "rouge-l", "exact-match"), expected, predicted)
    assert found["bleu"] == sacrebleu.corpus_bleu(predicted, [expected], force=True).score
    assert found["chrf"] == sacrebleu.corpus_chrf(predicted, [expected]).score
    rouge = RougeScorer(["rougeL"])
    scores = [rouge.score(truth, guess)["rougeL"].fmeasure for truth, guess in pairs]
    assert found["rouge-l"] == pytest.approx(np.mean(scores))
    assert found["exact-match"] == pytest.approx(np.mean([a.strip() == b.strip() for a, b in pairs]))


def test_a_metric_of_rankings_is_refused() -> None:
    with pytest.raises(ValueError, match="mrr"):
        measure(("mrr",), ["a"], ["a"])
