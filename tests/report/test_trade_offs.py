"""The trade-offs of a report: who is on the front, what each gives and takes in words, and how far to trust it."""

from dataclasses import replace
from statistics import stdev

import pytest

from advisor.report.html_page import render_html
from advisor.report.markdown import render_markdown
from advisor.report.page import build_page
from advisor.report.trade_offs import against, seed_spread, trade_offs_part
from advisor.result import Finalist, SeedValue
from advisor.trial import TradeOff
from tests.report import fixtures
from tests.report.documents import Document

ALL = ("quality", "memory", "latency")
NBSP = "\u00a0"


def point(quality: float = 0.8, memory_bytes: int = 1000, latency_s: float = 0.01, trial: int = 0) -> TradeOff:
    return TradeOff(trial=trial, quality=quality, memory_bytes=memory_bytes, latency_s=latency_s)


def part(run=None):
    found = trade_offs_part(run or fixtures.weighed_run())
    assert found is not None
    return found


def words(text: str) -> str:
    return text.replace(NBSP, " ")


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (point(0.75, 500, 0.008), "gets 50 % less memory and 20 % less time; accepts 0.050 less F1"),
        (point(0.8, 250, 0.012), "gets 75 % less memory; accepts 20 % more time"),
        (point(0.85, 1500, 0.01), "gets 0.050 more F1; accepts 50 % more memory"),
        (point(0.8, 1000, 0.00999), "gets under 1 % less time"),
        (point(0.7, 1000, 0.01), "accepts 0.100 less F1"),
        (point(), "the same in all of it"),
    ],
)
def test_what_a_trial_gives_and_takes_is_said_in_plain_words(one, said):
    assert words(against(one, point(), ALL, "f1")) == said


def test_what_nobody_looked_for_is_not_weighed():
    assert words(against(point(0.7, 500, 0.02), point(), ("quality", "memory"), "f1")) == (
        "gets 50 % less memory; accepts 0.100 less F1"
    )


def test_the_front_stands_in_a_table_with_the_delivered_trial_first():
    table = part().table
    assert [column.title for column in table.columns] == [
        "Trial", "Method", "F1 (validation, one run)", "F1 (mean of seeds)", "Memory", "Time per example", "Adapter",
        "Against the delivered one",
    ]  # fmt: skip
    cells = [tuple(map(words, row.cells)) for row in table.rows]
    assert [row.strong for row in table.rows] == [True, False, False]
    assert cells[0] == ("9", "LoRA (delivered)", "0.870", "0.855", "0.49 GiB", "4 ms", "merged", "–")
    assert cells[1][:7] == ("0", "LoRA (middle way)", "0.812", "0.812", "0.39 GiB", "3 ms", "merged")
    # 0.8697 - 0.812 = 0.0577; 100 of 500 MiB; 1 of 4 ms
    assert cells[1][7] == "gets 20 % less memory and 25 % less time; accepts 0.058 less F1"
    assert cells[2][:2] == ("1", "(IA)3")
    assert cells[2][3] == "–"
    assert cells[2][6] == "beside the weights"


def test_the_noise_of_the_seeds_is_told_where_the_finals_measured_it():
    # Both finalists: 0.01 (0.865, 0.845, 0.855 and 0.812, 0.822, 0.802).
    assert seed_spread(fixtures.finals()) == pytest.approx(0.01)
    noise = words(part().notes[0])
    assert "± 0.010 (standard deviation)" in noise
    assert "may differ by 0.028" in noise  # 1.96 x sqrt(2) x 0.01
    assert "was not measured" in part(fixtures.weighed_run(finals=None)).notes[0]
    assert seed_spread(None) is None


def test_the_spread_is_pooled_over_finalists_by_their_degrees_of_freedom():
    def finalist(trial: int, *values: float) -> Finalist:
        return Finalist(trial=trial, values=tuple(SeedValue(seed=i, value=v) for i, v in enumerate(values)))

    finals = replace(
        fixtures.finals(),
        seeds=(0, 1, 2),
        counted=(0, 1, 2),
        finalists=(finalist(0, 0.5, 0.6, 0.7), finalist(1, 0.5, 0.9), finalist(2, 0.4)),
    )
    expected = ((2 * stdev((0.5, 0.6, 0.7)) ** 2 + stdev((0.5, 0.9)) ** 2) / 3) ** 0.5
    assert seed_spread(finals) == pytest.approx(expected)


