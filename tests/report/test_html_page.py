"""The HTML report: whole, self-contained, and deaf to hostile text."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from advisor.report.html_page import render_html
from advisor.report.page import build_page
from advisor.report.reasons import Citation
from tests.report import fixtures
from tests.report.documents import Document

HOSTILE_FILE = Path(__file__).parents[2].parent / "shared" / "data" / "malformed" / "20-injection-strings.jsonl"
HEADINGS = [
    "What to run now", "Result on the test split", "Load the adapter", "What was asked", "Data",
    "What was recommended, and why", "Memory", "What was tried", "What it cost", "Predictions", "Reload check",
    "What this run does not show", "Run it again",
]  # fmt: skip
FIGURES = ["history", "curves", "parallel", "training-time", "training-memory"]


def rendered(run):
    return render_html(build_page(run))


@cache
def finished():
    saved = {"best-trial": fixtures.predictions(5), "untuned-base-model": fixtures.predictions(2)}
    html = rendered(fixtures.run_folder(predictions=saved))
    return html, Document(html)


def test_the_page_is_well_formed_and_its_sections_stand_in_order():
    html, document = finished()
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert document.problems == []
    assert document.of("h1") == ["Better than the recommendation and the baselines"]
    assert document.of("h2") == HEADINGS


def test_every_table_has_a_caption_and_column_heads_with_scope():
    _, document = finished()
    assert len(document.attributes("caption")) == len(document.attributes("table")) >= 7
    assert {head.get("scope") for head in document.attributes("th")} == {"col", "row"}


def test_numbers_of_the_records_are_on_the_page():
    text = finished()[1].text.replace("\u00a0", " ")
    for said in (
        "0.843", "0.441", "0.656", "0.812", "+0.007 to +0.055", "400 test examples",
        "data/test.jsonl", "77ce77ce77ce", "clone: 204 (51 %)", "2.5 GiB of device memory", "1.56 GiB", "1.38 GiB",
        "0.00011352", "failed: out-of-memory, CUDA out of memory at step 3", "pruned at step 60", "peft 0.21.2",
        "peft-advisor tune --task clone-detection --data data --trials 14", "pair-2", "20 min 34 s",
    ):  # fmt: skip
        assert said in text, said


def test_charts_are_interactive_and_described_in_words():
    _, document = finished()
    places = [a for a in document.attributes("div") if "data-figure" in a]
    assert [place["data-figure"] for place in places] == FIGURES
    assert all(place["role"] == "img" and place["aria-label"] for place in places)
    assert sorted(document.figures()) == sorted(FIGURES)


def test_nothing_is_fetched_and_only_our_scripts_may_run():
    html, document = finished()
    (policy,) = [m["content"] for m in document.attributes("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline'" not in policy.split("style-src")[0]
    assert "unsafe-eval" not in policy
    figures, packed, script = document.of("script")
    assert figures.startswith("{")
    assert policy.count("'sha256-") == 2
    for allowed in (script, unpacked(packed)):
        digest = base64.b64encode(hashlib.sha256(allowed.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"""src\s*=\s*["']?\s*(https?:|//)""", html.replace(packed, ""), re.IGNORECASE)
    for _, attributes in document.elements:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    assert [link["href"] for link in document.attributes("link")] == ["data:,"]


def unpacked(packed):
    return gzip.decompress(base64.b64decode(packed)).decode()


def test_plotly_stands_in_the_page_packed_and_as_it_is_installed():
    html, document = finished()
    assert unpacked(document.of("script")[1]) == get_plotlyjs().replace("\r\n", "\n")
    assert {"type": "application/octet-stream;base64", "id": "plotly"} in document.attributes("script")
    assert len(html) < 2_500_000


def test_a_hundred_trials_and_long_examples_stay_far_under_five_megabytes():
    trials = tuple(replace(fixtures.trials()[i % 14], number=i) for i in range(100))
    long = tuple(replace(one, source=one.source * 500, predicted="x" * 100_000) for one in fixtures.predictions(2))
    html = rendered(fixtures.run_folder(trials=trials, predictions={"best-trial": long, "untuned-base-model": long}))
    assert len(html) < 3_000_000


def test_a_page_without_charts_has_no_plotly():
    document = Document(rendered(fixtures.run_folder(result=None, trials=())))
    assert [attributes.get("id") for attributes in document.attributes("script")] == ["figures", None]


