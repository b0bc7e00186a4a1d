"""The order of warm starts: the recommendation, larger rates as long as they help, then the runners-up."""

from dataclasses import replace

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from advisor.search.warm_starts import FAILURE, WarmStart, is_recommendation, next_warm_start, warm_start_of
from tests.search.fakes import candidate, settings, space
from tests.search.several_bases import joint_settings

STARTS = (candidate(), candidate("ia3", 1e-3), candidate("prefix-tuning", 5e-2))
ABOUT = settings(space=space("lora", "ia3", "prefix-tuning"), warm_starts=STARTS)


def complete(warm_start: WarmStart | None, value: float = 0.0) -> FrozenTrial:
    attributes = warm_start.attributes if warm_start else {}
    return create_trial(state=TrialState.COMPLETE, value=value, user_attrs=dict(attributes))


def live(warm_start: WarmStart, reported: float) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, user_attrs=dict(warm_start.attributes), intermediate_values={5: reported}
    )


def pruned(warm_start: WarmStart, reported: float, **attributes: str) -> FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED,
        user_attrs={**warm_start.attributes, **attributes},
        intermediate_values={5: 0.1, 10: reported},
        params={"learning_rate": 1e-3},
        distributions={"learning_rate": FloatDistribution(1e-5, 1.0)},
    )


def order(values: dict[WarmStart, float], most: int = 9) -> list[WarmStart]:
    """Return all warm starts in their order, where each is complete before the next is asked for."""
    trials: list[FrozenTrial] = []
    while (found := next_warm_start(trials, ABOUT, most)) is not None:
        trials.append(complete(found, values.get(found, 0.0)))
    return [found for trial in trials if (found := warm_start_of(trial.user_attrs))]


def test_the_recommendation_is_first_and_then_its_learning_rate_goes_up():
    assert next_warm_start([], ABOUT, 5) == WarmStart(0)
    assert next_warm_start([complete(WarmStart(0))], ABOUT, 5) == WarmStart(0, 1)


def test_a_larger_rate_that_does_not_help_is_left_at_once():
    assert order({WarmStart(0): 0.5, WarmStart(0, 1): 0.4}) == [
        WarmStart(0), WarmStart(0, 1), WarmStart(1), WarmStart(2),
    ]  # fmt: skip


def test_the_rate_goes_up_while_that_helps_and_the_others_follow_at_the_best():
    values = {WarmStart(0): 0.1, WarmStart(0, 1): 0.2, WarmStart(0, 2): 0.4, WarmStart(0, 3): 0.3}
    assert order(values) == [
        WarmStart(0), WarmStart(0, 1), WarmStart(0, 2), WarmStart(0, 3), WarmStart(1, 2), WarmStart(2, 2),
    ]  # fmt: skip


def test_a_runner_up_that_is_the_best_does_not_send_the_recommendation_further():
    values = {WarmStart(0): 0.1, WarmStart(0, 1): 0.05, WarmStart(1): 0.9}
    assert order(values)[2:] == [WarmStart(1), WarmStart(2)]


def test_no_more_are_given_than_were_asked_for():
    assert len(order({}, most=2)) == 2


def test_rates_end_with_the_range_that_is_searched():
    rising = {WarmStart(0, steps): 0.1 * steps for steps in range(9)}
    assert [one for one in order(rising) if one.index == 0] == [WarmStart(0, steps) for steps in range(4)]
    rates = [WarmStart(0, steps).candidate(ABOUT).hyperparameters["learning_rate"] for steps in range(4)]
    assert rates == [3e-4, 3e-3, 3e-2, 0.1]
    assert WarmStart(2, 3).candidate(ABOUT).hyperparameters["learning_rate"] == 0.1


def test_only_the_rate_differs_from_what_was_recommended():
    larger = WarmStart(0, 1).candidate(ABOUT)
    assert replace(larger, hyperparameters=STARTS[0].hyperparameters) == STARTS[0]
    assert larger.hyperparameters == {**STARTS[0].hyperparameters, "learning_rate": 3e-3}


def test_trials_that_failed_or_are_live_are_tried_but_worth_nothing():
    failed = pruned(WarmStart(0, 1), 0.9, **{FAILURE: "not finite: loss"})
    assert next_warm_start([complete(WarmStart(0), 0.2), failed], ABOUT, 5) == WarmStart(1)
    assert next_warm_start([complete(WarmStart(0), 0.2), live(WarmStart(0, 1), 0.9)], ABOUT, 5) == WarmStart(1)
    both = [live(WarmStart(0), 0.2), live(WarmStart(0, 1), 0.9)]
    assert next_warm_start(both, ABOUT, 5) == WarmStart(1)


def test_a_trial_that_was_stopped_early_counts_with_its_last_value():
    trials = [complete(WarmStart(0), 0.2), pruned(WarmStart(0, 1), 0.3)]
    assert next_warm_start(trials, ABOUT, 5) == WarmStart(0, 2)


def test_sampled_trials_are_no_warm_starts():
    trials = [complete(WarmStart(0), 0.2), complete(None, 0.9), complete(WarmStart(0, 1), 0.3)]
    assert next_warm_start(trials, ABOUT, 5) == WarmStart(0, 2)


def test_with_several_objectives_quality_decides():
    about = settings(space=ABOUT.space, warm_starts=STARTS, objectives=("quality", "memory"))
    trials = [
        create_trial(state=TrialState.COMPLETE, values=[quality, memory], user_attrs=dict(one.attributes))
        for one, quality, memory in ((WarmStart(0), 0.5, 9.0), (WarmStart(0, 1), 0.6, 1.0))
    ]
    assert next_warm_start(trials, about, 5) == WarmStart(0, 2)


def test_several_base_models_are_tried_in_the_order_of_their_recommendations():
    about, trials = joint_settings(), []
    for index in range(len(about.warm_starts)):
        found = next_warm_start(trials, about, 9)
        assert found == WarmStart(index)
        trials.append(complete(found, 0.1 * index))
    assert next_warm_start(trials, about, 9) is None


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"origin": "sampler"}, None),
        ({"warm_start": 0}, WarmStart(0)),
        ({"warm_start": 1}, WarmStart(1)),
        ({"warm_start": 0, "rate_steps": 2}, WarmStart(0, 2)),
    ],
)
def test_a_trial_tells_which_warm_start_it_is(attributes, found):
    assert warm_start_of(attributes) == found
    assert is_recommendation(attributes) == (found == WarmStart(0))
    assert found is None or found.attributes == attributes