def test_how_it_was_measured_and_where_the_adapters_are_is_said():
    notes = " ".join(part().notes)
    for said in ("24 validation examples, 8 at a time, on cuda (Test GPU)", "an estimate", "trials/<number>/adapter"):
        assert said in notes
    assert "new token" not in notes


def test_generated_tokens_and_a_measured_peak_are_told():
    run = fixtures.weighed_run()
    taken = {one.number: one.inference for one in run.trials}
    first = replace(taken[9], new_tokens=12, memory_basis="measured")
    trials = tuple(replace(one, inference=first) if one.number == 9 else one for one in run.trials)
    note = part(replace(run, trials=trials)).notes[1]
    assert "with 12 new tokens each" in note
    assert "memory is measured on the device" in note


def test_with_quality_alone_it_is_short_and_only_there_where_there_is_a_choice():
    run = fixtures.weighed_run(("quality",))
    assert part(run).costs == ()
    assert build_page(run).trade_off_charts == ()
    assert run.result is not None
    assert run.result.trade_offs is not None
    alone = replace(run.result.trade_offs, front=(9,), knee=None)
    assert trade_offs_part(fixtures.weighed_run(("quality",), trade_offs=alone)) is None
    assert "there is nothing to trade" in part(fixtures.weighed_run(trade_offs=alone)).summary
    assert trade_offs_part(fixtures.run_folder()) is None
    assert trade_offs_part(fixtures.run_folder(result=None)) is None


def test_equal_trials_are_no_choice():
    run = fixtures.weighed_run(("quality",))
    trials = (point(trial=9), point(trial=0))
    same = replace(run.result.trade_offs, trials=trials, front=(9, 0), knee=None)
    assert trade_offs_part(fixtures.weighed_run(("quality",), trade_offs=same)) is None


def test_a_delivered_trial_that_another_beats_is_shown_with_the_reason():
    found = fixtures.weighed_run().result.trade_offs
    by_finals = replace(found, front=(0, 1), knee=None)
    shown = part(fixtures.weighed_run(trade_offs=by_finals))
    assert shown.table.rows[0].cells[0] == "9"
    assert "the seeds of the finals decided for it" in shown.summary
    tie = (point(trial=9), point(memory_bytes=900, trial=0))
    equal = replace(found, trials=tie, front=(0,), knee=None)
    assert "Trial 0 is as good in one run and takes less." in part(fixtures.weighed_run(trade_offs=equal)).summary
    unmeasured = replace(found, trials=tie[1:], front=(0,), knee=None)
    assert "It was not measured itself." in part(fixtures.weighed_run(trade_offs=unmeasured)).summary


def test_both_reports_have_the_section_and_the_page_its_charts():
    page = build_page(fixtures.weighed_run())
    document = Document(render_html(page))
    assert document.problems == []
    assert document.of("h2")[1:5] == ["Result on the test split", "Load the adapter", "Trade-offs", "What was asked"]
    assert sorted(document.figures()) == ["curves", "history", "parallel", "trade-off-latency", "trade-off-memory"]
    assert "weighed against" in document.text.lower()
    markdown = render_markdown(page)
    assert "## Trade-offs" in markdown
    assert "accepts 0.058 less F1" in markdown
    assert "Every trial was trained to its end" in markdown


def test_hostile_text_stays_text():
    hostile, weighed = fixtures.hostile_run(), fixtures.weighed_run()
    taken = {one.number: one.inference for one in weighed.trials}
    trials = tuple(replace(one, inference=taken.get(one.number)) for one in hostile.trials)
    other = replace(trials[1], candidate=replace(trials[1].candidate, base_model="<b>other</b>", method="<i>m</i>"))
    result = replace(hostile.result, trade_offs=weighed.result.trade_offs, plan=weighed.result.plan)
    page = build_page(replace(hostile, trials=(trials[0], other, *trials[2:]), result=result))
    html = render_html(page)
    assert Document(html).problems == []
    assert "<b>other</b>" not in html
    assert "<i>m</i>" not in html.replace("&lt;i&gt;", "")
    assert "\\<b\\>other" in render_markdown(page)
