"""The interactive charts as data."""

import json
from dataclasses import replace

import pytest

from advisor.report.charts import curves_figure, history_figure, plotly_text, trade_off_figure
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


def trade_off(cost, run=None):
    figure = trade_off_figure(run or fixtures.weighed_run(), "f1", cost)
    assert figure is not None
    return figure, {trace["name"]: trace for trace in figure["data"] if "name" in trace}


def test_quality_stands_against_what_prediction_takes_with_the_front_apart():
    figure, traces = trade_off("memory")
    assert set(traces) == {"delivered", "middle way", "front", "beaten by another"}
    assert list(traces["delivered"]["x"]) == [500 / 1024]
    assert list(traces["front"]["x"]) == [300 / 1024]
    assert list(traces["front"]["y"]) == [0.731]
    assert list(traces["beaten by another"]["x"]) == [450 / 1024]
    assert figure["layout"]["xaxis"]["title"]["text"] == "memory (GiB)"
    assert "tickformat" not in {k: v for k, v in figure["layout"]["xaxis"].items() if v is not None}
    json.dumps(figure, allow_nan=False)


def test_short_times_are_drawn_in_milliseconds_and_the_hover_tells_all():
    figure, traces = trade_off("latency")
    assert figure["layout"]["xaxis"]["title"]["text"] == "time per example (ms)"
    assert list(traces["middle way"]["x"]) == [pytest.approx(3.0)]
    assert "trial 0, 0.812, 0.39\u00a0GiB, 3\u00a0ms per example" in traces["middle way"]["text"][0]


def test_a_front_of_two_objectives_is_a_line_and_one_of_three_is_not():
    assert all(trace["mode"] == "markers" for trace in trade_off("memory")[0]["data"])
    run = fixtures.weighed_run()
    assert run.result is not None
    two = replace(run.result.trade_offs, objectives=("quality", "memory"))
    line = trade_off("memory", fixtures.weighed_run(trade_offs=two))[0]["data"][0]
    assert (line["mode"], line["line"]["shape"]) == ("lines", "hv")
    assert list(line["y"]) == sorted(line["y"])


def test_without_measurements_there_is_no_chart_of_trade_offs():
    assert trade_off_figure(fixtures.run_folder(), "f1", "memory") is None
    assert trade_off_figure(fixtures.run_folder(result=None), "f1", "memory") is None
