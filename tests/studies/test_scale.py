"""The simulation of a shared study, by cases that can be computed by hand, and what it is fed with."""

import math
from dataclasses import dataclass, field

import pytest
from optuna.trial import TrialState

from advisor.search.asking import limited
from studies.scale.client import settings
from studies.scale.costs import MeasuredCosts, at
from studies.scale.durations import pruned, recorded_shape, relative
from studies.scale.overhead import table_of
from studies.scale.sampling_cost import draw_copied, draw_shared, history
from studies.scale.simulation import LOCK, UNLOCK, Cost, Outcome, Protocol, Setting, simulate


@dataclass
class Fixed:
    """Costs that do not depend on sizes; notes what it was asked."""

    calls: dict[str, Cost]
    asked: list[tuple[str, int, int, int]] = field(default_factory=list)

    def cost(self, call: str, n_running: int, n_started: int, n_ended: int) -> Cost:
        self.asked.append((call, n_running, n_started, n_ended))
        return self.calls.get(call, Cost())


def simulated(protocol: Protocol, n_workers: int = 1, *, trials=((5.0,),), **changes: object) -> Outcome:
    calls = changes.pop("calls", {})
    return simulate(
        Setting(
            n_workers=n_workers, trials=trials, protocol=protocol, costs=Fixed(calls),  # type: ignore[arg-type]
            **{"server_cores": 1, "warm_up_s": 100.0, "duration_s": 1000.0, **changes},  # type: ignore[arg-type]
        )
    )  # fmt: skip


def test_a_worker_alone_without_costs_is_always_busy():
    alone = simulated(Protocol())
    assert alone.busy == pytest.approx(1.0)
    assert alone.trials_per_s == pytest.approx(0.2)
    assert alone.ask_p99_s == 0.0
    assert alone.server_use == 0.0


def test_a_server_that_takes_a_second_per_ask_gives_one_trial_a_second_to_ten_workers():
    ten = simulated(Protocol(), 10, calls={"create": Cost(server_s=1.0)})
    assert ten.trials_per_s == pytest.approx(1.0, abs=0.01)
    assert ten.busy == pytest.approx(0.5, abs=0.01)  # one trial a second of five seconds each, on ten workers
    assert ten.server_use == pytest.approx(1.0, abs=0.01)
    assert ten.ask_p50_s == pytest.approx(5.0)  # nine others, of whom five train


def test_two_cores_serve_twice_as_many():
    ten = simulated(Protocol(), 10, calls={"create": Cost(server_s=1.0)}, server_cores=2)
    assert ten.trials_per_s == pytest.approx(10 / 6, abs=0.02)  # no waiting: five seconds and one
    assert ten.busy == pytest.approx(5 / 6, abs=0.01)


def test_seconds_of_the_client_hold_up_the_client_alone_unless_it_stands_on_the_server():
    calls = {"create": Cost(client_s=1.0)}
    assert simulated(Protocol(), 10, calls=calls).busy == pytest.approx(5 / 6, abs=0.01)
    assert simulated(Protocol(), 10, calls=calls, clients_on_server=True).busy == pytest.approx(0.5, abs=0.01)


def test_a_proxy_does_one_thing_at_a_time_on_a_core_of_its_own_or_one_of_the_server():
    calls = {"create": Cost(proxy_s=1.0)}
    own = simulated(Protocol(), 10, calls=calls, server_cores=4)
    assert (own.trials_per_s, own.proxy_use) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01))
    shared = simulated(Protocol(), 10, calls=calls, server_cores=4, clients_on_server=True)
    assert (shared.trials_per_s, shared.server_use) == (pytest.approx(1.0, abs=0.01), pytest.approx(0.25, abs=0.01))


def test_what_is_done_under_the_lock_is_done_by_one_at_a_time():
    protocol = Protocol(ask=(LOCK, "create", UNLOCK))
    ten = simulated(protocol, 10, calls={"create": Cost(client_s=0.5, wait_s=0.5)})
    assert ten.trials_per_s == pytest.approx(1.0, abs=0.01)
    assert ten.lock_use == pytest.approx(1.0, abs=0.01)
    assert simulated(protocol, calls={"create": Cost(wait_s=1.0)}).lock_use == pytest.approx(1 / 6, abs=0.01)


def test_the_slots_of_a_worker_share_its_search_loop():
    calls = {"create": Cost(client_s=1.0)}
    assert simulated(Protocol(), 1, slots_each=10, calls=calls).trials_per_s == pytest.approx(1.0, abs=0.01)
    assert simulated(Protocol(), 10, slots_each=1, calls=calls).trials_per_s == pytest.approx(10 / 6, abs=0.02)


def test_calls_come_in_the_order_of_the_protocol_and_know_what_is_new():
    protocol = Protocol(ask=("read", "create"), rung=("report", "prune"), last_rung=("report",), end=("finish",))
    costs = Fixed({})
    simulate(
        Setting(
            n_workers=1, trials=((1.0, 1.0),), protocol=protocol, costs=costs, warm_up_s=0.5, duration_s=3.9, seed=1
        )
    )
    one = ["read", "create", "report", "prune", "report", "finish"]
    assert [call for call, *_ in costs.asked][: 2 * len(one)] == [*one, *one]
    assert costs.asked[3] == ("prune", 1, 1, 0)  # its own trial began since it read
    assert costs.asked[6] == ("read", 0, 0, 1)  # and ended since it pruned


