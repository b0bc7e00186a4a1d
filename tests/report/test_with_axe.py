"""The report for people who see, point and read differently: axe's rules, contrast, keyboard, large letters, paper."""

import itertools
from dataclasses import replace

import pytest

from advisor.report import write_report
from tests.report import fixtures
from tests.report.axe import PLACE, find_axe, focusable, low_contrast, tab_stops, violations
from tests.report.browser import CHROMIUM, DRIVER, open_browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="needs the programs chromium and chromedriver on the path"
    ),
]
AXE = find_axe()
needs_axe = pytest.mark.skipif(AXE is None, reason=f"needs axe.min.js of the npm package axe-core, its path in {PLACE}")
PAPER = 688  # CSS pixels: A4 without the margins
SCHEMES = [(1280, False), (1280, True), (390, False), (390, True)]
# A page on which each check has something to find.
BAD = """<!DOCTYPE html><html lang="en"><title>t</title><main><h1>t</h1><style>body { background: #fff }
:focus { outline: none }</style><p style="color: #aaa">pale</p><svg><text y="9" fill="#bbb">pale drawing</text></svg>
<button id="last">a</button><button tabindex="1">b</button><button aria-hidden="true"></button></main></html>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run = replace(fixtures.weighed_run(), data_report=fixtures.data_report("a long label " * 5))
    html, _ = write_report(fixtures.write_run(tmp_path_factory.mktemp("run"), run))
    return html


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad") / "page.html"
    path.write_text(BAD, encoding="utf-8")
    return path


@needs_axe
@pytest.mark.parametrize(("width", "dark"), SCHEMES)
def test_no_rule_of_axe_is_broken(browser, report, width, dark):
    browser.open(report, width=width, dark=dark)
    assert violations(browser, AXE) == []


@needs_axe
def test_axe_finds_what_is_broken(browser, bad):
    browser.open(bad)
    found = " ".join(violations(browser, AXE))
    assert "color-contrast" in found
    assert "button-name" in found or "aria-hidden-focus" in found


@pytest.mark.parametrize(("width", "dark"), SCHEMES)
def test_text_has_enough_contrast_also_in_charts(browser, report, width, dark):
    browser.open(report, width=width, dark=dark)
    assert browser.run("return document.querySelectorAll('.xtick text').length") > 4
    assert low_contrast(browser) == []


def test_pale_text_is_found(browser, bad):
    browser.open(bad)
    assert [line.split(":")[0] for line in low_contrast(browser)] == ["P 2.32", "text 1.92"]


def test_the_keyboard_reaches_everything_in_the_order_of_the_page_and_shows_where_it_is(browser, report):
    browser.open(report)
    stops = tab_stops(browser)
    assert len(stops) == focusable(browser) > 20
    assert [stop.place for stop in stops] == sorted(stop.place for stop in stops)
    assert [stop.html for stop in stops if not stop.is_shown] == []


def test_a_jumping_and_hidden_focus_is_found(browser, bad):
    browser.open(bad)
    stops = tab_stops(browser)
    assert [stop.html[:7] for stop in stops] == ["<button"] * 3
    assert [stop.place for stop in stops] != sorted(stop.place for stop in stops)
    assert not any(stop.is_shown for stop in stops)


def test_headings_go_down_one_level_at_a_time(browser, report):
    browser.open(report)
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3, h4')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("width", [390, 1280])
def test_letters_twice_as_large_fit_the_window(browser, report, width):
    browser.open(report, width=width)
    before = browser.run("return parseFloat(getComputedStyle(document.querySelector('p')).fontSize)")
    browser.run("document.documentElement.style.fontSize = '200%'")
    assert browser.run("return parseFloat(getComputedStyle(document.querySelector('p')).fontSize)") == 2 * before
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_wide_tables_scroll_in_a_region_of_their_own_that_has_a_name(browser, report):
    browser.open(report, width=390)
    wide = "[...document.querySelectorAll('table')].filter((t) => t.offsetWidth > t.closest('main').clientWidth)"
    assert browser.run(f"return {wide}.length") > 3
    named = (
        "(t) => { const r = t.closest('[role=region]'); return r && r.tabIndex === 0 && r.getAttribute('aria-label') }"
    )
    assert browser.run(f"return {wide}.filter({named}).length") == browser.run(f"return {wide}.length")


def test_nothing_moves_where_less_motion_is_asked_for(browser, report):
    browser.open(report, still=True)
    assert browser.run("return matchMedia('(prefers-reduced-motion: reduce)').matches") is True
    assert browser.run("return document.getAnimations().length") == 0


def test_nothing_is_cut_off_on_paper_and_what_is_folded_is_open(browser, report):
    browser.open(report, width=PAPER, dark=True)
    browser.media(paper=True, dark=True)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("return document.querySelectorAll('details:not([open])').length") == 0
    cut = "[...document.querySelectorAll('.scroll, pre, figure')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    assert browser.run(f"return {cut}.map((e) => e.outerHTML.slice(0, 80))") == []
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("return document.querySelectorAll('[data-figure] .plot-container').length") > 2
