"""One way in for labels and texts, and one way from examples to the metric."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog.tasks import Metric
from advisor.metrics.measure import measure, per_example, statistics_of
from advisor.metrics.registry import METRICS
from advisor.metrics.texts import BATCH_SIZE
from tests.training.toy import TEXTS


def test_labels_and_texts_are_measured_in_the_order_asked_for() -> None:
    found = measure(("mcc", "f1"), ["1", "0", "1"], ["1", "0", "0"], label_names=("0", "1"))
    assert list(found) == ["mcc", "f1"]
    assert found["f1"] == pytest.approx(2 / 3)
    assert measure(("exact-match", "bleu"), ["a b c d"], ["a b c d "]) == pytest.approx({"exact-match": 1, "bleu": 100})


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=10),
    metric=st.sampled_from(["bleu", "chrf", "rouge-l", "exact-match", "codexglue-bleu", "codexglue-corpus-bleu"]),
)
def test_statistics_of_texts_give_the_metric(pairs: list[tuple[str, str]], metric: Metric) -> None:
    expected, predicted = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    found = statistics_of(metric, expected, predicted)
    assert found.on(np.ones((1, len(pairs))))[0] == pytest.approx(measure((metric,), expected, predicted)[metric])


@pytest.mark.parametrize(
    ("metric", "values"),
    [("accuracy", [1, 0]), ("exact-match", [1, 0]), ("rouge-l", [1, 0.5]), ("edit-similarity", [100, 67])],
)
def test_a_mean_over_examples_has_a_value_for_each(metric: Metric, values: list[float]) -> None:
    assert METRICS[metric].mean_over_examples
    assert per_example(metric, ["a b", "c d"], ["a b", "c e"]) == pytest.approx(values)


def test_other_metrics_have_none() -> None:
    with pytest.raises(ValueError, match="bleu is not a mean over examples"):
        per_example("bleu", ["a"], ["a"])
    with pytest.raises(ValueError, match="mrr"):
        measure(("mrr",), ["a"], ["a"])


def test_progress_counts_examples_over_all_metrics() -> None:
    texts = ["return the value"] * (BATCH_SIZE + 1)
    seen: list[tuple[int, int]] = []
    measure(("rouge-l", "bleu"), texts, texts, progress=lambda done, in_all: seen.append((done, in_all)))
    n = BATCH_SIZE + 1
    assert seen == [(BATCH_SIZE, 2 * n), (n, 2 * n), (n + BATCH_SIZE, 2 * n), (2 * n, 2 * n)]
