"""Lines over parallel scales."""

import json
from dataclasses import replace

import pytest

from advisor.report.parallel import Scale, parallel_figure, scales_of
from tests.report import fixtures


def lines(figure):
    return [trace for trace in figure["data"] if trace["mode"] == "lines+markers"]


def titles(figure):
    return [one["text"] for one in figure["layout"]["annotations"] if one["text"].startswith("<b>")]


def test_numbers_lie_by_their_distance_and_learning_rates_by_powers_of_ten():
    plain = Scale(title="epochs", values=(1, 3, 5))
    assert [plain.place(value) for value in (1, 2, 5)] == [0, 0.25, 1]
    log = Scale(title="learning rate", values=(1e-5, 1e-4, 1e-1), is_log=True)
    assert [log.place(value) for value in (1e-5, 1e-4, 1e-1)] == pytest.approx([0, 0.25, 1])


def test_words_are_equally_far_apart_and_absent_ones_lie_left_of_all():
    scale = Scale(title="method", values=("lora", "ia3", None, "vera"))
    assert [scale.place(value) for value in ("ia3", "lora", "vera")] == [0, 0.5, 1]
    assert scale.place(None) < 0
    truth = Scale(title="DoRA", values=(True, False))
    assert (truth.place(False), truth.place(True)) == (0, 1)


def test_long_logarithmic_scales_have_powers_of_ten_between_their_ends():
    scale = Scale(title="learning rate", values=tuple(3e-6 * 4**i for i in range(9)), is_log=True)
    texts = [text for _, text in scale.ticks()]
    assert texts == ["3e-06", "0.0001", "0.001", "0.01", "0.1966"]  # 1e-5 and 0.1 stand too near to the ends
    places = [place for place, _ in scale.ticks()]
    assert places == sorted(places)


def test_numbers_that_would_run_into_each_other_are_not_written():
    scale = Scale(title="epochs", values=(0, 1, 5, 9, 10))
    assert [text for _, text in scale.ticks()] == ["0", "5", "10"]


def test_the_scales_are_what_differs_and_the_metric():
    found = scales_of(fixtures.trials(), "f1")
    assert [scale.title for scale in found] == ["method", "learning rate", "rank", "alpha", "F1 (validation)"]
    assert [scale.is_log for scale in found] == [False, True, False, False, False]
    several = (*fixtures.trials(), fixtures.trial(14, (0.5,), of=fixtures.candidate(base_model="org/other")))
    assert scales_of(several, "f1")[0].title == "base model"


def test_every_trial_is_one_line_with_the_best_and_the_recommendation_on_top():
    figure = parallel_figure(fixtures.run_folder(), "f1")
    json.dumps(figure, allow_nan=False)
    drawn = lines(figure)
    assert len(drawn) == 14
    assert [line["name"] for line in drawn[-2:]] == ["recommendation (0)", "best trial (9)"]
    assert drawn[-1]["line"]["width"] > drawn[-2]["line"]["width"] > drawn[0]["line"]["width"]
    pruned = next(line for line in drawn if line["name"] == "pruned")
    complete = next(line for line in drawn if line["name"] == "complete")
    assert pruned["opacity"] < complete["opacity"]
    assert all(len(line["x"]) == len(line["y"]) == len(titles(figure)) for line in drawn)


def test_a_choice_of_another_method_is_left_of_the_scale():
    figure = parallel_figure(fixtures.run_folder(), "f1")
    other = next(line for line in lines(figure) if "trial 1," in line["text"][0])  # the one with (IA)3
    rank = [title.split("<b>")[1].split("<")[0] for title in titles(figure)].index("rank")
    assert other["x"][rank] < 0
    assert other["x"][0] == 0


def test_one_trial_has_no_lines_to_compare():
    assert parallel_figure(fixtures.run_folder(trials=fixtures.trials()[:1], result=None), "f1") is None
    assert parallel_figure(fixtures.run_folder(trials=(), result=None), "f1") is None


def test_the_recommendation_that_is_best_is_called_both():
    run = fixtures.run_folder(result=replace(fixtures.result(), best_trial=0))
    names = {line["name"] for line in lines(parallel_figure(run, "f1"))}
    assert "best trial (0, the recommendation)" in names
    assert not any(name.startswith("recommendation") for name in names)


def test_text_from_outside_is_no_markup():
    figure = parallel_figure(fixtures.hostile_run(), "f1")
    assert "<script" not in json.dumps(figure)
    assert "<img" not in json.dumps(figure)
