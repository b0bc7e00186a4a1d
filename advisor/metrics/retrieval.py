"""Metrics of rankings: where the relevant items of each query stand. All are means over queries, 0 to 1.

- mrr: reciprocal of the rank of the first relevant item; 0 if none was returned.
- map@r: mean of the precision at each relevant item among the first R, where R is the number of relevant items
  (CodeXGLUE's clone retrieval on POJ-104 is scored so while training; the `MAP` of its evaluator for predictions is
  another number, the precision at R: see `precision_at_r`).
- recall@k: share of the relevant items that are among the first k.
- ndcg@k: discounted cumulative gain of the first k over the best possible, relevance 0 or 1.

Of equal scores the relevant item stands last: a model that scores everything alike is not rewarded for the order of
its input. A query without a relevant item is refused, since no metric is defined for it.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.tasks import Metric
from advisor.errors import InputError
from advisor.metrics.statistics import ExampleStatistics, Progress, mean_statistics

ItemT = TypeVar("ItemT", bound=Hashable)
RANKING_METRICS: tuple[Metric, ...] = ("mrr", "map@r", "recall@1", "recall@5", "recall@10", "ndcg@10")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRanks:
    """What the metrics need to know of one query.

    Attributes:
        ranks: Ranks of the relevant items that were returned, ascending, the first item being 1.
        n_relevant: Relevant items, returned or not; at least one.
    """

    ranks: tuple[int, ...]
    n_relevant: int


def ranks_from_scores(
    blocks: Iterable[NDArray[np.floating]], relevant: Sequence[Collection[int]], *, progress: Progress | None = None
) -> list[QueryRanks]:
    """Rank the items of each query by score, highest first.

    Args:
        blocks: Scores of all items for some queries after the others, each of shape (queries, items): a large matrix
            need not exist at once. A whole matrix is a list of one block. An item that must not be found, such as
            the query itself, is given the score -inf.
        relevant: Columns of the relevant items of each query.
        progress: Called after each block with the number of queries done and of all.

    Raises:
        InputError: A query without a relevant item.
        ValueError: Scores that are not numbers, columns that do not exist, or not as many queries.
    """
    found: list[QueryRanks] = []
    for block in blocks:
        for scores in np.asarray(block):
            if len(found) == len(relevant):
                raise ValueError(f"scores for more than the {len(relevant)} queries")
            found.append(_ranks(scores, relevant[len(found)], len(found)))
        if progress:
            progress(len(found), len(relevant))
    if len(found) != len(relevant):
        raise ValueError(f"scores for {len(found)} of {len(relevant)} queries")
    return found


def ranks_from_ids(
    returned: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]]
) -> list[QueryRanks]:
    """Take the ranks from lists of items, best first; a list may end before all relevant items were returned.

    Raises:
        InputError: A query without a relevant item, or an item that is returned twice.
        ValueError: Not as many queries on both sides.
    """
    found = []
    for number, (items, wanted) in enumerate(zip(returned, relevant, strict=True)):
        if len(set(items)) != len(items):
            raise InputError(f"query {number + 1}: an item is returned twice")
        known = _relevant_items(wanted, number)
        ranks = tuple(rank for rank, item in enumerate(items, start=1) if item in known)
        found.append(QueryRanks(ranks=ranks, n_relevant=len(known)))
    return found


def measure_ranking(metrics: Sequence[Metric], queries: Sequence[QueryRanks]) -> dict[str, float]:
    """Return the value of each metric: its mean over queries.

    Raises:
        ValueError: A metric of another kind, or no queries.
    """
    return {metric: ranking_statistics(metric, queries).value for metric in metrics}


def ranking_statistics(metric: Metric, queries: Sequence[QueryRanks]) -> ExampleStatistics:
    """Return the metric of each query as statistics.

    Raises:
        ValueError: As `measure_ranking`.
    """
    if not queries:
        raise ValueError("a ranking metric needs queries")
    return mean_statistics([_value(metric, query) for query in queries])


def reciprocal_rank(query: QueryRanks) -> float:
    """Return one over the rank of the first relevant item, 0 without one."""
    return 1 / query.ranks[0] if query.ranks else 0.0


def average_precision_at_r(query: QueryRanks) -> float:
    """Return the mean precision at the relevant items among the first R."""
    within = [rank for rank in query.ranks if rank <= query.n_relevant]
    return sum(hits / rank for hits, rank in enumerate(within, start=1)) / query.n_relevant


def precision_at_r(query: QueryRanks) -> float:
    """Return the share of relevant items among the first R (which is also the recall there)."""
    return recall_at(query.n_relevant, query)


def recall_at(k: int, query: QueryRanks) -> float:
    """Return the share of the relevant items that are among the first `k`."""
    return sum(rank <= k for rank in query.ranks) / query.n_relevant


def ndcg_at(k: int, query: QueryRanks) -> float:
    """Return the normalized discounted cumulative gain of the first `k`; a relevant item gains 1."""
    gain = sum(1 / np.log2(1 + rank) for rank in query.ranks if rank <= k)
    best = sum(1 / np.log2(1 + rank) for rank in range(1, min(k, query.n_relevant) + 1))
    return float(gain / best)


def _value(metric: Metric, query: QueryRanks) -> float:
    name, _, cut = metric.partition("@")
    if metric == "mrr":
        return reciprocal_rank(query)
    if metric == "map@r":
        return average_precision_at_r(query)
    if name == "recall" and cut:
        return recall_at(int(cut), query)
    if name == "ndcg":
        return ndcg_at(int(cut), query)
    raise ValueError(f"{metric} is not computed from rankings")


def _ranks(scores: NDArray[np.floating], wanted: Collection[int], number: int) -> QueryRanks:
    columns = np.array(sorted(_relevant_items(wanted, number)))
    if np.isnan(scores).any() or columns[0] < 0 or columns[-1] >= len(scores):
        raise ValueError(f"query {number + 1}: scores are not numbers, or a relevant item has no column")
    best_first = np.sort(scores[columns])[::-1]
    others = np.sort(np.delete(scores, columns))
    # Others of at least the same score, and the relevant items before: what stands before each.
    ahead = len(others) - np.searchsorted(others, best_first, side="left") + np.arange(len(columns))
    return QueryRanks(ranks=tuple(int(rank) for rank in ahead + 1), n_relevant=len(columns))


def _relevant_items(wanted: Collection[ItemT], number: int) -> set[ItemT]:
    if not wanted:
        raise InputError(f"query {number + 1}: has no relevant item; leave it out")
    return set(wanted)
