"""The replay of recorded learning curves, on a table of two methods that is small enough to reckon by hand."""

import math
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from optuna.samplers import BaseSampler

from advisor.catalog.tasks import find_task
from advisor.errors import DataError, InputError
from advisor.trial import TrialSpec
from studies.search_quality.problem import Problem, draw, keep_space, params, problem, space_file
from studies.search_quality.replay import Arm, Replay, Trace, _Ended, at_steps
from studies.search_quality.run import interval
from studies.search_quality.simulated_runner import SimulatedRunner, point_of
from studies.search_quality.surrogate import Surrogate, compare_models, deviations, fit
from studies.search_quality.table import TABLE, Row, read_table
from studies.search_quality.variants import SAMPLERS, compare_samplers, prepare, replay_variant
from tests.search.fakes import candidate, space

pytestmark = pytest.mark.slow

STEPS = (4, 8, 16, 32)
SPACE = space()
RATES = tuple(10 ** (-5 + 4 * share / 11) for share in range(12))


def value(method: str, rate: float, step: int) -> float:
    level = (0.9 if method == "lora" else 0.7) - 0.1 * (math.log10(rate) + 3) ** 2
    return level * (1 - 2 ** (-step / 8))


def row(configuration: int, method: str, rate: float, seed: int = 0, off: float = 0.0) -> Row:
    return Row(
        configuration=configuration,
        origin="space",
        method=method,
        values={"learning_rate": rate} | ({"r": (4, 8, 16)[configuration % 3]} if method == "lora" else {}),
        seed=seed,
        steps=STEPS,
        metrics={"f1": tuple(value(method, rate, step) + off for step in STEPS)},
        train_loss=(1.0,) * 4,
        duration_s=(1.0, 2.0, 4.0, 8.0),
        trainable_params=10,
    )


def table() -> list[Row]:
    methods = [(method, rate) for method in ("lora", "ia3") for rate in RATES]
    rows = [row(number, method, rate) for number, (method, rate) in enumerate(methods)]
    return [*rows, row(0, "lora", RATES[0], seed=1, off=0.02)]


def fitted(kind: str = "nearest") -> Surrogate:
    return fit(table(), SPACE, "f1", kind, seed=0)


def replay() -> Replay:
    problem = Problem(
        task=find_task("clone-detection"),
        rung_steps=STEPS,
        space=SPACE,
        warm_starts=(candidate("lora", 1e-4), candidate("ia3", 1e-3)),
        n_train=8,
        n_valid=8,
    )
    return Replay.of(problem, fitted(), seed=0, n_searched=100)


def runner(slots: int = 1) -> SimulatedRunner:
    def curves(point: tuple[str, object], seed: int) -> dict[int, float]:
        return {step: step / 100 for step in STEPS}

    return SimulatedRunner(space=SPACE, curves=curves, metric="f1", noise_seed=0, slots=slots)


def spec(number: int = 0, rung_steps: tuple[int, ...] = (8, 16, 32)) -> TrialSpec:
    return TrialSpec(number=number, candidate=candidate("lora", 1e-4), seed=0, rung_steps=rung_steps)


def test_a_trial_reports_the_recorded_values_at_its_own_rungs() -> None:
    simulated = runner()
    simulated.start(spec())
    reports = [report for _ in range(3) for report in simulated.advance()]
    assert [(report.rung, report.step, report.metrics["f1"]) for report in reports] == [
        (0, 8, 0.08),
        (1, 16, 0.16),
        (2, 32, 0.32),
    ]
    assert simulated.steps_trained == 32
    with pytest.raises(RuntimeError, match="no live trial"):
        simulated.advance()


def test_all_live_trials_report_and_no_more_than_there_are_slots_can_be_live() -> None:
    simulated = runner(slots=2)
    simulated.start(spec(3))
    simulated.start(spec(5))
    with pytest.raises(RuntimeError, match="no free slot"):
        simulated.start(spec(6))
    assert [report.number for report in simulated.advance()] == [3, 5]
    simulated.stop(3)
    assert [(report.number, report.step) for report in simulated.advance()] == [(5, 16)]


def test_a_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    before = runner()
    before.start(spec())
    before.advance()
    before.checkpoint(0, tmp_path / "kept")
    after = runner()
    after.start(spec(), checkpoint=tmp_path / "kept")
    assert [(report.rung, report.step) for report in after.advance()] == [(1, 16)]
    other = replace(spec(), candidate=candidate("ia3", 1e-3))
    with pytest.raises(DataError, match="not a checkpoint of trial 0"):
        runner().start(other, checkpoint=tmp_path / "kept")


