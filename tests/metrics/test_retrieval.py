"""Metrics of rankings agree with scikit-learn where it has them, and with hand-computed values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from advisor.catalog.tasks import Metric
from advisor.errors import InputError
from advisor.metrics.retrieval import (
    RANKING_METRICS,
    QueryRanks,
    average_precision_at_r,
    measure_ranking,
    ndcg_at,
    precision_at_r,
    ranking_statistics,
    ranks_from_ids,
    ranks_from_scores,
    recall_at,
    reciprocal_rank,
)  # fmt: skip

QUERY = QueryRanks(ranks=(2, 3, 7), n_relevant=4)  # one relevant item was not returned


def test_the_values_of_one_query_are_those_of_a_hand() -> None:
    assert reciprocal_rank(QUERY) == 1 / 2
    assert average_precision_at_r(QUERY) == pytest.approx((1 / 2 + 2 / 3) / 4)
    assert precision_at_r(QUERY) == 2 / 4
    assert [recall_at(k, QUERY) for k in (1, 2, 5, 10)] == [0, 1 / 4, 2 / 4, 3 / 4]
    gain = 1 / np.log2(3) + 1 / np.log2(4) + 1 / np.log2(8)
    assert ndcg_at(10, QUERY) == pytest.approx(gain / sum(1 / np.log2(1 + rank) for rank in (1, 2, 3, 4)))
    assert ndcg_at(1, QUERY) == 0


def test_a_query_that_nothing_was_returned_for_scores_nothing() -> None:
    nothing = QueryRanks(ranks=(), n_relevant=2)
    assert set(measure_ranking(RANKING_METRICS, [nothing]).values()) == {0.0}


def random_case(seed: int, n_queries: int = 20, n_items: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((n_queries, n_items)) < 0.2
    truth[np.arange(n_queries), rng.integers(0, n_items, n_queries)] = True
    return rng.normal(size=(n_queries, n_items)), truth


def columns(truth: np.ndarray) -> list[list[int]]:
    return [[int(column) for column in np.flatnonzero(row)] for row in truth]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_without_ties_agree_with_scikit_learn(seed: int) -> None:
    scores, truth = random_case(seed)
    queries = ranks_from_scores([scores], columns(truth))
    assert measure_ranking(["ndcg@10"], queries)["ndcg@10"] == pytest.approx(ndcg_score(truth, scores, k=10))
    for query, relevant, row in zip(queries, truth, scores, strict=True):
        precisions = [hits / rank for hits, rank in enumerate(query.ranks, start=1)]
        assert np.mean(precisions) == pytest.approx(average_precision_score(relevant, row))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), block=st.integers(1, 25))
def test_lists_blocks_and_whole_matrices_of_scores_give_the_same_ranks(seed: int, block: int) -> None:
    scores, truth = random_case(seed)
    seen: list[tuple[int, int]] = []
    blocks = (scores[start : start + block] for start in range(0, 20, block))
    queries = ranks_from_scores(blocks, columns(truth), progress=lambda done, in_all: seen.append((done, in_all)))
    assert queries == ranks_from_scores([scores], columns(truth))
    assert seen[-1] == (20, 20)
    assert queries == ranks_from_ids([list(map(int, np.argsort(-row))) for row in scores], columns(truth))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(RANKING_METRICS))
def test_values_keep_their_bounds_and_depend_on_no_order(seed: int, metric: Metric) -> None:
    scores, truth = random_case(seed)
    found = measure_ranking([metric], ranks_from_scores([scores], columns(truth)))[metric]
    assert 0 <= found <= 1
    rng = np.random.default_rng(seed)
    rows, items = rng.permutation(20), rng.permutation(30)
    again = ranks_from_scores([scores[rows][:, items]], columns(truth[rows][:, items]))
    assert measure_ranking([metric], again)[metric] == pytest.approx(found)


def test_a_perfect_ranking_has_the_highest_value() -> None:
    one_each = ranks_from_scores([np.eye(12)], [[row] for row in range(12)])
    assert set(measure_ranking(RANKING_METRICS, one_each).values()) == {1.0}
    _, truth = random_case(4)
    several = ranks_from_scores([truth.astype(float)], columns(truth))
    found = measure_ranking(("mrr", "map@r", "ndcg@10"), several)
    assert found == pytest.approx({"mrr": 1, "map@r": 1, "ndcg@10": 1})


def test_equal_scores_put_the_relevant_item_last() -> None:
    (query,) = ranks_from_scores([np.zeros((1, 5))], [[0, 3]])
    assert query.ranks == (4, 5)
    (query,) = ranks_from_scores([np.array([[1.0, 1.0, 2.0, 0.0]])], [[1]])
    assert query.ranks == (3,)


def test_the_query_itself_is_kept_out_by_a_score_of_minus_infinity() -> None:
    scores = np.array([[9.0, 1.0, 0.5], [0.2, 9.0, 0.1], [0.3, 0.4, 9.0]])
    np.fill_diagonal(scores, -np.inf)
    assert [query.ranks for query in ranks_from_scores([scores], [[1], [0], [0]])] == [(1,), (1,), (2,)]


def test_the_statistics_hold_one_value_per_query() -> None:
    statistics = ranking_statistics("mrr", [QUERY, QueryRanks(ranks=(1,), n_relevant=1)])
    assert statistics.rows[:, 0].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        ([[1.0, 2.0]], [[]], "query 1: has no relevant item"),
        ([[1.0, float("nan")]], [[0]], "query 1: scores are not numbers"),
        ([[1.0, 2.0]], [[2]], "has no column"),
        ([[1.0, 2.0]], [[-1]], "has no column"),
        ([[1.0, 2.0]], [[0], [1]], "scores for 1 of 2 queries"),
        ([[1.0, 2.0]] * 2, [[0]], "more than the 1 queries"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, relevant, message: str) -> None:
    with pytest.raises((InputError, ValueError), match=message):
        ranks_from_scores([np.array(scores)], relevant)


def test_lists_and_metrics_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="query 1: an item is returned twice"):
        ranks_from_ids([["a", "a"]], [["a"]])
    with pytest.raises(ValueError, match="f1 is not computed from rankings"):
        measure_ranking(["f1"], [QUERY])
    with pytest.raises(ValueError, match="needs queries"):
        measure_ranking(["mrr"], [])
