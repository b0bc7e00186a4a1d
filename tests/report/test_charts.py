"""The interactive charts as data."""

import json

from advisor.report.charts import curves_figure, history_figure, plotly_text
from advisor.trial import TrialFailure
from tests.report import fixtures


def traces(figure):
    return {trace["name"]: trace for trace in figure["data"]}


def test_history_shows_every_trial_once_and_the_best_so_far():
    drawn = traces(history_figure(fixtures.run_folder(), "f1"))
    points = [x for name, trace in drawn.items() if name != "best so far" for x in trace["x"]]
    assert sorted(points) == list(range(14))
    assert list(drawn["best trial"]["x"]) == [9]
    assert list(drawn["failed"]["x"]) == [5, 11]
    assert drawn["failed"]["yaxis"] == "y2"
    best = list(drawn["best so far"]["y"])
    assert best == sorted(best)
    assert best[-1] == fixtures.trials()[9].value


def test_curves_show_the_best_trial_strongest_and_pruned_ones_dashed():
    figure = curves_figure(fixtures.run_folder(), "f1")
    drawn = traces(figure)
    assert figure["data"][-1]["name"] == "best trial (9)"
    assert drawn["recommendation (0)"]["line"]["dash"] == "solid"
    assert drawn["other, pruned"]["line"]["dash"] == "dash"
    assert drawn["other, failed"]["line"]["dash"] == "dot"
    assert list(drawn["best trial (9)"]["x"]) == [20, 60, 180]
    assert len(figure["data"]) == 13  # trial 5 failed before its first rung


def test_figures_are_plain_json():
    for figure in (history_figure(fixtures.run_folder(), "f1"), curves_figure(fixtures.run_folder(), "f1")):
        json.dumps(figure, allow_nan=False)


def test_values_that_are_no_numbers_are_left_out():
    trials = (fixtures.trial(0, (0.5, float("nan"))), fixtures.trial(1, (0.4, 0.6)))
    json.dumps(history_figure(fixtures.run_folder(trials=trials), "f1"), allow_nan=False)
    json.dumps(curves_figure(fixtures.run_folder(trials=trials), "f1"), allow_nan=False)


def test_nothing_measured_gives_no_chart():
    failed = (fixtures.trial(0, (), state="failed", failure=TrialFailure(kind="error", message="x")),)
    assert history_figure(fixtures.run_folder(trials=failed), "f1") is None
    assert curves_figure(fixtures.run_folder(trials=failed), "f1") is None


def test_text_from_outside_is_no_markup_for_plotly():
    assert plotly_text('<a href="javascript:alert(1)">x</a>') == '&lt;a href="javascript:alert(1)"&gt;x&lt;/a&gt;'
    failure = TrialFailure(kind="error", message="<b>bold</b>")
    trials = (fixtures.trial(0, (0.5,)), fixtures.trial(1, (0.5,), state="failed", failure=failure))
    (hover,) = traces(history_figure(fixtures.run_folder(trials=trials), "f1"))["failed"]["text"]
    assert "&lt;b&gt;bold&lt;/b&gt;" in hover
