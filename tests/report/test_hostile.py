"""Every text of every record may be hostile: the page, the Markdown report and the model card show it as text."""

import shutil
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from advisor.report import write_model_card, write_report
from advisor.report.formatting import visible
from advisor.report.markdown import render_markdown
from advisor.report.page import build_page
from advisor.report.run_folder import read_run_folder
from tests.report import fixtures, hostile
from tests.report.documents import Document
from tests.report.test_markdown import kinds

pytestmark = pytest.mark.slow

ALL = " ".join(fixtures.HOSTILE)
BACKWARDS = "\n".join(reversed(fixtures.HOSTILE))
TAME = "plain text"
ACTIVE = {"html_block", "html_inline", "link_open"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a finished run that has every record there is."""
    few = {"best-trial": fixtures.predictions(3)[:8], "untuned-base-model": fixtures.predictions(2)[:8]}
    weighed = fixtures.weighed_run()
    trials = tuple(trial for trial in weighed.trials if trial.number in (0, 1, 5, 6, 9))
    run = replace(weighed, trials=trials, data_report=fixtures.data_report(), predictions=few)
    made = fixtures.write_run(tmp_path_factory.mktemp("run"), run)
    (made / "best_adapter").mkdir()
    return made


@pytest.fixture(scope="module")
def at(folder):
    return hostile.open_places(folder, ALL)


def with_texts(folder, at, text, target):
    copy = shutil.copytree(folder, target)
    hostile.write_texts(copy, at, text)
    return copy


@pytest.fixture(scope="module")
def tame(folder, at, tmp_path_factory):
    return with_texts(folder, at, TAME, tmp_path_factory.mktemp("tame") / "run")


@pytest.fixture(scope="module")
def plain_page(tame):
    return page_of(tame)[0]


@pytest.fixture(scope="module")
def plain_markdown(tame):
    return render_markdown(build_page(read_run_folder(tame)))


def page_of(folder):
    html, markdown = write_report(folder)
    return Document(html.read_text(encoding="utf-8")), markdown.read_text(encoding="utf-8")


def test_the_readers_let_a_text_through_where_people_and_data_give_one(at):
    told = {"/".join(place) for place in at}
    assert {
        "recommendation.json/candidates/*/reasons/*/text",
        "recommendation.json/candidates/*/base_model",
        "trials.jsonl/*/failure/message",
        "trials.jsonl/*/candidate/hyperparameters/+",
        "result.json/command",
        "result.json/data/test/path",
        "result.json/data/test/label_counts/+",
        "data_report.json/findings/*/message",
        "predictions/best-trial.jsonl/*/predicted",
        "predictions/best-trial.jsonl/*/source",
    } <= told
    assert len(at) > 60


@pytest.mark.parametrize("text", [ALL, BACKWARDS, "javascript:alert(1)"], ids=["all", "backwards", "address"])
def test_text_at_every_place_adds_nothing_to_the_page(folder, at, plain_page, tmp_path, text):
    page, _ = page_of(with_texts(folder, at, text, tmp_path / "run"))
    assert page.problems == []
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain_page.elements}
    names = [{name for _, named in document.elements for name in named} for document in (page, plain_page)]
    assert names[0] == names[1]
    for tag in ("script", "style", "title", "h1", "h2", "table", "meta", "link"):
        assert len(page.attributes(tag)) == len(plain_page.attributes(tag)), tag
    assert [a["href"] for a in page.attributes("a")] == [a["href"] for a in plain_page.attributes("a")]
    assert all(a["href"].startswith("#") for a in page.attributes("a"))


@pytest.mark.parametrize("text", [*fixtures.HOSTILE, BACKWARDS])
def test_text_at_every_place_stays_text_in_markdown(folder, at, plain_markdown, tmp_path, text):
    markdown = render_markdown(build_page(read_run_folder(with_texts(folder, at, text, tmp_path / "run"))))
    assert not kinds(markdown) & ACTIVE
    assert images(markdown) == images(plain_markdown)
    assert headings(markdown) == headings(plain_markdown)


@pytest.mark.parametrize("html", [False, True])
def test_markdown_renders_to_no_script_and_asks_for_nothing(folder, at, tmp_path, html):
    _, markdown = page_of(with_texts(folder, at, ALL, tmp_path / "run"))
    rendered = MarkdownIt("commonmark", {"html": html}).enable(["table", "strikethrough"]).render(markdown)
    document = Document(rendered)
    assert document.problems == []
    assert not {tag for tag, _ in document.elements} & {"script", "iframe", "svg", "a", "style", "meta", "link"}
    assert all(str(image["src"]).startswith("report_files/") for image in document.attributes("img"))
    assert not any(name.startswith("on") for _, named in document.elements for name in named)


@pytest.mark.parametrize("text", [*fixtures.HOSTILE, BACKWARDS])
def test_the_metadata_of_the_model_card_gives_the_values_back(folder, tmp_path, text):
    at = [
        ("result.json", "contenders", "*", "candidate", "base_model"),
        ("trials.jsonl", "*", "candidate", "base_model"),
    ]
    plain = ModelCard.load(write_model_card(with_texts(folder, at, TAME, tmp_path / "tame")))
    card = ModelCard.load(write_model_card(with_texts(folder, at, text, tmp_path / "run")))
    found, expected = (yaml.safe_load(one.data.to_yaml()) for one in (card, plain))
    optional = {"base_model", "base_model_relation"}  # a name that looks like a folder is left out
    assert set(found) - optional == set(expected) - optional
    assert found["tags"] == expected["tags"]
    whole = one_line(visible(text))
    assert one_line(found.get("base_model", whole)) == whole
    title = one_line(found["model-index"][0]["name"])
    said = title.removeprefix("Code clone detection: LoRA on ")
    assert said == whole if "base_model" in found else said in whole
    assert not kinds(card.text) & (ACTIVE | {"image"})


def one_line(text):
    return " ".join(text.split())


def images(markdown):
    """Return the addresses of the pictures, which are files beside the report."""
    found = [token for token in MarkdownIt("commonmark").parse(markdown) for token in token.children or ()]
    return [str(token.attrs["src"]) for token in found if token.type == "image"]


def headings(markdown):
    parsed = MarkdownIt("commonmark").parse(markdown)
    return [token.tag for token in parsed if token.type == "heading_open"]
