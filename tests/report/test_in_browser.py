"""The HTML report in a real browser: no error, no request, readable on a phone, hostile text inert."""

import shutil
import time
from dataclasses import replace

import pytest

from advisor.report import write_report
from tests.report import fixtures, hostile
from tests.report.browser import CHROMIUM, DRIVER, open_browser
from tests.report.documents import Document
from tests.report.test_intervals import scored_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="needs the programs chromium and chromedriver on the path"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.run("return 1")
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run = replace(scored_run(), data_report=fixtures.data_report("a long label " * 5))
    rows = tuple(
        replace(row, evaluation=replace(row.evaluation, note="of 9 examples")) for row in run.result.contenders
    )
    run = replace(run, result=replace(run.result, contenders=rows))
    html, _ = write_report(fixtures.write_run(tmp_path_factory.mktemp("run"), run))
    return html


def opened(browser, path, **how):
    """Load a page and return what the console said and which addresses it asked for."""
    browser.console()
    browser.requests()
    browser.open(path, **how)
    return browser.console(), browser.requests()


@pytest.mark.parametrize("dark", [False, True])
def test_it_asks_for_nothing_and_complains_about_nothing(browser, report, dark):
    assert opened(browser, report, dark=dark) == ([], [report.as_uri()])


def test_charts_are_drawn_in_the_colours_of_the_scheme(browser, report):
    colours = []
    for dark in (False, True):
        browser.open(report, dark=dark)
        assert browser.run("return document.querySelectorAll('[data-figure] .plot-container').length") == 5
        colours.append(browser.run("return getComputedStyle(document.querySelector('.xtick text')).fill"))
    assert colours[0] != colours[1]


def test_charts_follow_when_the_scheme_changes(browser, report):
    browser.open(report)
    before = browser.run("return getComputedStyle(document.querySelector('.xtick text')).fill")
    browser.devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    browser.run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
    assert browser.run("return getComputedStyle(document.querySelector('.xtick text')).fill") != before


@pytest.mark.parametrize("dark", [False, True])
def test_trade_offs_are_drawn_and_the_page_stays_as_narrow_as_a_phone(browser, tmp_path, dark):
    html, _ = write_report(fixtures.write_run(tmp_path, fixtures.weighed_run()))
    assert opened(browser, html, dark=dark, width=320) == ([], [html.as_uri()])
    assert browser.run("return document.querySelectorAll('[data-figure^=trade-off] .plot-container').length") == 2
    drawn = browser.run("return document.querySelectorAll('[data-figure=trade-off-memory] .points path').length")
    assert drawn == 4
    assert browser.run("return document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_page_never_scrolls_sideways(browser, report, width):
    browser.open(report, width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_the_code_can_be_copied_with_a_button(browser, report):
    browser.open(report)
    assert browser.run("return document.querySelectorAll('.snippet button').length") == 3
    for label, start in (("predicts new rows", "peft-advisor predict . "), ("loads the adapter", "from peft import")):
        browser.run(
            f"document.querySelector('.snippet [aria-label*=\"{label}\"]').parentNode.querySelector('button').click()"
        )
        assert browser.run("return getSelection().toString()").startswith(start)


def test_hostile_text_at_every_place_of_the_records_does_nothing(browser, tmp_path):
    text = "\n".join(fixtures.HOSTILE)
    run = replace(fixtures.weighed_run(), data_report=fixtures.data_report())
    folder = fixtures.write_run(tmp_path, run)
    hostile.write_texts(folder, hostile.open_places(folder, text), text)
    html, _ = write_report(folder)
    assert opened(browser, html, width=390) == ([], [html.as_uri()])
    assert browser.dialog() is None
    title = Document(html.read_text(encoding="utf-8")).of("title")[0]
    assert browser.run("return document.title") == " ".join(title.split())
    assert browser.run("return document.querySelectorAll('img, iframe, svg [onload], [onmouseover]').length") == 0
    assert browser.run("return [...document.links].filter((a) => !a.getAttribute('href').startsWith('#')).length") == 0
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert "<script>alert(1)</script>" in browser.run("return document.body.innerText")


def test_hostile_text_in_the_records_does_nothing(browser, tmp_path):
    html, _ = write_report(fixtures.write_run(tmp_path, fixtures.hostile_run()))
    assert opened(browser, html, width=390) == ([], [html.as_uri()])
    assert browser.dialog() is None
    assert browser.run("return document.querySelectorAll('img, iframe').length") == 0
    assert browser.run("return document.documentElement.scrollWidth") <= 390


def test_a_dialog_and_a_script_would_be_noticed(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<title>a</title><script>document.title = 'b'; setTimeout(() => alert(7), 50)</script>", "utf-8")
    browser.open(page)
    deadline = time.monotonic() + 10
    while browser.dialog() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert browser.dialog() == "7"
    browser.dismiss()
    assert browser.run("return document.title") == "b"


def test_a_script_that_slips_in_is_stopped_by_the_policy(browser, report, tmp_path):
    changed = tmp_path / "changed.html"
    shutil.copy(report, changed)
    html = changed.read_text(encoding="utf-8")
    slipped = (
        '<img src="http://localhost:9/x" onerror="document.title=`owned`"><script>document.title = "owned"</script>'
        '<script>fetch("http://localhost:9/leak")</script><link rel="stylesheet" href="http://localhost:9/x.css">'
    )
    changed.write_text(html.replace("<main>", f"<main>{slipped}"), encoding="utf-8")
    console, _ = opened(browser, changed)
    assert browser.run("return document.title") != "owned"
    assert len(console) >= 4
    # Blocked before the network; a request that went out would have failed with net::ERR_CONNECTION_REFUSED.
    assert all("Content Security Policy" in line for line in console)
