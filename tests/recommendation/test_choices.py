"""Which of the feasible candidates stand out."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from advisor.candidates import propose
from advisor.catalog.base_models import find_base_model
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.evidence.digest import read_digests
from advisor.evidence.forecast import forecast
from advisor.feasibility.fit import device_of, fit
from advisor.recommendation.choices import pareto, roles_of
from advisor.recommendation.quality import Quality
from advisor.recommendation.ranking import Scored
from advisor.spec import GIB, Budget

TASK = find_task("code-generation")
MODEL = find_base_model("Qwen/Qwen2.5-Coder-1.5B")
PROPOSAL = propose(TASK, MODEL, METHODS["lora"], read_digests(TASK.slug)["decoder-only"])
FIT = fit(PROPOSAL, TASK, device_of(Budget(vram_gib=80)))
FORECAST = forecast(TASK, MODEL.architecture, MODEL.params, "lora")


def one(points: float, gib: float, sd: float = 5.0, step_s: float | None = None, tried: bool = True) -> Scored:
    estimate = replace(FIT.estimate, peak_memory_bytes=int(gib * GIB), step_time_s=step_s)
    return Scored(
        proposal=PROPOSAL, fit=replace(FIT, estimate=estimate), score=points / 10, forecast=FORECAST,
        quality=Quality(points=points, sd=sd), tried=tried,
    )  # fmt: skip


def test_the_pareto_set_is_what_nothing_beats_in_everything():
    assert pareto([one(60, 20), one(55, 10), one(54, 12), one(50, 30)]) == [0, 1]


def test_a_quicker_step_keeps_a_candidate_in_the_pareto_set():
    assert pareto([one(60, 20, step_s=2.0), one(59, 21, step_s=1.0), one(58, 22, step_s=1.5)]) == [0, 1]


def test_the_cheapest_is_the_one_with_least_memory_that_loses_little():
    roles = roles_of([one(60, 20), one(57, 12), one(40, 3)])
    assert "cheapest" in roles[1]
    assert "cheapest" not in roles.get(2, ())


def test_the_best_is_the_cheapest_when_hardly_any_memory_can_be_saved():
    assert {"best", "cheapest"} <= set(roles_of([one(60, 20), one(59, 19)])[0])


def test_the_best_is_what_comes_first_under_the_preference():
    scored = [one(60, 20, tried=False), one(58, 20)]
    assert "best" in roles_of(scored)[0]
    assert "best" in roles_of(scored, "memory")[1]


def test_the_safest_is_the_one_whose_interval_begins_highest():
    roles = roles_of([one(60, 20, sd=15), one(57, 20, sd=2)])
    assert "safest" in roles[1]


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=1, max_size=12))
def test_nothing_in_the_pareto_set_is_dominated_and_everything_else_is(pairs):
    scored = [one(points, gib) for points, gib in pairs]
    kept = pareto(scored)

    def beats(a: int, b: int) -> bool:
        (p, m), (q, n) = ((scored[at].quality.points, -scored[at].fit.estimate.peak_memory_bytes) for at in (a, b))
        return p >= q and m >= n and (p > q or m > n)

    for at in range(len(scored)):
        assert (at in kept) == (not any(beats(other, at) for other in range(len(scored))))


def test_every_role_but_pareto_is_given_once():
    roles = roles_of([one(60 - at, 20 - at) for at in range(8)])
    for role in ("best", "cheapest", "safest"):
        assert sum(role in mine for mine in roles.values()) == 1
