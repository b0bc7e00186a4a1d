"""Intervals of metrics from the predictions that are kept, and what is said where there are none."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from advisor.metrics.bootstrap import interval_of, intervals_together
from advisor.metrics.measure import measure, statistics_of
from advisor.report import intervals
from advisor.report.intervals import metric_intervals
from advisor.report.run_folder import seed_name
from advisor.result import SeedResult
from advisor.trial import Evaluation, Prediction
from tests.report import fixtures

CLASSES = ("no clone", "clone")  # in the order of the training split below


def answers(n, right_share, seed):
    """Return predictions of clones of which about a share is right."""
    drawn = random.Random(seed)
    made = []
    for i in range(n):
        truth = i % 2
        said = truth if drawn.random() < right_share else 1 - truth
        made.append(Prediction(example_id=str(i), source="x", expected=CLASSES[truth], predicted=CLASSES[said]))
    return tuple(made)


def scores(items):
    expected, predicted = [one.expected for one in items], [one.predicted for one in items]
    return {
        "f1": float(f1_score(expected, predicted, pos_label="clone")),
        "accuracy": float(accuracy_score(expected, predicted)),
    }


def evaluation(metrics, n):
    return Evaluation(metrics=metrics, n_examples=n, duration_s=1.0)


def scored_run(n=400, **changes):
    """Return a run whose contenders have the metrics that scikit-learn gives for their predictions."""
    shares = {"best trial": 0.9, "recommendation": 0.8, "untuned base model": 0.5, "majority class": 0.6}
    made = {name: answers(n, share, seed) for seed, (name, share) in enumerate(shares.items())}
    result = fixtures.result()
    rows = tuple(replace(row, evaluation=evaluation(scores(made[row.name]), n)) for row in result.contenders)
    data = {split: replace(facts, label_counts=dict.fromkeys(CLASSES, 9)) for split, facts in result.data.items()}
    saved = {name.replace(" ", "-"): items for name, items in made.items()}
    return fixtures.run_folder(result=replace(result, contenders=rows, data=data, **changes), predictions=saved)


def test_every_metric_of_every_contender_has_an_interval_around_its_value():
    run = scored_run()
    found = metric_intervals(run).found
    assert found.keys() == {(row.name, name) for row in run.result.contenders for name in ("f1", "accuracy")}
    for row in run.result.contenders:
        for name, value in row.evaluation.metrics.items():
            interval = found[row.name, name]
            assert interval.value == pytest.approx(value, abs=1e-12)
            assert interval.low < value < interval.high


def test_the_interval_of_an_accuracy_is_about_that_of_the_binomial_distribution():
    run = scored_run(1000)
    interval = metric_intervals(run).found["best trial", "accuracy"]
    p = run.contender("best trial").evaluation.metrics["accuracy"]
    half = 1.96 * math.sqrt(p * (1 - p) / 1000)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.12)


def test_metrics_taken_together_have_the_intervals_that_each_has_alone():
    of = {share: answers(70, share, 3) for share in (0.6, 0.9)}
    samples = {
        (share, metric): statistics_of(
            metric, [one.expected for one in items], [one.predicted for one in items], label_names=CLASSES
        )
        for share, items in of.items()
        for metric in ("f1", "accuracy", "mcc")
    }
    together = intervals_together(samples, seed=5, n_resamples=300)
    assert together == {key: interval_of(one, seed=5, n_resamples=300) for key, one in samples.items()}
    assert intervals_together({}, seed=5, n_resamples=300) == {}


def test_the_same_records_give_the_same_intervals_and_another_seed_gives_others():
    assert metric_intervals(scored_run()) == metric_intervals(scored_run())
    assert metric_intervals(scored_run()).found != metric_intervals(scored_run(seed=8)).found


def seeded_run(run):
    """Return the run with three seeds of the best trial, whose mean is on record."""
    made = {seed: answers(400, 0.9, seed) for seed in (7, 8, 9)}
    results = tuple(
        SeedResult(seed=seed, validation=0.9, evaluation=evaluation(scores(items), 400)) for seed, items in made.items()
    )
    means = {name: float(np.mean([one.evaluation.metrics[name] for one in results])) for name in ("f1", "accuracy")}
    rows = tuple(
        replace(row, seeds=results, evaluation=evaluation(means, 400)) if row.name == "best trial" else row
        for row in run.result.contenders
    )
    files = {seed_name(9, seed): items for seed, items in made.items()}
    return replace(run, result=replace(run.result, contenders=rows), seed_predictions=files)


def test_several_seeds_have_the_interval_of_their_mean():
    run = seeded_run(scored_run())
    found = metric_intervals(run)
    interval = found.found["best trial", "accuracy"]
    assert interval.value == pytest.approx(run.contender("best trial").evaluation.metrics["accuracy"], abs=1e-12)
    one = metric_intervals(scored_run()).found["best trial", "accuracy"]
    assert interval.high - interval.low < one.high - one.low  # errors of different seeds are not the same ones here
    assert "as if no other seed were possible" in found.note


def test_a_contender_whose_seeds_are_not_all_kept_has_none_and_is_named():
    run = seeded_run(scored_run())
    found = metric_intervals(replace(run, seed_predictions=dict(list(run.seed_predictions.items())[:2])))
    assert {name for name, _ in found.found} == {"recommendation", "untuned base model", "majority class"}
    assert "Predictions of best trial are not kept whole, or do not give the values on record." in found.note


def test_predictions_that_do_not_give_the_value_on_record_give_no_interval():
    run = scored_run()
    changed = {**run.predictions, "best-trial": answers(400, 0.4, 77)}
    found = metric_intervals(replace(run, predictions=changed))
    assert ("best trial", "f1") not in found.found
    assert ("recommendation", "f1") in found.found
    assert "Predictions of best trial" in found.note


def test_without_whole_predictions_it_is_said_that_there_are_no_intervals():
    found = metric_intervals(fixtures.run_folder())
    assert found.found == {}
    assert "predictions for the whole test split are not kept" in found.note
    assert metric_intervals(fixtures.run_folder(result=None)) is None


def test_a_large_split_is_judged_by_a_sample_that_is_scaled(monkeypatch):
    run = scored_run(3000)
    whole = metric_intervals(run).found["best trial", "accuracy"]
    monkeypatch.setattr(intervals, "_CHEAP_S", 0.08)  # about 900 examples
    sampled = metric_intervals(run)
    interval = sampled.found["best trial", "accuracy"]
    assert interval.value == run.contender("best trial").evaluation.metrics["accuracy"]
    assert interval.high - interval.low == pytest.approx(whole.high - whole.low, rel=0.25)
    assert "For accuracy a sample of " in sampled.note
    assert "of the 3,000 examples was resampled and scaled to all." in sampled.note


def test_metrics_that_would_take_too_long_are_named(monkeypatch):
    monkeypatch.setattr(intervals, "_CHEAP_S", 0.0)
    found = metric_intervals(scored_run())
    assert {metric for _, metric in found.found} == {"f1"}
    assert "accuracy would take too long here and has none." in found.note


def test_the_primary_metric_of_long_texts_has_an_interval_all_the_same(monkeypatch):
    monkeypatch.setattr(intervals, "_PRIMARY_S", 0.0)
    found = metric_intervals(scored_run())
    assert found.found.keys() >= {("best trial", "f1"), ("best trial", "accuracy")}
    assert "For F1 a sample of 100 of the 400 examples was resampled and scaled to all." in found.note


def generated(task, made, metrics):
    """Return a run of another task whose contenders all said the same."""
    result = fixtures.result()
    rows = tuple(replace(row, evaluation=evaluation(metrics, len(made))) for row in result.contenders)
    plan = replace(result.plan, primary_metric=next(iter(metrics)))
    changed = replace(result, task=task, contenders=rows, plan=plan)
    names = [row.name.replace(" ", "-") for row in rows]
    return fixtures.run_folder(result=changed, predictions=dict.fromkeys(names, made))


def prediction(i, expected, predicted):
    return Prediction(example_id=str(i), source="", expected=expected, predicted=predicted)


def test_texts_are_measured_as_texts():
    made = tuple(
        prediction(i, f"return the sum of {i} numbers", f"return the sum of {i if i % 3 else 7} items")
        for i in range(60)
    )
    expected, predicted = [one.expected for one in made], [one.predicted for one in made]
    metrics = measure(("bleu", "rouge-l", "chrf"), expected, predicted)
    found = metric_intervals(generated("code-summarization", made, metrics)).found
    for name, value in metrics.items():
        interval = found["best trial", name]
        assert interval.low < value < interval.high


def test_sets_of_labels_and_ranks_are_read_as_they_were_written():
    sets = [json.dumps(labels) for labels in ([], ["a"], ["a", "b"], ["b"])]
    made = tuple(prediction(i, sets[i % 4], sets[i % 4 if i % 5 else 1]) for i in range(80))
    share = sum(one.expected == one.predicted for one in made) / 80
    found = metric_intervals(generated("code-comment-classification", made, {"subset-accuracy": share})).found
    assert found["best trial", "subset-accuracy"].low < share < found["best trial", "subset-accuracy"].high

    ranked = tuple(prediction(i, "[1]", json.dumps([1 + i % 4])) for i in range(80))
    mrr = (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    found = metric_intervals(generated("code-search", ranked, {"mrr": mrr})).found
    assert found["best trial", "mrr"].low < mrr < found["best trial", "mrr"].high


@pytest.mark.parametrize("task", ["code-comment-classification", "code-search", "clone-detection"])
def test_predictions_of_another_form_break_nothing(task):
    made = tuple(prediction(i, "not a list", "{}") for i in range(60))
    metric = {"code-search": "mrr", "code-comment-classification": "macro-f1"}.get(task, "roc-auc")
    found = metric_intervals(generated(task, made, {metric: 0.5}))
    assert found.found == {}
    assert "do not give the values on record" in found.note


def test_runs_of_programs_count_those_that_passed():
    made = tuple(
        replace(prediction(i, "", "print()"), outcome="passed" if i % 4 else "failed", error="") for i in range(80)
    )
    found = metric_intervals(generated("code-generation", made, {"pass@1": 0.75})).found
    assert found["best trial", "pass@1"].low < 0.75 < found["best trial", "pass@1"].high
