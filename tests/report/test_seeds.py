"""Several seeds in the report: tables, the note on intervals, and what is said in the first lines."""

from dataclasses import replace

import pytest

from advisor.report.html_page import render_html
from advisor.report.limits import limits
from advisor.report.markdown import render_markdown
from advisor.report.model_card import write_model_card
from advisor.report.page import build_page
from advisor.report.seeds import (
    adapter_note,
    finalists_table,
    finals_sentence,
    interval_note,
    split_table,
    spread,
)
from advisor.report.verdict import judge
from advisor.result import Finalist, SeedValue
from advisor.trial import TrialFailure
from tests.report import fixtures
from tests.report.documents import Document


def finals(**changes):
    return replace(fixtures.finals(), **changes)


def run(**changes):
    return fixtures.run_folder(result=replace(fixtures.seeded_result(), **changes))


def test_the_spread_is_the_standard_deviation_of_a_sample():
    assert spread((0.8, 0.9)) == "± 0.071"
    assert spread((1.0, 2.0, 3.0)) == "± 1.000"
    assert spread((0.8,)) == "–"


def test_finalists_stand_with_every_seed_mean_and_spread_and_the_winner_in_bold():
    table = finalists_table(run())
    assert table is not None
    assert [column.title for column in table.columns] == [
        "Trial", "Method", "Seed 7", "Seed 8", "Seed 9", "Mean", "Spread",
    ]  # fmt: skip
    assert [row.strong for row in table.rows] == [True, False]
    # 0.865, 0.845 and 0.855: mean 0.855, standard deviation 0.01.
    assert table.rows[0].cells[0] == "9"
    assert table.rows[0].cells[2:] == ("0.865", "0.845", "0.855", "0.855", "± 0.010")
    assert table.rows[1].cells[:2] == ("0", "LoRA, learning_rate=0.0004 (recommendation)")


def test_a_seed_that_failed_says_why_in_its_place():
    failed = SeedValue(seed=8, value=None, failure=TrialFailure(kind="nan-loss", message="loss is NaN"))
    second = Finalist(trial=0, values=(SeedValue(seed=7, value=0.81), failed, SeedValue(seed=9, value=0.80)))
    made = finals(finalists=(fixtures.finals().finalists[0], second))
    table = finalists_table(run(finals=made))
    assert table is not None
    assert table.rows[1].cells[2:5] == ("0.810", "nan-loss", "0.800")
    assert table.rows[1].cells[5] == "0.805"
    assert "trial 0 could not be trained with every seed and came last" in (finals_sentence(made) or "")


def test_the_test_split_is_shown_with_every_seed():
    table = split_table(fixtures.seeded_result())
    assert table is not None
    assert [row.cells[0] for row in table.rows] == ["best trial", "recommendation"]
    # 0.843, 0.853 and 0.833.
    assert table.rows[0].cells[1:] == ("0.843", "0.853", "0.833", "0.843", "± 0.010")


def test_without_a_second_seed_there_is_no_word_of_seeds():
    one = fixtures.run_folder()
    assert finalists_table(one) is None
    assert finals_sentence(None) is None
    assert one.result is not None
    assert split_table(one.result) is None
    assert adapter_note(one.result) is None
    assert "seed" not in (interval_note(one.result.differences) or "")
    assert "seed" not in judge(one).sentence


def test_the_note_on_intervals_says_what_they_cover():
    note = interval_note(fixtures.seeded_result().differences)
    assert note is not None
    assert "over the test examples and, by Student's t, over the choice of the 3 seeds (10,000 resamples)" in note
    assert interval_note(()) is None


def test_the_first_lines_name_gain_interval_and_number_of_seeds():
    verdict = judge(run())
    assert verdict.headline == "Better than the recommendation and the baselines"
    assert "reaches F1 0.843, the mean of 3 seeds, on 400 test examples" in verdict.sentence
    assert "0.031 above the recommendation" in verdict.sentence


