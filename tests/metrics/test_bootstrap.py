"""Intervals of one system: known from theory, from scipy, and from resampling by hand."""

import numpy as np
import pytest
import sacrebleu
from scipy.stats import binom, bootstrap

from advisor.metrics import bootstrap as module
from advisor.metrics.bootstrap import interval_of, resamples
from advisor.metrics.class_scores import score_statistics
from advisor.metrics.measure import statistics_of
from advisor.metrics.retrieval import QueryRanks, ranking_statistics
from advisor.metrics.statistics import mean_statistics
from tests.training.toy import WORDS


def test_the_interval_of_an_accuracy_is_that_of_the_binomial_distribution() -> None:
    found = interval_of(mean_statistics([1.0] * 140 + [0.0] * 60), seed=0)
    assert (found.value, found.level, found.n_resamples, found.n_undefined) == (pytest.approx(0.7), 0.95, 2000, 0)
    low, high = binom(200, 0.7).interval(0.95)
    assert (found.low, found.high) == pytest.approx((low / 200, high / 200), abs=0.011)


def test_the_interval_of_a_mean_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=80)
    found = interval_of(mean_statistics(list(values)), seed=0, level=0.9)
    wanted = bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", rng=2
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.03)


def test_the_interval_of_bleu_is_that_of_resampled_sentences() -> None:
    rng = np.random.default_rng(0)
    expected = [f"return the {rng.choice(WORDS)} of {rng.choice(WORDS)} in a list" for _ in range(50)]
    predicted = [text.replace("the", "x") if rng.random() < 0.5 else text for text in expected]
    found = interval_of(statistics_of("bleu", expected, predicted), seed=1, n_resamples=500)
    assert found.value == pytest.approx(sacrebleu.corpus_bleu(predicted, [expected], force=True).score)
    resampled = []
    for _ in range(300):
        rows = rng.integers(0, 50, 50)
        texts = [[side[row] for row in rows] for side in (predicted, expected)]
        resampled.append(sacrebleu.corpus_bleu(texts[0], [texts[1]], force=True).score)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])), abs=2.5)


def test_the_same_seed_gives_the_same_interval_and_a_perfect_system_has_none() -> None:
    queries = [QueryRanks(ranks=(rank,), n_relevant=1) for rank in (1, 2, 3, 1, 9, 1, 4, 5, 2, 7, 6, 8, 1, 3)]
    sample = ranking_statistics("mrr", queries)
    assert interval_of(sample, seed=3) == interval_of(sample, seed=3)
    assert interval_of(sample, seed=3) != interval_of(sample, seed=4)
    perfect = interval_of(statistics_of("f1", ["1", "0"] * 9, ["1", "0"] * 9, label_names=("0", "1")), seed=0)
    assert (perfect.low, perfect.value, perfect.high) == (1, 1, 1)


def test_resamples_without_a_value_are_counted_and_left_out() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    found = interval_of(score_statistics("roc-auc", ["0", "1", "0"], scores, ("0", "1")), seed=0, n_resamples=400)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    # Only the second, or the others only: (1/3)**3 + (2/3)**3 of all draws.
    assert found.n_undefined / 400 == pytest.approx(1 / 27 + 8 / 27, abs=0.08)


def test_large_splits_are_drawn_in_blocks_that_give_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = mean_statistics(list(np.random.default_rng(0).random(40)))
    whole = interval_of(sample, seed=5, n_resamples=100)
    (once,) = resamples(40, 100, np.random.default_rng(5))
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 40 * 30)
    seen: list[tuple[int, int]] = []
    assert interval_of(sample, seed=5, n_resamples=100, progress=lambda *done: seen.append(done)) == whole
    assert seen == [(30, 100), (60, 100), (90, 100), (100, 100)]
    assert np.array_equal(np.concatenate(list(resamples(40, 100, np.random.default_rng(5)))), once)
    assert (once.sum(axis=1) == 40).all()


def test_the_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    n_covered = 0
    for study in range(200):
        right = (rng.random(150) < 0.8).astype(float)
        found = interval_of(mean_statistics(list(right)), seed=study, n_resamples=400)
        n_covered += found.low <= 0.8 <= found.high
    assert 0.88 <= n_covered / 200 <= 0.99


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="level 95 is not between 0 and 1"):
        interval_of(mean_statistics([1.0]), seed=0, level=95)
    one_class = score_statistics("roc-auc", ["1", "1"], np.eye(2), ("0", "1"))
    with pytest.raises(ValueError, match="not defined on these examples"):
        interval_of(one_class, seed=0, n_resamples=10)