def test_the_command_to_run_now_names_no_absolute_path():
    page = build_page(fixtures.run_folder())
    assert page.next.command == "peft-advisor predict . --input new.jsonl --output predictions.jsonl"
    assert page.next.text.startswith("Run from the folder of this report")
    assert build_page(fixtures.run_folder(result=fixtures.result(reload_passed=False))).next is None
    search = replace(fixtures.result(), task="code-search")
    assert "--codebase code.jsonl" in build_page(fixtures.run_folder(result=search)).next.command


@pytest.mark.parametrize(
    ("method", "loaders"),
    [("lora", "PEFT alone"), ("bitfit", "PEFT and the tuners of peft-advisor"), ("full", "transformers alone")],
)
def test_the_check_of_the_adapter_says_what_loaded_it(method, loaders):
    page = build_page(fixtures.run_folder(result=fixtures.result(best=fixtures.candidate(method=method))))
    assert f"when loaded by {loaders}" in page.reload_check


def test_what_is_not_better_than_nothing_is_offered_to_be_looked_at():
    worse = fixtures.result([fixtures.difference("majority class", -0.1, 0.05)])
    assert build_page(fixtures.run_folder(result=worse)).next.text.startswith(
        "To see for yourself what it answers: run"
    )


def test_reasons_have_the_titles_that_a_recommendation_prints():
    recommended = build_page(fixtures.run_folder()).recommended
    assert [reason.choice for reason in recommended.reasons] == ["method", "learning rate", "base model"]


def test_same_records_give_the_same_bytes():
    saved = {"best-trial": fixtures.predictions(5), "untuned-base-model": fixtures.predictions(2)}
    assert rendered(fixtures.run_folder(predictions=saved)) == finished()[0]


def test_an_unfinished_study_has_no_result_and_says_so():
    document = Document(rendered(fixtures.run_folder(result=None)))
    assert document.problems == []
    assert document.of("h1") == ["This study is not finished"]
    absent = {"What to run now", "Result on the test split", "Load the adapter", "Predictions", "Reload check"}
    assert document.of("h2") == [heading for heading in HEADINGS if heading not in absent]


def test_a_study_without_any_trial_is_a_page_too():
    document = Document(rendered(fixtures.run_folder(result=None, trials=())))
    assert document.problems == []
    assert document.figures() == {}


def test_a_recommendation_without_candidates_is_a_page_too():
    run = fixtures.run_folder()
    empty = replace(run.recommendation, candidates=(), rejected=())
    assert "holds no candidate" in Document(rendered(replace(run, recommendation=empty))).text


def test_links_lead_to_sources_without_a_referrer():
    page = build_page(fixtures.run_folder())
    citation = Citation(
        id="x-1", finding="F", figure="f1 0.9", setting="CodeBERT", paper="Paper (2023)", caveats="",
        url="https://example.org/a?b=1&c=2", locator="Table 2", seen="abstract only",
    )  # fmt: skip
    assert page.recommended is not None
    reason = replace(page.recommended.reasons[0], citations=(citation,))
    document = Document(render_html(replace(page, recommended=replace(page.recommended, reasons=(reason,)))))
    assert document.problems == []
    assert document.attributes("a") == [{"rel": "noreferrer", "href": "https://example.org/a?b=1&c=2"}]


def hostile_texts():
    texts = list(fixtures.HOSTILE)
    if HOSTILE_FILE.exists():
        texts += [json.loads(line)["source"] for line in HOSTILE_FILE.read_text(encoding="utf-8").splitlines()]
    return texts


def test_hostile_text_adds_no_element_and_no_attribute():
    tame = ["plain text"] * len(hostile_texts())
    tame[1] = "other text"
    expected = Document(rendered(fixtures.hostile_run(tame)))
    document = Document(rendered(fixtures.hostile_run(hostile_texts())))
    assert document.problems == []
    allowed = {tag for tag, _ in expected.elements}
    assert {tag for tag, _ in document.elements} <= allowed
    assert document.attributes("a") == []
    assert document.attributes("img") == []
    for _, attributes in document.elements:
        assert not any(name.startswith("on") for name in attributes)
    assert len(document.attributes("script")) == len(expected.attributes("script"))


def test_hostile_text_is_shown_as_it_is():
    text = Document(rendered(fixtures.hostile_run())).text
    for shown in ("<script>alert(1)</script>", "{{7*7}} ${7*7}", "\\u202egnp.exe", "\\ud800", "&#x3c;b&#x3e;"):
        assert shown in text


def test_the_hostile_strings_of_the_shared_data_were_tried():
    if not HOSTILE_FILE.exists():
        pytest.skip("shared/data/malformed is not beside this checkout")
    assert len(hostile_texts()) > len(fixtures.HOSTILE)
