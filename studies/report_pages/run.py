"""Look at reports in a real browser: what it complains about, asks for and cannot show, and for whom.

    python -m studies.report_pages.run RUN... --axe axe.min.js [--pictures FOLDER] [--output FILE]
    python -m studies.report_pages.run --make DATA RUNS                  # the run folders first

RUN are folders that `tune` wrote. Needs chromium and chromedriver on the path.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studies.gpu.entry import machine
from studies.report_pages.look import VIEWS, Findings, look_at
from studies.report_pages.runs import make_runs
from tests.report.browser import open_browser

FOLDER = Path(__file__).parent
HEAD = (
    "| run | size | charts | rules of axe broken | texts below 4.5 : 1 | console | requests | wider than the window "
    "| Tab stops (missed, out of order, not shown) | cut in print "
    "| strings that ran | sheets |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def table(found: dict[str, Any]) -> str:
    """Return the results as a table in Markdown; counts are sums over windows and colour schemes."""
    rows = []
    for name, page in found.items():
        sums = [
            sum(len(view[part]) for view in page["views"])
            for part in ("violations", "low_contrast", "console", "requests")
        ]
        widths = [view["overflow_px"] for view in page["views"]]
        wide = max(*widths, page["large_text_overflow_px"], page["narrow_overflow_px"])
        stops = f"{page['stops']} ({page['unreachable']}, {len(page['out_of_order'])}, {len(page['hidden_focus'])})"
        cells = [
            name, f"{page['bytes'] / 1e6:.2f} MB", page["figures"], *sums, f"{wide} px", stops,
            len(page["cut_in_print"]), len(page["changed"]), page["sheets"],
        ]  # fmt: skip
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([HEAD, *rows])


def look_at_all(runs: list[Path], axe: str, pictures: Path) -> tuple[dict[str, Findings], str]:
    """Return the findings by name of run folder, and the browser's version."""
    with tempfile.TemporaryDirectory() as profile, open_browser(Path(profile)) as browser:
        found = {run.name: look_at(browser, run / "report.html", axe, pictures / run.name) for run in runs}
        return found, browser.version


def keep_first_screens(pictures: Path, names: list[str]) -> None:
    """Copy the pictures of the first screens beside this file."""
    for name in names:
        for window in VIEWS:
            for scheme in ("light", "dark"):
                kept = FOLDER / "pictures" / f"{name}-{window}-{scheme}.webp"
                kept.parent.mkdir(exist_ok=True)
                shutil.copyfile(pictures / name / f"{window}-{scheme}.webp", kept)


def main() -> None:
    """Read the command line, look, write the results and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders; with --make one folder for them")
    parser.add_argument("--axe", type=Path, help="axe.min.js of the npm package axe-core")
    parser.add_argument("--make", type=Path, metavar="DATA", help="make the run folders from these datasets first")
    parser.add_argument("--pictures", type=Path, help="where all pictures go; a temporary folder without it")
    parser.add_argument("--output", type=Path, default=FOLDER / "results" / "report_pages.json")
    asked = parser.parse_args()
    runs: list[Path] = make_runs(asked.make, asked.runs[0]) if asked.make else asked.runs
    if asked.axe is None:
        return
    axe = asked.axe.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as temporary:
        pictures = asked.pictures or Path(temporary)
        found, browser = look_at_all(runs, axe, pictures)
        keep_first_screens(pictures, list(found))
    pages = {name: asdict(page) for name, page in found.items()}
    versions = {
        "axe-core": axe.split("\n")[0].removeprefix("/*! axe v"),
        "chromium": browser,
        "plotly": version("plotly"),
    }
    here = machine("cpu")
    said = {"versions": versions, "python": here["python"], "commit": here["commit"], "pages": pages}
    asked.output.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(table(pages))


if __name__ == "__main__":
    main()
