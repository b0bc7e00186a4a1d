"""Areas of many resamples at once are those that scikit-learn gives for each."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from advisor.metrics.areas import Areas

LIBRARY = {"roc-auc": roc_auc_score, "pr-auc": average_precision_score}
RNG = np.random.default_rng(4)
COUNTS = RNG.multinomial(60, np.full(60, 1 / 60), size=40).astype(float)


@pytest.mark.parametrize("metric", ["roc-auc", "pr-auc"])
@pytest.mark.parametrize("decimals", [1, 9])
def test_two_classes_give_what_scikit_learn_gives_with_weights_ties_too(metric, decimals):
    classes = RNG.integers(0, 2, 60)
    scores = np.round(RNG.random((60, 1)) * 0.7 + 0.3 * classes[:, None], decimals)
    found = Areas(metric=metric, classes=classes, scores=scores).on(COUNTS)
    truth = [LIBRARY[metric](classes == 1, scores[:, 0], sample_weight=weights) for weights in COUNTS]
    assert found == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("metric", ["roc-auc", "pr-auc"])
def test_several_classes_give_the_mean_of_those_that_occur(metric):
    classes, scores = np.append(RNG.integers(0, 2, 58), [2, 2]), RNG.random((60, 3))
    found = Areas(metric=metric, classes=classes, scores=scores).on(COUNTS)
    for weights, value in zip(COUNTS, found, strict=True):
        occurring = [number for number in range(3) if (weights[classes == number] > 0).any()]
        one_by_one = [
            LIBRARY[metric](classes == number, scores[:, number], sample_weight=weights) for number in occurring
        ]
        assert value == pytest.approx(np.mean(one_by_one), abs=1e-12)


def test_resamples_of_one_class_have_no_area():
    areas = Areas(metric="roc-auc", classes=np.array([0, 1, 1]), scores=np.array([[0.1], [0.4], [0.2]]))
    found = areas.on(np.array([[3.0, 0, 0], [0, 2, 1], [1, 1, 1]]))
    assert [math.isnan(value) for value in found] == [True, True, False]
    assert found[2] == 1.0
