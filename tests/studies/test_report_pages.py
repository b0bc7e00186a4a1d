"""The study of report pages: its table counts what was found; its hostile data are what they say."""

import json
from dataclasses import asdict

from studies.report_pages.look import Findings, View
from studies.report_pages.run import FOLDER, table
from studies.report_pages.runs import COLUMN, _rows


def view(name, **found):
    empty = {part: [] for part in ("console", "requests", "violations", "low_contrast")}
    return View(name=name, **(empty | {"overflow_px": 0} | found))


def findings(**found):
    whole = {
        "bytes": 2_345_678, "figures": 4, "views": [view("a")], "large_text_overflow_px": 0, "narrow_overflow_px": 0,
        "stops": 9, "unreachable": 0, "out_of_order": [], "hidden_focus": [], "moving": 0, "cut_in_print": [],
        "sheets": 3, "changed": [],
    }  # fmt: skip
    return Findings(**(whole | found))


def test_the_table_adds_up_over_windows_and_takes_the_widest():
    views = [view("a", violations=["x", "y"], overflow_px=3), view("b", violations=["z"], requests=["http://a"])]
    page = findings(views=views, narrow_overflow_px=7, unreachable=2, hidden_focus=["<a>"], cut_in_print=["<p>"])
    last = table({"run": asdict(page)}).splitlines()[-1]
    assert last == "| run | 2.35 MB | 4 | 3 | 0 | 0 | 1 | 7 px | 9 (2, 0, 1) | 1 | 0 | 3 |"


def test_every_hostile_string_is_text_label_and_id(tmp_path):
    strings = tmp_path / "strings.jsonl"
    texts = ["<script>alert(1)</script>", "'; DROP TABLE runs;--"]
    strings.write_text("".join(json.dumps({"source": text}) + "\n" for text in texts), encoding="utf-8")
    rows = _rows(strings)
    assert {row["label"] for row in rows} == set(texts)
    assert all(row[COLUMN].startswith(row["label"]) and row["id"].startswith(row["label"]) for row in rows)
    assert len({row["id"] for row in rows}) == len(rows) == 60
    assert rows == _rows(strings)


def test_the_kept_result_is_the_table_of_the_readme_and_nothing_was_found():
    kept = json.loads((FOLDER / "results" / "report_pages.json").read_text(encoding="utf-8"))
    assert table(kept["pages"]) in (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, page in kept["pages"].items():
        assert page["bytes"] < 5_000_000, name
        lists = [*(part for one in page["views"] for part in one.values()), *page.values()]
        assert [part for part in lists if isinstance(part, list) and part and part is not page["views"]] == [], name
        pictures = list((FOLDER / "pictures").glob(f"{name}-*.webp"))
        assert len(pictures) == 4
        assert all(picture.stat().st_size < 150_000 for picture in pictures)