def test_a_saved_trial_is_evaluated_on_the_validation_split_only(tmp_path: Path) -> None:
    simulated = runner()
    simulated.start(spec())
    simulated.advance()
    simulated.save(0, tmp_path)
    assert simulated.evaluate(spec().candidate, tmp_path, "valid", seed=0).metrics == {"f1": 0.08}
    with pytest.raises(InputError, match="validation metrics"):
        simulated.evaluate(spec().candidate, tmp_path, "test", seed=0)


def test_a_rung_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="no values at steps \\[10\\]"):
        runner().start(spec(rung_steps=(10, 32)))


def test_the_nearest_recorded_configuration_of_the_same_method_answers() -> None:
    surrogate = fitted()
    shown = surrogate.mean_curve(("ia3", {"learning_rate": 1.05e-3}))
    assert shown == pytest.approx([value("ia3", RATES[5], step) for step in STEPS], abs=0.01)
    assert surrogate.best == pytest.approx(max(value("lora", rate, 32) for rate in RATES), abs=0.011)


def test_noise_is_drawn_from_repeated_trainings_and_stays_the_same_for_a_trial() -> None:
    # Two seeds 0.02 apart lie 0.01 from their mean; times sqrt(2 / 1), since one degree of freedom is used up.
    assert [curve[-1] for curve in deviations(table(), "f1")] == pytest.approx([-0.01 * 2**0.5, 0.01 * 2**0.5])
    surrogate, point = fitted(), ("lora", {"learning_rate": 1e-3, "r": 8})
    off = {surrogate.curve(point, seed)[-1] - surrogate.mean_curve(point)[-1] for seed in range(40)}
    assert sorted({round(one, 6) for one in off}) == pytest.approx([-0.014142, 0.014142])
    assert surrogate.curve(point, 7) == surrogate.curve(point, 7)


def test_cross_validation_predicts_every_configuration_from_the_others() -> None:
    rates = {1e-5: 0.1, 1e-4: 0.2, 2e-4: 0.3, 1e-2: 0.5}
    rows = [
        replace(row(number, "ia3", rate), metrics={"f1": (level,) * 4})
        for number, (rate, level) in enumerate(rates.items())
    ]
    # The nearest of the others, in the logarithm: the second, the third, the second, the third.
    errors = compare_models(rows, space("ia3"), "f1", seed=0, n_folds=4)["nearest"]
    assert errors["rmse"] == pytest.approx(math.sqrt((0.1**2 + 0.1**2 + 0.1**2 + 0.2**2) / 4))
    assert errors["r2"] == pytest.approx(1 - 0.0175 / 0.021875)


@pytest.mark.parametrize("arm", ["warm", "cold", "random", "hyperband"])
def test_a_replay_is_the_same_with_the_same_seed(arm: Arm, tmp_path: Path) -> None:
    studies = replay()
    first = studies.study(arm, 4, 3, tmp_path / "study")
    assert first == studies.study(arm, 4, 3, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    assert len(first.regrets) == 4
    assert first.steps[0] == 32
    assert all(0 <= regret < 0.9 for regret in first.regrets)


def test_seeds_differ(tmp_path: Path) -> None:
    studies = replay()
    assert studies.study("random", 6, 1, tmp_path).regrets != studies.study("random", 6, 2, tmp_path).regrets


def test_a_warm_study_begins_with_the_recommendation(tmp_path: Path) -> None:
    studies = replay()
    trace = studies.study("warm", 1, 0, tmp_path / "study")
    assert trace.regrets == (studies.regret(("lora", {"learning_rate": 1e-4, "r": 8})),)


def test_a_cold_study_does_not_look_for_the_learning_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = replay()
    seen = studies.study("cold", 6, 0, tmp_path / "study")
    monkeypatch.setattr("advisor.search.warm_starts.RATE_STEP", 2.0)
    assert studies.study("cold", 6, 0, tmp_path / "study") == seen
    # The step would be felt elsewhere.
    at_two = studies.study("warm", 12, 1, tmp_path / "study")
    monkeypatch.setattr("advisor.search.warm_starts.RATE_STEP", 10.0)
    assert studies.study("warm", 12, 1, tmp_path / "study") != at_two


def test_a_wrong_recommendation_is_among_the_worst_tenth(tmp_path: Path) -> None:
    studies = replay()
    rng = Random(1)
    regrets = sorted(studies.regret(draw(SPACE, rng)) for _ in range(300))
    for wrong in studies.warm_starts("wrong", 0):
        assert studies.regret(point_of(wrong, SPACE)) >= regrets[int(0.8 * 300)]


def test_regret_at_a_number_of_steps_is_that_of_the_trials_that_have_ended(tmp_path: Path) -> None:
    trace = replay().study("random", 3, 0, tmp_path / "study")
    assert trace.steps == (32, 64, 96)
    assert [at_steps(trace, budget) for budget in (31, 70, 1000)] == [None, trace.regrets[1], trace.regrets[2]]


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert interval([0.25] * 20) == {"mean": 0.25, "low": 0.25, "high": 0.25}
    wide = interval([0.0, 1.0] * 50)
    assert wide["low"] == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)


