"""The front holds what nobody beats, noise in the measurement decides nothing, and the knee is a fair middle."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advisor.search.outcome import best_of, finalists_of
from advisor.search.pareto import directions_of, trade_off, trade_offs, values_of
from advisor.trial import OBJECTIVES, Objective, TradeOff, TradeOffs, TrialRecord
from tests.search.fakes import candidate, inference

ALL = OBJECTIVES


def record(
    number: int,
    value: float | None,
    memory_bytes: int | None = None,
    latency_s: float = 1.0,
    *,
    state: str = "complete",
    computation: str | None = None,
) -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,  # type: ignore[arg-type]
        candidate=candidate(learning_rate=(number + 1) / 1000),
        seed=0,
        origin="sampler",
        value=value,
        reports=(),
        started_at="2026-01-01T00:00:00+00:00",
        inference=None if memory_bytes is None else inference(memory_bytes, latency_s, computation),
    )


def found(records: list[TrialRecord], objectives: tuple[Objective, ...] = ALL) -> TradeOffs:
    result = trade_offs(records, objectives)
    assert result is not None
    return result


def dominates(one: TradeOff, other: TradeOff, objectives: tuple[Objective, ...]) -> bool:
    """Written out from the definition, without the code under test."""
    better = {
        "quality": (one.quality >= other.quality, one.quality > other.quality),
        "memory": (one.memory_bytes <= other.memory_bytes, one.memory_bytes < other.memory_bytes),
        "latency": (one.latency_s <= other.latency_s, one.latency_s < other.latency_s),
    }
    return all(better[name][0] for name in objectives) and any(better[name][1] for name in objectives)


RECORDS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12
).map(lambda rows: [record(i, q / 4, memory, float(time)) for i, (q, memory, time) in enumerate(rows)])  # fmt: skip
SOME = st.sampled_from([ALL, ("quality", "memory"), ("quality", "latency")])


@given(records=RECORDS, objectives=SOME)
@hypothesis_settings(max_examples=60, deadline=None)
def test_nobody_on_the_front_is_dominated_and_everybody_else_is(records, objectives):
    result = found(records, objectives)
    front = [result.of(number) for number in result.front]
    others = [one for one in result.trials if one.trial not in result.front]
    assert len(set(result.front)) == len(result.front) >= 1
    assert not any(dominates(one, other, objectives) for one in front for other in front)
    assert all(any(dominates(one, other, objectives) for one in front) for other in others)


@given(records=RECORDS, objectives=SOME)
@hypothesis_settings(max_examples=60, deadline=None)
def test_what_is_delivered_is_the_first_of_the_front_and_the_knee_is_on_it(records, objectives):
    result = found(records, objectives)
    best = best_of(records, lambda number: True, objectives)
    assert best is not None
    assert best.value == max(one.value for one in records)
    assert best.number == result.front[0]
    assert result.knee is None or result.knee in result.front
    assert (result.knee is None) == (len(result.front) < 3)


@given(records=RECORDS)
@hypothesis_settings(max_examples=40, deadline=None)
def test_a_trial_off_the_front_never_comes_back_to_it(records):
    fronts = [set(found(records[: i + 1]).front) for i in range(len(records))]
    gone: set[int] = set()
    for i, front in enumerate(fronts):
        assert not front & gone
        gone |= {*range(i + 1)} - front


def test_three_trials_by_hand():
    records = [
        record(0, 0.90, 400, 4.0),
        record(1, 0.85, 200, 2.0),  # nearest to (0.90, 100, 1)
        record(2, 0.60, 100, 1.0),
        record(3, 0.60, 100, 1.5),  # as good as 2 but slower
        record(4, 0.84, 250, 2.0),  # worse than 1 and larger
    ]
    result = found(records)
    assert result.front == (0, 1, 2)
    assert result.knee == 1  # distances: sqrt(2) = 1.41, sqrt(1/36 + 2/9) = 0.5, 1
    assert [one.trial for one in result.trials] == [0, 1, 2, 3, 4]
    assert result.objectives == ALL


def test_with_quality_alone_the_front_is_over_all_objectives():
    records = [record(0, 0.9, 400), record(1, 0.8, 200)]
    assert found(records, ("quality",)) == found(records, ALL)
    assert found(records, ("quality", "latency")).front == (0,)  # equally fast: the better one wins


def test_unfinished_failed_and_unmeasured_trials_take_no_part():
    others = [
        record(0, 0.99),
        record(1, 0.99, 1, state="pruned"),
        record(2, None, 1, state="failed"),
    ]
    assert trade_offs(others, ALL) is None
    assert trade_offs([], ALL) is None
    assert found([*others, record(3, 0.1, 100)]).front == (3,)


def test_of_trials_that_compute_the_same_the_first_measurement_counts():
    records = [
        record(0, 0.9, 100, 1.0, computation="same"),
        record(1, 0.9, 100, 0.9, computation="same"),  # faster by noise
        record(2, 0.8, 100, 0.5, computation="same"),
        record(3, 0.8, 100, 0.95, computation="other"),
    ]
    result = found(records)
    assert [result.of(number).latency_s for number in range(4)] == [1.0, 1.0, 1.0, 0.95]
    assert result.front == (0, 1, 3)
    assert trade_off(records[2], records[2:]).latency_s == 0.5


def test_of_equally_good_trials_the_one_that_takes_less_is_delivered_where_that_was_asked_for():
    records = [record(0, 0.9, 300, 1.0), record(1, 0.9, 200, 2.0), record(2, 0.9, 200, 1.5)]
    numbers = {
        objectives: best_of(records, lambda number: True, objectives).number
        for objectives in (("quality",), ("quality", "memory"), ("quality", "latency"), ALL)
    }
    assert numbers == {("quality",): 0, ("quality", "memory"): 1, ("quality", "latency"): 0, ALL: 2}
    ranked = finalists_of(records, None, lambda number: True, objectives=ALL)
    assert [one.number for one in ranked] == [2, 1, 0]


def test_optuna_is_told_the_values_in_the_order_of_its_directions():
    one = TradeOff(trial=0, quality=0.5, memory_bytes=7, latency_s=0.25)
    assert [one.name for one in directions_of(ALL)] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert values_of(one, ALL) == [0.5, 7.0, 0.25]
    assert values_of(one, ("quality", "latency")) == [0.5, 0.25]


def test_a_front_of_trials_that_were_not_measured_is_refused():
    one = TradeOff(trial=0, quality=0.5, memory_bytes=7, latency_s=0.25)
    for front in ((), (1,)):
        with pytest.raises(ValueError, match="a front holds trials that were measured"):
            TradeOffs(objectives=ALL, trials=(one,), front=front, knee=None)
