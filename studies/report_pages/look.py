"""Open one report in a headless browser as different readers do, and note what is wrong with it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from tests.report.axe import focusable, low_contrast, tab_stops, violations
from tests.report.browser import Browser

VIEWS = {"desktop": (1280, 800), "phone": (390, 844)}  # width and height in CSS pixels
NARROW = 320  # CSS pixels: what WCAG 2.2, 1.4.10 asks for, a window of 1280 at 400 %
PAPER = 688  # CSS pixels: A4 without the page's margins
BREADTH = "return document.documentElement.scrollWidth - innerWidth"
CUT = """
  return [...document.querySelectorAll(".scroll, pre, figure")]
    .filter((box) => box.scrollWidth > box.clientWidth + 1).map((box) => box.outerHTML.slice(0, 80));
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one reader met.

    Attributes:
        name: Window and colour scheme.
        console: What the browser complained about.
        requests: Addresses that were asked for besides the file.
        overflow_px: How far the page scrolls sideways.
        violations: Rules of axe that are broken.
        low_contrast: Texts below 4.5 to 1, those in charts too.
    """

    name: str
    console: list[str]
    requests: list[str]
    overflow_px: int
    violations: list[str]
    low_contrast: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found on one page.

    Attributes:
        bytes: Size of the file.
        figures: Charts drawn.
        views: By window and colour scheme.
        large_text_overflow_px: How far it scrolls sideways with letters twice as large, on a desktop.
        narrow_overflow_px: How far it scrolls sideways in a window of 320 pixels.
        stops: Where the Tab key stops.
        unreachable: Elements that it should reach and does not.
        out_of_order: Stops that come before their turn in the document.
        hidden_focus: Stops at which nothing shows the focus.
        moving: Animations that run although reduced motion is asked for.
        cut_in_print: Tables, code and charts wider than the sheet.
        sheets: Pages of the PDF.
        changed: Signs that a text of the data was run: a dialog, another title.
    """

    bytes: int
    figures: int
    views: list[View]
    large_text_overflow_px: int
    narrow_overflow_px: int
    stops: int
    unreachable: int
    out_of_order: list[str]
    hidden_focus: list[str]
    moving: int
    cut_in_print: list[str]
    sheets: int
    changed: list[str]


def look_at(browser: Browser, page: Path, axe: str, pictures: Path) -> Findings:
    """Return what is wrong with a report, and leave pictures of its first screens and its whole length.

    Args:
        browser: An open window.
        page: The report.
        axe: Text of axe's script.
        pictures: Folder for `desktop-light.webp` and so on; the long ones are `long-*.png` beside them.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    title = re.search(r"<title>(.*?)</title>", page.read_text(encoding="utf-8"), re.DOTALL)
    views = list(_views(browser, page, axe, pictures))
    changed = [f"dialog: {text}" for text in [browser.dialog()] if text is not None]
    shown = browser.run("return document.title")
    changed += [] if title and " ".join(unescape(title[1]).split()) == shown else [f"title: {shown}"]
    browser.open(page, width=1280)
    figures = int(browser.run("return document.querySelectorAll('[data-figure] .plot-container').length"))
    wanted, stops = focusable(browser), tab_stops(browser)
    places = [stop.place for stop in stops]
    browser.run("document.documentElement.style.fontSize = '200%'")
    large = int(browser.run(BREADTH))
    browser.open(page, width=NARROW)
    narrow = int(browser.run(BREADTH))
    browser.open(page, still=True)
    moving = int(browser.run("return document.getAnimations().length"))
    return Findings(
        bytes=page.stat().st_size, figures=figures, views=views, large_text_overflow_px=large,
        narrow_overflow_px=narrow, stops=len(stops), unreachable=wanted - len(stops),
        out_of_order=[stop.html for stop, before in zip(stops[1:], places, strict=False) if stop.place < before],
        hidden_focus=[stop.html for stop in stops if not stop.is_shown], moving=moving,
        cut_in_print=_cut_in_print(browser, page), sheets=_sheets(browser, page, pictures), changed=changed,
    )  # fmt: skip


def _views(browser: Browser, page: Path, axe: str, pictures: Path) -> Iterator[View]:
    for window, (width, height) in VIEWS.items():
        for dark in (False, True):
            name = f"{window}-{'dark' if dark else 'light'}"
            browser.console(), browser.requests()  # what was said before
            browser.open(page, width=width, height=height, dark=dark)
            browser.picture(pictures / f"{name}.webp", whole=False)
            console, requests = browser.console(), browser.requests()
            browser.picture(pictures / f"long-{name}.png")
            yield View(
                name=name, console=console, requests=[url for url in requests if url != page.resolve().as_uri()],
                overflow_px=int(browser.run(BREADTH)), violations=violations(browser, axe),
                low_contrast=low_contrast(browser),
            )  # fmt: skip


def _cut_in_print(browser: Browser, page: Path) -> list[str]:
    browser.open(page, width=PAPER)
    browser.media(paper=True)
    browser.run("dispatchEvent(new Event('beforeprint'))")  # unfolds what is folded
    return [str(line) for line in browser.run(CUT)]


def _sheets(browser: Browser, page: Path, pictures: Path) -> int:
    """Print the page and count the sheets: Chromium writes their objects uncompressed."""
    browser.open(page, width=1280)
    browser.print(pictures / "page.pdf")
    return len(re.findall(rb"/Type\s*/Page\b", (pictures / "page.pdf").read_bytes()))
