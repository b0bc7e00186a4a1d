"""What decided, in words, bars and numbers."""

import json

from advisor.importance import Importance, ParameterImportance
from advisor.report.search_section import importance_figure, importance_part
from tests.report import fixtures


def part(name, share, by_chance, method="lora", base=None, n_trials=10):
    return ParameterImportance(name=name, method=method, base=base, share=share, by_chance=by_chance, n_trials=n_trials)


PARTS = (
    part("learning_rate", 0.6, 0.0),
    part("method", 0.3, 0.04, method=None, n_trials=30),
    part("lora_dropout", 0.095, 0.4, base="org/other"),
    part("r", 0.005, 0.9),
)


def importance(*parts, n_finished=14, n_counted=30, n_pruned=12):
    return Importance(
        n_finished=n_finished, n_counted=n_counted, n_pruned=n_pruned, n_best=8, n_needed=20, n_shuffles=99,
        parameters=parts,
    )  # fmt: skip


def said_of(found):
    return importance_part(fixtures.run_folder(importance=found))


def test_what_stands_out_is_named_with_its_share_and_the_trials_it_rests_on():
    summary = said_of(importance(*PARTS)).summary.replace("\u00a0", " ")
    assert summary == (
        "The learning rate of LoRA decided most: 60 % of the importance, then method (30 %). It rests on 30 trials."
    )


def test_the_table_has_titles_for_people_and_how_often_chance_gives_as_much():
    rows = said_of(importance(*PARTS)).table.rows
    assert [tuple(cell.replace("\u00a0", " ") for cell in row.cells) for row in rows] == [
        ("learning rate of LoRA", "60 %", "0 of 99", "10"),
        ("method", "30 %", "4 of 99", "30"),
        ("dropout of LoRA on org/other", "10 %", "40 of 99", "10"),
        ("rank of LoRA", "under 1 %", "89 of 99", "10"),
    ]
    assert [row.strong for row in rows] == [True, True, False, False]


def test_what_chance_gives_too_is_no_finding():
    summary = said_of(importance(part("r", 1.0, 0.3))).summary
    assert summary.startswith("No choice stands out: over 30 trials")


def test_the_bars_are_in_order_with_the_largest_on_top():
    figure = importance_figure(importance(*PARTS))
    json.dumps(figure, allow_nan=False)
    drawn = {bar["name"]: list(bar["x"]) for bar in figure["data"]}
    assert drawn == {"stands out": [30.0, 60.0], "within chance": [0.5, 9.5]}
    order = figure["layout"]["yaxis"]["categoryarray"]
    assert order[-1].startswith("learning rate")
    assert order[0].startswith("rank")


def test_foreign_names_are_no_markup_for_plotly():
    hostile = part("<b>x</b>", 1.0, 0.0, method="<i>", base="<a href='x'>")
    assert "<b>" not in json.dumps(importance_figure(importance(hostile)))
    assert "<a " not in json.dumps(importance_figure(importance(hostile)))


def test_too_few_trials_are_said_with_their_number():
    found = said_of(importance(n_counted=12))
    assert "12 trials can be compared" in found.summary
    assert "20 are needed" in found.summary
    assert (found.figure, found.table, found.notes) == (None, None, ())
    ends = said_of(importance(n_counted=33, n_pruned=30))
    assert "3 of 33, and the best 8 must be among them" in ends.summary


def test_importance_of_fewer_trials_than_are_on_record_is_not_shown():
    assert said_of(importance(*PARTS, n_finished=13)) is None
    assert said_of(None) is None
