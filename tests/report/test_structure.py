"""What the pages are made of, in order: headings, figures, tables, code; not how they look or what they say.

`UPDATE_GOLDEN=1 pytest tests/report/test_structure.py` writes the files anew; read the difference before committing it.
"""

import itertools
import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from advisor.importance import Importance, ParameterImportance
from advisor.report.html_page import render_html
from advisor.report.markdown import render_markdown
from advisor.report.page import build_page
from tests.report import fixtures

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
SAVED = {"best-trial": fixtures.predictions(5), "untuned-base-model": fixtures.predictions(2)}
IMPORTANCE = Importance(
    n_finished=14, n_counted=30, n_pruned=12, n_best=8, n_needed=20, n_shuffles=99,
    parameters=(
        ParameterImportance(name="learning_rate", method="lora", base=None, share=0.7, by_chance=0.0, n_trials=28),
        ParameterImportance(name="method", method=None, base=None, share=0.3, by_chance=0.3, n_trials=30),
    ),
)  # fmt: skip
RUNS = {
    "finished": fixtures.run_folder(
        result=fixtures.seeded_result(), predictions=SAVED, importance=IMPORTANCE,
        data_report=fixtures.data_report("said"),
    ),
    "weighed": replace(fixtures.weighed_run(), predictions=SAVED),
    "unfinished": fixtures.run_folder(result=None, importance=replace(IMPORTANCE, n_counted=9, parameters=())),
    "empty": fixtures.run_folder(result=None, trials=()),
}  # fmt: skip
SHOWN = {"h1", "h2", "h3", "caption", "summary"}


class Structure(HTMLParser):
    """Collects a line for each part of a page, indented by depth of its sections."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._open: list[str] = []
        self._text: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag in ("header", "section", "article", "figure", "details"):
            named = found.get("aria-labelledby") or found.get("id") or found.get("class") or ""
            self._line(f"{tag} {named}".rstrip())
            self._open.append(tag)
        elif "data-figure" in found:
            self._line(f"chart {found['data-figure']}")
        elif tag in ("pre", "svg") and "aria-label" in found:
            self._line(f"{tag} “{found['aria-label'].split(':')[0]}”")
        elif tag in SHOWN:
            self._line(f"{tag}{' #' + found['id'] if 'id' in found else ''}")
            self._text = []

    def handle_data(self, data):
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag):
        if tag in SHOWN and self._text is not None:
            self.lines[-1] += f": {' '.join(''.join(self._text).split())}"
            self._text = None
        if self._open and tag == self._open[-1]:
            self._open.pop()

    def _line(self, text):
        self.lines.append("  " * len(self._open) + text)


def structure_of_html(run):
    return "\n".join(Structure(render_html(build_page(run))).lines) + "\n"


def structure_of_markdown(run):
    """Return headings, captions of tables and beginnings of code; what stands inside code is left out."""
    lines, is_code = [], False
    for line in render_markdown(build_page(run)).splitlines():
        if line.startswith("```"):
            is_code = not is_code
            lines += [line] if is_code else []
        elif not is_code and (line.startswith("#") or (line.startswith("*") and line.endswith("*"))):
            lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("made", [structure_of_html, structure_of_markdown], ids=["html", "md"])
@pytest.mark.parametrize("name", RUNS)
def test_the_pages_have_the_parts_of_their_golden_files(name, made):
    text = made(RUNS[name])
    path = GOLDEN / f"{name}.{'html' if made is structure_of_html else 'md'}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "meant? UPDATE_GOLDEN=1 pytest tests/report/test_structure.py"


@pytest.mark.parametrize("name", RUNS)
def test_headings_go_down_by_one_level_and_ids_are_unique(name):
    html = render_html(build_page(RUNS[name]))
    levels = [int(line.strip()[1]) for line in Structure(html).lines if line.strip()[:2] in ("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    found = [line.split("#")[1].split(":")[0] for line in Structure(html).lines if " #" in line]
    assert len(found) == len(set(found))
    labelled = [line.split()[1] for line in Structure(html).lines if line.startswith("section")]
    assert set(labelled) <= set(found)
