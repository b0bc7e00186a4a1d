"""The table of trials says which recommended candidate a warm start is, and by how much its rate was raised."""

from dataclasses import replace

from advisor.report.formatting import NBSP
from advisor.report.origins import origin_of
from advisor.report.tables import trials_table
from advisor.search.warm_starts import WarmStart
from tests.report import fixtures
from tests.search.fakes import settings as study_of

CHOSEN = fixtures.recommendation()
FIRST, SECOND = (one.candidate for one in CHOSEN.candidates)


def origin(candidate, named="recommendation"):
    trial = replace(fixtures.trials()[0], candidate=candidate, origin=named)
    return origin_of(trial, CHOSEN).replace(NBSP, " ")


def with_rate(candidate, rate):
    return replace(candidate, hyperparameters={**candidate.hyperparameters, "learning_rate": rate})


def test_recommended_candidates_are_named_by_their_place():
    assert origin(FIRST) == "recommendation"
    assert origin(SECOND) == "runner-up 2"


def test_a_raised_rate_is_said_by_how_much():
    rate = FIRST.hyperparameters["learning_rate"]
    assert origin(with_rate(FIRST, 10 * rate)) == "recommendation, rate × 10"
    assert origin(with_rate(FIRST, 7.5 * rate)) == "recommendation, rate × 7.5"
    assert origin(with_rate(SECOND, 10 * SECOND.hyperparameters["learning_rate"])) == "runner-up 2, rate × 10"


def test_of_two_that_differ_in_their_rates_the_equal_one_is_meant():
    higher = replace(CHOSEN.candidates[0], hyperparameters=with_rate(FIRST, 3e-3).hyperparameters)
    both = replace(CHOSEN, candidates=(CHOSEN.candidates[0], higher))
    trial = replace(fixtures.trials()[0], candidate=with_rate(FIRST, 3e-3))
    assert origin_of(trial, both).replace(NBSP, " ") == "runner-up 2"


def test_what_nobody_recommended_is_named_by_who_drew_it():
    unknown = replace(FIRST, hyperparameters={**FIRST.hyperparameters, "r": 64})
    assert origin(unknown, "sampler") == "sampler"
    assert origin(FIRST, "sampler") == "sampler"
    assert origin(unknown, "retry") == "run again"
    assert origin(unknown) == "warm start"


def test_what_the_search_makes_of_a_warm_start_is_recognised():
    study = study_of(warm_starts=(FIRST, SECOND))
    raised = WarmStart(0, 1).candidate(study)
    times = raised.hyperparameters["learning_rate"] / FIRST.hyperparameters["learning_rate"]
    assert times > 1
    assert origin(raised) == f"recommendation, rate × {times:.3g}"


def test_the_table_of_trials_says_it():
    origins = [row.cells[1].replace(NBSP, " ") for row in trials_table(fixtures.run_folder(), "f1").rows]
    assert origins[:3] == ["recommendation", "runner-up 2", "sampler"]
