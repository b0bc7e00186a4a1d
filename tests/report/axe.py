"""What is wrong with a page for people who do not see, point or read as others do, as far as a machine can tell.

The rules are those of axe-core, whose script (`axe.min.js`, in the npm package axe-core) is not part of this project.
What axe leaves open is measured here: the contrast of text in charts, which it does not judge, and the way of the
keyboard through the page.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from tests.report.browser import Browser

PLACE = "PEFT_ADVISOR_AXE"  # environment variable with the path of axe.min.js
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS = {"runOnly": {"type": "tag", "values": TAGS}, "preload": False, "resultTypes": ["violations", "incomplete"]}
# WCAG 2.2, success criterion 1.4.3: 4.5 to 1 for text of normal size.
LOW_CONTRAST = """
  const level = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("main *")) {
    if (!element.textContent.trim() || element.closest("noscript, title") || !element.getClientRects().length) continue;
    const drawn = element instanceof SVGElement;
    if (drawn && !["text", "tspan"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ink = parse(drawn ? style.fill : style.color);
    const opacity = Number(style.opacity) * Number(drawn ? style.fillOpacity : 1) * (ink.length > 3 ? ink[3] : 1);
    const paper = ground(element);
    const seen = ink.slice(0, 3).map((v, i) => v * opacity + paper[i] * (1 - opacity));
    const [a, b] = [level(seen), level(paper)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName} ${ratio.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  return low;
"""
# Where the focus is: its place among all elements, and whether anything shows it.
FOCUS = """
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  return [[...document.querySelectorAll("*")].indexOf(element), shown, element.outerHTML.slice(0, 80)];
"""
FOCUSABLE = """
  const wanted = "a[href], button, summary, [tabindex='0'], input, select, textarea";
  return [...document.querySelectorAll(wanted)].filter((element) => element.checkVisibility()).length;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A place where the Tab key stops.

    Attributes:
        place: Number of the element in the document.
        is_shown: Whether an outline shows where the focus is.
        html: How the element begins.
    """

    place: int
    is_shown: bool
    html: str


def find_axe() -> str | None:
    """Return axe's script from the path in `PEFT_ADVISOR_AXE` or the package axe_playwright_python, None without."""
    given = os.environ.get(PLACE)
    if given:
        return Path(given).read_text(encoding="utf-8")
    package = importlib.util.find_spec("axe_playwright_python")
    places = (package.submodule_search_locations or []) if package else []
    found = next((path for place in places if (path := Path(place) / "axe.min.js").is_file()), None)
    return found.read_text(encoding="utf-8") if found else None


def violations(browser: Browser, axe: str) -> list[str]:
    """Return what breaks a rule of axe on the open page: rule, number of elements, the first of them."""
    browser.run(axe)
    found = browser.run("return axe.run(document, arguments[0])", OPTIONS)["violations"]
    return [f"{rule['id']} ({len(rule['nodes'])}): {rule['nodes'][0]['html'][:120]}" for rule in found]


def low_contrast(browser: Browser) -> list[str]:
    """Return texts of the open page, those in charts too, whose contrast is below 4.5 to 1."""
    return [str(line) for line in browser.run(LOW_CONTRAST)]


def tab_stops(browser: Browser, most: int = 400) -> list[Stop]:
    """Return where the Tab key leads from the top of the open page until it leaves it."""
    browser.run("document.activeElement.blur(); scrollTo(0, 0)")
    stops: list[Stop] = []
    for _ in range(most):
        browser.press("Tab")
        found = browser.run(FOCUS)
        if found is None:
            break
        place, is_shown, html = found
        stops.append(Stop(place=place, is_shown=is_shown, html=html))
        if len(stops) > 1 and place == stops[0].place:
            return stops[:-1]
    return stops


def focusable(browser: Browser) -> int:
    """Return how many elements of the open page the keyboard should reach."""
    return int(browser.run(FOCUSABLE))
