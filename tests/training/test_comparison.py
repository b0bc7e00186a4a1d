"""The paired bootstrap: its formulas agree with the metrics, its intervals with resampling by hand."""

import random
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog.tasks import Metric
from advisor.errors import DataError
from advisor.training.comparison import _statistics, paired_difference
from advisor.training.metrics import measure
from advisor.training.predictions import write_predictions
from tests.training.toy import CLONES, LABELS, SUMMARIES, TEXTS, WORDS, examples, predictions


@settings(max_examples=80, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30),
    n_labels=st.sampled_from([2, 3]),
    metric=st.sampled_from(["f1", "mcc", "accuracy"]),
)
def test_statistics_of_classes_give_the_metric(pairs: list[tuple[str, str]], n_labels: int, metric: Metric) -> None:
    labels = LABELS[:n_labels]
    expected = [truth if truth in labels else "0" for truth, _ in pairs]
    predicted = [guess if guess in labels else "0" for _, guess in pairs]
    statistics, score = _statistics(metric, predictions(expected, predicted), labels)
    (found,) = score(statistics.sum(axis=0, keepdims=True))
    assert found == pytest.approx(measure((metric,), expected, predicted, label_names=labels)[metric], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=10),
    metric=st.sampled_from(["bleu", "chrf", "rouge-l", "exact-match"]),
)
def test_statistics_of_texts_give_the_metric(pairs: list[tuple[str, str]], metric: Metric) -> None:
    expected, predicted = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    statistics, score = _statistics(metric, predictions(expected, predicted), ())
    (found,) = score(statistics.sum(axis=0, keepdims=True))
    assert found == pytest.approx(measure((metric,), expected, predicted)[metric], abs=1e-9)


def write(path: Path, expected: list[str], predicted: list[str]) -> Path:
    write_predictions(predictions(expected, predicted), path)
    return path


def test_a_clear_difference_has_an_interval_above_zero(tmp_path: Path) -> None:
    rng = random.Random(0)
    expected = [rng.choice("01") for _ in range(300)]
    good = [truth if rng.random() < 0.9 else "0" for truth in expected]
    poor = [truth if rng.random() < 0.6 else "0" for truth in expected]
    best, other = write(tmp_path / "best.jsonl", expected, good), write(tmp_path / "other.jsonl", expected, poor)
    found = paired_difference(CLONES, best, other, against="majority class", seed=1, label_names=("0", "1"))
    names = ("0", "1")
    value = measure(("f1",), expected, good, label_names=names)["f1"]
    value -= measure(("f1",), expected, poor, label_names=names)["f1"]
    assert found.value == pytest.approx(value)
    assert 0 < found.low < found.value < found.high
    assert (found.against, found.metric, found.n_resamples) == ("majority class", "f1", 1000)
    assert found == paired_difference(CLONES, best, other, against="majority class", seed=1)


def test_the_same_predictions_differ_by_nothing(tmp_path: Path) -> None:
    expected = [example.target for example in examples(SUMMARIES, 30)]
    file = write(tmp_path / "one.jsonl", expected, [text[:-3] for text in expected])
    found = paired_difference(SUMMARIES, file, file, against="itself", seed=0, n_resamples=100)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_is_that_of_sacrebleus_own_resampling_of_sentences(tmp_path: Path) -> None:
    rng = random.Random(0)
    expected = [f"return the {rng.choice(WORDS)} of {rng.choice(WORDS)} in a list" for _ in range(60)]
    good = [text.replace("of", "for") if rng.random() < 0.3 else text for text in expected]
    poor = [text.replace("the", "x") if rng.random() < 0.7 else text for text in expected]
    best, other = write(tmp_path / "best.jsonl", expected, good), write(tmp_path / "other.jsonl", expected, poor)
    found = paired_difference(SUMMARIES, best, other, against="o", seed=3, n_resamples=300)
    resampled = []
    draw = random.Random(1)
    for _ in range(300):
        rows = [draw.randrange(60) for _ in range(60)]
        picked = [[texts[row] for row in rows] for texts in (expected, good, poor)]
        scores = [sacrebleu.corpus_bleu(texts, [picked[0]], force=True).score for texts in picked[1:]]
        resampled.append(scores[0] - scores[1])
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=2.0)
    assert found.high == pytest.approx(high, abs=2.0)


def test_predictions_for_other_examples_are_refused(tmp_path: Path) -> None:
    best, other = write(tmp_path / "a.jsonl", ["1", "0"], ["1", "1"]), write(tmp_path / "b.jsonl", ["1"], ["1"])
    with pytest.raises(DataError, match="not predictions for the same examples"):
        paired_difference(CLONES, best, other, against="o", seed=0)
    with pytest.raises(DataError, match="cannot be read"):
        paired_difference(CLONES, best, tmp_path / "none.jsonl", against="o", seed=0)
