"""Metrics are made from kept predictions as they were written."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog.tasks import find_task
from advisor.metrics.class_scores import SCORE_METRICS, measure_scores
from advisor.metrics.measure import statistics_of
from advisor.report.interval_samples import MeanOfSeeds, label_names_of, sample_of, score_statistics
from advisor.trial import Prediction
from tests.report import fixtures

CLONES, COMMENTS, SEARCH = map(find_task, ("clone-detection", "code-comment-classification", "code-search"))


def said(*pairs):
    return tuple(
        Prediction(example_id=str(i), source="", expected=truth, predicted=guess)
        for i, (truth, guess) in enumerate(pairs)
    )


def value(sample):
    return float(sample.on(np.ones((1, sample.n_examples)))[0])


def test_a_mean_of_seeds_is_taken_on_the_same_resamples():
    samples = [statistics_of("accuracy", ["a", "b"], said, label_names=("a", "b")) for said in (["a", "a"], ["a", "b"])]
    mean = MeanOfSeeds(of_seeds=tuple(samples))
    assert mean.n_examples == 2
    assert mean.on(np.array([[1.0, 1], [2, 0], [0, 2]])).tolist() == [0.75, 1.0, 0.5]


def test_the_second_class_of_the_training_split_is_the_positive_one():
    items = said(("no", "no"), ("yes", "no"), ("yes", "yes"), ("no", "yes"), ("no", "yes"))
    assert value(sample_of(CLONES, "precision", (items,), ("no", "yes"))) == pytest.approx(1 / 3)
    assert value(sample_of(CLONES, "precision", (items,), ("yes", "no"))) == pytest.approx(1 / 2)


def test_a_label_that_training_never_saw_is_no_class():
    items = said(("clone", "clone"), ("never trained", "clone"))
    assert label_names_of(CLONES, fixtures.result(), {"best trial": (items,)}) == ("clone", "no clone")
    assert value(sample_of(CLONES, "accuracy", (items,), ("clone", "no clone"))) == 0.5


def test_a_contender_with_several_seeds_has_their_mean():
    seeds = said(("a", "a"), ("b", "b")), said(("a", "b"), ("b", "b"))
    assert value(sample_of(CLONES, "accuracy", seeds, ("a", "b"))) == 0.75


def test_sets_of_labels_and_ranks_are_json_lists():
    sets = said(('["a"]', '["a"]'), ("[]", "[]"), ('["a", "b"]', '["b"]'))
    assert value(sample_of(COMMENTS, "subset-accuracy", (sets,), ("a", "b"))) == pytest.approx(2 / 3)
    assert value(sample_of(COMMENTS, "micro-f1", (sets,), ("a", "b"))) == pytest.approx(2 * 2 / (3 + 2))
    ranks = said(("[1]", "[4]"), ("[1, 2]", "[9, 2]"))
    assert value(sample_of(SEARCH, "mrr", (ranks,), ())) == pytest.approx((1 / 4 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("task", "metric", "text"),
    [(COMMENTS, "micro-f1", "a, b"), (COMMENTS, "micro-f1", "[1]"), (SEARCH, "mrr", "{}"), (SEARCH, "mrr", "3")],
)
def test_what_is_no_such_list_gives_no_sample(task, metric, text):
    assert sample_of(task, metric, (said((text, text)),), ("a", "b")) is None


def test_classes_stand_in_the_order_of_the_training_split_and_others_behind():
    result = fixtures.result()
    facts = replace(result.data["train"], label_counts={"9": 1, "10": 1})
    trained = replace(result, data={**result.data, "train": facts})
    assert label_names_of(CLONES, trained, {"best trial": (said(("10", "9"), ("9", "zzz")),)}) == ("9", "10", "zzz")
    sets = {"best trial": (said(("[]", '["9", "new"]'), ("[]", "oops")),)}
    assert label_names_of(COMMENTS, trained, sets) == ("9", "10", "new")
    assert label_names_of(SEARCH, trained, sets) == ()


def scored(classes, scores, names):
    return [
        Prediction(example_id=str(i), source="", expected=names[number], predicted=names[0], scores=tuple(row))
        for i, (number, row) in enumerate(zip(classes, scores, strict=True))
    ]


def test_a_class_is_among_the_five_of_highest_score():
    names = tuple("abcdefg")
    rows = [[0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1], [0.02, 0.3, 0.2, 0.2, 0.1, 0.1, 0.08]]
    sample = score_statistics("top-5-accuracy", scored([0, 0], rows, names), names)
    assert sample.on(np.ones((1, 2))).tolist() == [0.5]


@pytest.mark.parametrize(
    ("row", "expected"), [(None, "no"), ((0.2, 0.8), "no"), ((0.2,), "never seen")], ids=["none", "too many", "class"]
)
def test_predictions_without_fitting_scores_are_refused(row, expected):
    item = Prediction(example_id="1", source="", expected=expected, predicted="no", scores=row)
    with pytest.raises(ValueError, match="lack scores, or are of other classes"):
        score_statistics("roc-auc", [item], ("no", "yes"))


@pytest.mark.parametrize("metric", SCORE_METRICS)
def test_a_label_without_scores_counts_as_scikit_learn_s_metrics_here_count_it(metric):
    names, rows = ("a", "b", "c"), [[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]]
    expected = ["a", "b", "c", "never trained", "a"]
    items = [
        Prediction(example_id=str(i), source="", expected=label, predicted="a", scores=tuple(row))
        for i, (label, row) in enumerate(zip(expected, rows, strict=True))
    ]
    found = score_statistics(metric, items, names).on(np.ones((1, 5)))[0]
    assert found == pytest.approx(measure_scores([metric], expected, np.array(rows), names)[metric])
