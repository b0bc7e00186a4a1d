"""The Markdown report: the same content, no HTML, deaf to hostile text."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from advisor.evidence import find_rows
from advisor.report import markdown
from advisor.report.page import build_page
from advisor.report.tables import Column, Row, Table
from tests.report import fixtures
from tests.report.test_html_page import HEADINGS, hostile_texts

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
FOREIGN = st.text(st.sampled_from("ab1 \n|`*_[]()<>#!&~\\-+.:$@{}=\"'/\u202e\u2028"), max_size=60)


def rendered(run):
    return markdown.render_markdown(build_page(run))


def tokens(text):
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def kinds(text):
    return {token.type for token in tokens(text)}


def headings(text, tag="h2"):
    parsed = PARSER.parse(text)
    opened = [(one, two) for one, two in itertools.pairwise(parsed) if one.type == "heading_open"]
    return [two.content for one, two in opened if one.tag == tag]


def finished():
    saved = {"best-trial": fixtures.predictions(5), "untuned-base-model": fixtures.predictions(2)}
    return rendered(fixtures.run_folder(predictions=saved))


def test_it_has_the_sections_of_the_html_page():
    assert headings(finished()) == HEADINGS
    assert headings(finished(), "h1") == ["Better than the recommendation and the baselines"]


def test_there_is_no_html_in_it():
    assert not kinds(finished()) & {"html_block", "html_inline", "image"}


def test_its_only_links_are_the_sources_of_the_evidence():
    links = [str(token.attrs["href"]) for token in tokens(finished()) if token.type == "link_open"]
    rows = find_rows(["liu2023empirical-008", "khajezade2026xccd-001", "hu2021lora-001"])
    assert links == [row.source.url for row in rows]


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    for table in re.findall(r"(?:^\|.*\n?)+", finished(), re.MULTILINE):
        assert len({row.count(" | ") for row in table.splitlines()}) == 1


def test_numbers_of_the_records_are_in_it():
    text = finished()
    for said in ("| **best trial (trial 9)** | 0.843 | 0.863 |", "+0.007 to +0.055", "`0.00011352`", "1.56 GiB"):
        assert said in text


def test_an_unfinished_study_says_so_in_its_title():
    assert headings(rendered(fixtures.run_folder(result=None)), "h1") == ["This study is not finished"]


def test_hostile_text_becomes_no_markup():
    tame = ["plain text"] * len(hostile_texts())
    tame[1] = "other text"
    hostile = rendered(fixtures.hostile_run(hostile_texts()))
    assert kinds(hostile) <= kinds(rendered(fixtures.hostile_run(tame))) | {"text_special"}
    assert not kinds(hostile) & {"html_block", "html_inline", "image", "link_open"}


@given(FOREIGN)
def test_escaped_text_is_one_paragraph_of_text(text):
    parsed = list(tokens(f"before {markdown.escaped(text)} after"))
    assert {t.type for t in parsed} <= {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}
    shown = "".join(t.content for t in parsed if t.type in ("text", "text_special"))
    assert shown == f"before {' '.join(markdown.visible(text).split())} after"


@given(FOREIGN)
def test_escaped_text_begins_no_block(text):
    line = markdown.escaped(text)
    assert {t.type for t in PARSER.parse(line)} <= {"paragraph_open", "inline", "paragraph_close"}


@given(FOREIGN)
def test_inline_code_shows_the_text_and_nothing_else(text):
    line = " ".join(markdown.visible(text).split())
    found = [t for t in tokens(f"a {markdown.code_span(text)} b") if t.type == "code_inline"]
    assert [t.content for t in found] == ([line] if line else [])


@given(FOREIGN)
def test_a_code_block_ends_where_it_should(text):
    (fence,) = PARSER.parse(markdown.code_block(text, "python"))
    assert fence.type == "fence"
    assert fence.content == markdown.visible(text) + "\n"


@given(st.lists(st.tuples(FOREIGN, FOREIGN), min_size=1, max_size=4))
def test_a_table_keeps_its_cells(rows):
    columns = (Column(title="Text"), Column(title="Code", kind="code"))
    text = markdown.markdown_table(Table(caption="c", columns=columns, rows=tuple(Row(cells=row) for row in rows)))
    types = [t.type for t in PARSER.parse(text)]
    assert types.count("tr_open") == len(rows) + 1
    assert types.count("td_open") == 2 * len(rows)


@pytest.mark.parametrize("url", ["https://example.org/a(b)c", "https://example.org/<x> y", "https://example.org/a|b"])
def test_a_source_is_a_link_whatever_its_address_holds(url):
    found = [t for t in tokens(markdown.link("A [paper] (2023)", url)) if t.type == "link_open"]
    assert len(found) == 1
    assert str(found[0].attrs["href"]).startswith("https://example.org/")