def test_a_recommendation_that_is_kept_after_the_finals_says_who_was_ahead_before():
    kept = replace(fixtures.seeded_result(), best_trial=0, differences=())
    rows = tuple(replace(row, trial=0) if row.name == "best trial" else row for row in kept.contenders)
    kept = replace(kept, contenders=rows, finals=finals(finalists=fixtures.finals().finalists[::-1]))
    verdict = judge(fixtures.run_folder(result=kept))
    assert verdict.headline == "The recommendation stands: the search found nothing better"
    assert "Trial 9 was ahead of it in the search, but not over 3 seeds on the validation split." in verdict.advice
    assert "no other was ahead of the recommendation" in (finals_sentence(kept.finals) or "")


def test_the_adapter_is_said_to_be_that_of_one_seed_with_its_own_metric():
    note = adapter_note(fixtures.seeded_result())
    assert note is not None
    assert "that of seed 7, of 3 seeds the best on the validation split (0.865)" in note
    assert "By itself it reaches F1 0.843 on the test split" in note


@pytest.mark.parametrize(("stopped", "why"), [("time", "the time was up"), ("interrupted", "they were interrupted")])
def test_finals_that_were_cut_short_say_so(stopped, why):
    cut = finals(stopped=stopped, counted=(7, 8))
    assert f"Of 3 planned seeds 2 count because {why}" in (finals_sentence(cut) or "")
    assert f"The finals ended with 2 of 3 planned seeds because {why}." in limits(run(finals=cut))


@pytest.mark.parametrize(
    ("stopped", "why"), [("time", "the time was up"), ("interrupted", "the study was interrupted")]
)
def test_finals_that_were_planned_but_did_not_take_place_say_so(stopped, why):
    first = tuple(replace(one, values=one.values[:1]) for one in fixtures.finals().finalists)
    made = finals(stopped=stopped, counted=(7,), finalists=first)
    assert finals_sentence(made) == (
        f"No finalist was trained with another seed because {why}: one run of each decides."
    )
    assert finalists_table(run(finals=made)) is None
    assert finals_sentence(finals(seeds=(7,), counted=(7,), finalists=first)) is None


def test_the_limits_say_what_another_seed_does_not_change():
    (said,) = (text for text in limits(run()) if "seed" in text)
    assert said.startswith("The finalists were trained with 3 seeds, all other trials with one.")
    assert "their order stay the same" in said


def test_finals_without_a_second_seed_leave_the_warning_about_one_seed():
    one = finals(seeds=(7,), counted=(7,))
    assert any("Every configuration was trained with one seed" in text for text in limits(run(finals=one)))


def test_both_pages_have_the_same_tables_of_seeds():
    page = build_page(run())
    markdown, document = render_markdown(page), Document(render_html(page))
    assert document.problems == []
    for caption in (
        "Finalists: F1 on the validation split with each seed, the winner first",
        "F1 on the test split with each seed",
        "Final comparison on the test split; of several seeds the means",
    ):
        assert caption in markdown
        assert caption in document.of("caption")
    for text in (markdown, document.text):
        assert "2 finalists were trained again to the end with other seeds" in text
        assert "The saved adapter is that of seed 7" in text
        assert "3 seeds" in text


def test_the_model_card_has_the_metric_of_its_own_adapter(tmp_path):
    result = fixtures.seeded_result()
    # On validation data the second seed is ahead; on the test split it has 0.853, the mean is 0.843.
    rows = tuple(
        replace(row, seeds=(row.seeds[0], replace(row.seeds[1], validation=0.9), row.seeds[2])) if row.seeds else row
        for row in result.contenders
    )
    folder = fixtures.write_run(tmp_path, fixtures.run_folder(result=replace(result, contenders=rows)))
    (folder / "best_adapter").mkdir()
    text = write_model_card(folder).read_text(encoding="utf-8")
    assert "value: 0.853" in text
    assert "The saved adapter is that of seed 8" in text