def test_the_finals_take_the_highest_mean_over_three_trainings(tmp_path: Path) -> None:
    studies = replay()
    trace = studies.study("random", 8, 0, tmp_path / "study")
    # One training in two is 0.014 too high, the other as much too low: with three of each the best point wins.
    assert trace.final_regret <= trace.regrets[-1] + 0.02
    seen = _Ended(point=("ia3", {"learning_rate": RATES[5]}), value=0.9, is_complete=True, steps=32)
    further = [studies.surrogate.curve(seen.point, 100_000 * number)[-1] for number in (1, 2)]
    assert studies._final_value(seen, 0) == pytest.approx((0.9 + sum(further)) / 3)


def test_a_table_keeps_the_space_it_was_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "clones-encoder-128"
    kept = problem(name)
    monkeypatch.setattr("studies.search_quality.problem.SPACES", tmp_path)
    keep_space(name)
    assert "demo" in space_file(name).read_text()
    monkeypatch.setattr("studies.search_quality.problem._of_product", None)  # the product is not asked again
    again = problem(name)
    assert again.warm_starts[0].base_model == kept.warm_starts[0].base_model
    assert {one.max_seq_length for one in again.warm_starts} == {40}


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(row(1, "ia3", 1e-3).line() + row(0, "lora", 1e-3).line() + row(2, "ia3", 1e-2).line()[:40])
    assert read_table(path) == [row(0, "lora", 1e-3), row(1, "ia3", 1e-3)]


@pytest.mark.parametrize("name", params()["problems"])
def test_every_recorded_training_reached_its_rungs_or_says_why_not(name: str) -> None:
    given, rows = problem(name), read_table(TABLE / f"{name}.jsonl")
    assert len({(one.configuration, one.seed) for one in rows}) == len(rows) > 100
    methods = {part.method for part in given.space.methods}
    for one in rows:
        assert one.steps == given.rung_steps or one.failure
        assert (one.method in methods) == (one.origin != "other-method")
        assert all(0 <= f1 <= 1 for f1 in one.metrics.get("f1", ()))


def lora_alone() -> Replay:
    problem = replace(replay().problem, space=space("lora"), warm_starts=(candidate("lora", 1e-4),))
    return Replay.of(problem, fit(table(), space("lora"), "f1", "nearest", seed=0), seed=0, n_searched=100)


def test_a_gaussian_process_does_what_it_is_told_to_be_and_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    plain = Replay.plain

    def watched(self: Replay, sampler: BaseSampler, *arguments: Any, **more: Any) -> Trace:
        drawn.append(type(sampler).__name__)
        return plain(self, sampler, *arguments, **more)

    monkeypatch.setattr(Replay, "plain", watched)
    alone = lora_alone()
    found = {name: replay_variant(alone, SAMPLERS[name], "warm", 10, seed=0) for name in ("tpe", "gp", "random")}
    assert drawn == ["TPESampler", "GPSampler", "RandomSampler"]
    assert {trace.regrets[0] for trace in found.values()} == {found["tpe"].regrets[0]}  # the same warm start
    assert replay_variant(alone, SAMPLERS["gp"], "warm", 10, seed=0) == found["gp"]


def test_samplers_are_compared_with_each_other_on_the_same_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.search_quality.variants.SAMPLED_AT", (2, 4))
    monkeypatch.setattr(
        "studies.search_quality.variants.SAMPLERS",
        {
            name: replace(one, sampler="random" if one.sampler == "gp" else one.sampler)
            for name, one in SAMPLERS.items()
        },
    )
    found = compare_samplers(lora_alone(), 2)
    # In place of the Gaussian process stands random search, which differs from itself by nothing.
    assert {tuple(row.values()) for row in found["differences"]["gp - random"].values()} == {(0.0, 0.0, 0.0)}
    assert list(found["samplers"]["tpe"]["regret"]) == ["warm-2", "warm-4", "cold-2", "cold-4"]


def test_one_method_of_the_recorded_table_is_a_space_without_conditions() -> None:
    alone = prepare("clone-detection", method="lora")
    assert [part.method for part in alone.problem.space.methods] == ["lora"]
    assert {one.method for one in alone.problem.warm_starts} == {"lora"}
    assert 0.7 < alone.surrogate.best < 0.85  # of the method; the highest recorded value of any is 0.8175
