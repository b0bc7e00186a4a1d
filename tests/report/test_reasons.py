"""Reasons with the published rows behind them, from the evidence that ships."""

from advisor.evidence import find_rows
from advisor.recommendation import Reason
from advisor.report.reasons import cite_reasons


def cited(*ids):
    (reason,) = cite_reasons((Reason(choice="method", text="Because.", evidence=ids),))
    return reason.citations


def test_a_row_is_cited_with_paper_year_source_and_how_it_was_seen():
    (row,) = find_rows(["hu2021lora-001"])
    (citation,) = cited("hu2021lora-001")
    assert citation.finding == row.finding
    assert citation.paper == "LoRA: Low-Rank Adaptation of Large Language Models (2021)"
    assert (citation.url, citation.locator) == (row.source.url, row.source.locator)
    assert citation.seen == "repository file"
    assert "lr=0.0004" in citation.figure


def test_a_measured_result_is_cited_with_metric_value_and_its_rival():
    (row,) = find_rows(["shi2023telly-033"])
    (citation,) = cited("shi2023telly-033")
    assert citation.figure == f"{row.metric} {row.value:g} (full fine-tuning {row.baseline_full:g})"
    assert citation.setting.startswith("UniXcoder, CONCODE")


def test_rows_stay_in_their_order():
    assert [c.id for c in cited("shi2023telly-033", "hu2021lora-001")] == ["shi2023telly-033", "hu2021lora-001"]


def test_a_row_that_this_version_does_not_have_is_said_to_be_unknown():
    (citation,) = cited('no "such" row')
    assert citation.url is None
    assert "not in the evidence" in citation.finding


def test_a_reason_without_rows_has_no_citation():
    assert cited() == ()