def test_a_trial_that_is_stopped_early_is_asked_about_at_every_rung():
    protocol = Protocol(rung=("prune",), last_rung=("report",))
    costs = Fixed({})
    simulate(
        Setting(
            n_workers=1, trials=((1.0,), (1.0, 1.0)), protocol=protocol, costs=costs, warm_up_s=0.1, duration_s=300.0
        )
    )
    n_created = sum(call == "create" for call, *_ in costs.asked)
    assert sum(call == "prune" for call, *_ in costs.asked) == pytest.approx(n_created, abs=1)  # all reach the first
    assert sum(call == "report" for call, *_ in costs.asked) == pytest.approx(n_created / 2, rel=0.2)


def test_nobody_asks_in_the_time_that_is_counted():
    none = simulated(Protocol(), trials=((1e6,),))
    assert math.isnan(none.ask_p50_s)
    assert none.busy == pytest.approx(1.0)


def row(finished: int, running: int, **seconds: float) -> dict[str, object]:
    found = {"client_s": 0.0, "proxy_s": 0.0, "server_s": 0.0, "wall_s": 0.0, "round_trips": 0.0}
    calls = {"read": {**found, **seconds}, "fetch": {**found, "client_s": 0.001}, "parse": {**found, "client_s": 0.01}}
    return {"kind": "direct", "finished": finished, "running": running, "calls": calls}


def test_costs_lie_on_lines_between_what_was_measured():
    rows = [
        row(0, 1, client_s=1.0), row(0, 101, client_s=2.0), row(100, 1, client_s=3.0), row(100, 101, client_s=6.0)
    ]  # fmt: skip
    sampling = [{"draw": "copied", "running": 1, "finished": n, "cpu_s": n / 100} for n in (0, 100)]
    costs = MeasuredCosts(rows=rows, sampling=sampling, n_finished=50, round_trip_s=0.0)
    assert costs.cost("read", 1, 0, 0).client_s == pytest.approx(2.0)
    assert costs.cost("read", 51, 0, 0).client_s == pytest.approx(3.0)
    assert costs.cost("read", 201, 0, 0).client_s == pytest.approx(6.0)  # on the last line: 2 and 4, then 6
    assert costs.cost("read", 1, 7, 2).client_s == pytest.approx(2.0 + 2 * 0.011)  # those that run are read anyway
    assert costs.cost("sample", 1, 0, 0).client_s == pytest.approx(0.5)
    assert costs.cost("beat", 1, 0, 0) == Cost()


def test_a_round_trip_and_a_busy_machine_cost_time():
    rows = [
        row(0, 1, client_s=1.0, server_s=0.5, wall_s=1.75, round_trips=4.0),
        row(9, 1, client_s=1.0, server_s=0.5, wall_s=7.75, round_trips=4.0),  # here it waited for others' work
    ]
    sampling = [{"draw": "copied", "running": 1, "finished": 0, "cpu_s": 0.1}]
    cost = MeasuredCosts(
        rows=rows, sampling=sampling, n_finished=0, round_trip_s=0.1, processor_share=0.5
    ).cost("read", 1, 0, 0)  # fmt: skip
    assert (cost.client_s, cost.server_s) == (2.0, 1.0)
    assert cost.wait_s == pytest.approx(0.25 + 0.4)


def test_nothing_costs_less_than_nothing_beyond_what_was_measured():
    assert at([(0.0, Cost(client_s=2.0)), (1.0, Cost(client_s=1.0))], 10.0).client_s == 0.0


def test_the_median_rule_stops_at_the_first_rung_under_the_median_of_complete_trials():
    good = ((1.0, 2.0, 4.0), (0.5, 0.6, 0.7))
    late = ((1.0, 2.0, 4.0), (0.5, 0.5, 0.9))
    bad = ((1.0, 2.0, 4.0), (0.1, 0.9, 0.9))
    assert pruned([*[good] * 8, bad, late, good]) == [*[(1.0, 1.0, 2.0)] * 8, (1.0,), (1.0, 1.0), (1.0, 1.0, 2.0)]
    assert pruned([bad] * 3) == [(1.0, 1.0, 2.0)] * 3  # nothing to compare with yet


def test_the_recorded_shape_is_in_means_of_a_trial():
    assert relative([(1.0, 1.0), (4.0,)]) == [(1 / 3, 1 / 3), (4 / 3,)]
    shape = recorded_shape()
    assert sum(map(sum, shape.trials)) / len(shape.trials) == pytest.approx(1.0)
    assert sum(shape.stopped) == pytest.approx(1.0)
    assert len(shape.trials) + shape.left_out == 2 * 236


def test_a_draft_that_looks_at_the_trials_draws_what_a_copy_draws():
    trials = history(40, 3)
    for seed in range(3):
        assert draw_shared(trials, settings().space, seed) == draw_copied(trials, settings().space, seed)
    assert [trial.number for trial in trials] == list(range(43))


def test_a_limited_history_keeps_the_best_the_latest_and_all_that_run():
    trials = history(60, 2)
    kept = limited(trials, n_best=3, n_latest=10)
    assert [trial.number for trial in kept[3:]] == list(range(50, 62))
    complete = [trial for trial in trials[:50] if trial.state == TrialState.COMPLETE]
    assert {trial.value for trial in kept[:3]} == set(sorted(trial.value for trial in complete)[-3:])
    assert limited(trials) == trials


def test_the_table_of_overhead_is_per_trial():
    search = {"wall_s": 4.0, "cpu_s": 2.0}
    burning = {"trials": 8, "blocks": 1, "searches": {1: [{"wall_s": 9.0}], 2: [{"wall_s": 6.0}]}}
    lines = table_of({"kind": "local", "trials": 40, "rungs": 4, "overhead": {1: [search]}, "burning": burning})
    assert "| 1 | 100.0 (100.0) | 50.0 |" in lines
    assert "Speed-up from 1 to 2 workers: 1.50 (1.50)." in lines
