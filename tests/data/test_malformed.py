"""Broken and hostile inputs, made here: each is refused by its place or read exactly, within bounded memory.

The same kinds of faults as in the shared folder of malformed inputs, whose own files `test_examples` and `test_checks`
go through where it is there.
"""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from advisor.catalog.tasks import Task
from advisor.data.dataset import DataRequest, read_dataset, report_on
from advisor.data.examples import read_examples
from advisor.errors import DataError
from tests.data.rows import CLONES, DEFECTS, SUMMARIES, write_rows

GOOD = '{"code": "int f();", "label": 1}\n{"code": "int g();", "label": 0}\n'
TEXT = '{"source": "f", "target": "g"}\n'

# fault -> (file name, content, task, parts of the message in their order)
REFUSED: dict[str, tuple[str, bytes, Task, tuple[str, ...]]] = {
    "a cut last row": ("a.jsonl", (TEXT * 3 + '{"source": "f", "tar').encode(), SUMMARIES, ("line 4: not valid JSON",)),
    "a line that is no JSON": ("a.jsonl", f"{GOOD}Traceback:\n{GOOD}".encode(), DEFECTS, ("line 3: not valid JSON",)),
    "values of the wrong kind": (
        "a.jsonl",
        b'{"code": 1, "label": 1}\n{"code": null, "label": 1}\n{"code": "x", "label": 0.5}\n"text"\n[1]\n',
        DEFECTS,
        ("line 1: field 'code': expected text, found a number", "line 2", "found null", "line 3: field 'label'",
         "line 4: expected an object, found text", "line 5: expected an object, found a list"),
    ),
    "missing fields": (
        "a.jsonl", b'{"code1": "a", "label": 1}\n{"code1": "a", "code2": "b"}\n', CLONES,
        ("line 1: no field 'code2'", "line 2: no field 'label'"),
    ),
    "rows of several tasks": ("a.jsonl", f"{GOOD}{TEXT}".encode(), DEFECTS, ("line 3: no field 'code', 'label'",)),
    "no byte": ("a.jsonl", b"", SUMMARIES, ("no rows",)),
    "blank lines": ("a.jsonl", b"\n \n\n", SUMMARIES, ("no rows",)),
    "UTF-16": ("a.jsonl", GOOD.encode("utf-16"), DEFECTS, ("the encoding is UTF-16; save it as UTF-8",)),
    "Latin-1": ("a.jsonl", GOOD.encode() + b'{"code": "\xe4", "label": 1}\n', DEFECTS, ("line 3: not valid UTF-8",)),
    "a NUL byte": ("a.jsonl", b'{"code": "a\0b", "label": 1}\n', DEFECTS, ("line 1: holds a NUL byte",)),
    "labels of several kinds": (
        "a.jsonl", b'{"code": "a", "label": "no"}\n{"code": "b", "label": false}\n', DEFECTS,
        ("'label' mixes text (line 1) and true/false (line 2)",),
    ),
    "a label with blanks": ("a.jsonl", b'{"code": "a", "label": " 1 "}\n', DEFECTS, ("line 1: field 'label': ' 1 '",)),
    "CSV rows of the wrong length": (
        "a.csv", b'code,label\n"a\nb",1\nc,1,2\nd\n"e', DEFECTS,
        ("row 2 (up to line 4): 3 values for 2 columns", "row 3 (up to line 5): 1 values", "row 4", "quote"),
    ),
    "JSON called Parquet": ("a.parquet", b"PAR1" + GOOD.encode() + b"PAR1", DEFECTS, ("not a readable Parquet file",)),
    "deep nesting": ("a.json", b"[" * 100_000 + b"]" * 100_000, SUMMARIES, ("line 1: nested too deeply",)),
    "numbers that are none": (
        "a.jsonl",
        b'{"code": "a", "label": NaN}\n{"code": "a", "label": -Infinity}\n{"code": "a", "label": 1e999}\n'
        b'{"code": "a", "label": ' + b"9" * 5000 + b"}\n"
        b'{"code": "a", "label": 1, "label": 0}\n{"code": "\\ud800", "label": 1}\n',
        DEFECTS,
        ("line 1: NaN", "line 2: -Infinity", "line 3: the number 1e999", "line 4", "line 5: field 'label' stands"),
    ),
    "a lone surrogate": ("a.jsonl", b'{"code": "\\ud800", "label": 1}\n', DEFECTS, ("half a character",)),
    "a null target": ("a.jsonl", b'{"source": "a", "target": null}\n', SUMMARIES, ("line 1: field 'target'",)),
    "gzip that is none": ("a.jsonl.gz", GOOD.encode(), DEFECTS, ("cannot be read after line 0",)),
    "zstd that is none": ("a.jsonl.zst", GOOD.encode(), DEFECTS, ("cannot be read",)),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_is_refused_in_one_line_with_its_place(fault: str, tmp_path: Path) -> None:
    name, content, task, parts = REFUSED[fault]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_examples(tmp_path / name, task)
    message = str(caught.value)
    assert message.isprintable()
    assert name in message
    place = -1
    for part in parts:
        assert part in message
        assert message.index(part) > place
        place = message.index(part)


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    found = read_examples(tmp_path / "a.jsonl", DEFECTS)
    assert [(example.text, example.target) for example in found.examples] == [("int f();", "1"), ("int g();", "0")]


def test_hostile_texts_are_read_as_they_are(tmp_path: Path) -> None:
    texts = [
        "<script>alert(1)</script>", "'; DROP TABLE x;--", "{{7*7}}", "../../etc/passwd", "=SUM(A1)", "$(reboot)",
        "</s><|endoftext|>", "\x1b[31m\x1b]0;x\x07", "\u202eabc", "a\u2028b\u2029c\x85d", "\u0430\u200b\ufeff",
    ]  # fmt: skip
    write_rows(tmp_path / "a.jsonl", *({"id": text, "source": text, "target": text} for text in texts))
    found = read_examples(tmp_path / "a.jsonl", SUMMARIES)
    assert [example.text for example in found.examples] == texts
    assert [example.example_id for example in found.examples] == texts
    # As JSON writes it, escaped, NUL is a character like others: texts are not cut at it.
    (tmp_path / "b.jsonl").write_text(json.dumps({"source": "a\0b", "target": "c"}))
    assert read_examples(tmp_path / "b.jsonl", SUMMARIES).examples[0].text == "a\0b"


def test_blank_rows_are_dropped_with_their_places(tmp_path: Path) -> None:
    rows = [{"source": "a", "target": ""}, {"source": " ", "target": "b"}, {"source": "a", "target": "b", "id": ""}]
    found = read_examples(write_rows(tmp_path / "a.jsonl", *rows), SUMMARIES)
    assert len(found.examples) == 1
    assert len(found.warnings) == 2


def test_a_doubled_id_is_named_and_one_class_and_leakage_are_found(tmp_path: Path) -> None:
    rows = [{"id": "c2", "code": f"f{i}", "label": 1} for i in range(3)]
    write_rows(tmp_path / "train.jsonl", *rows)
    write_rows(tmp_path / "test.jsonl", {"id": "new", "code": " f1\n", "label": 0})
    report = report_on(read_dataset(DataRequest(places={"train": tmp_path}), DEFECTS), DEFECTS)
    assert any("id 'c2' stands on 3 rows" in line for line in report.messages("warning"))
    assert any("nothing to learn" in line for line in report.messages("error"))
    assert any("1 of 1 test rows stand in the train split too" in line for line in report.messages("warning"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_huge_row_is_refused_within_bounded_memory(name: str, tmp_path: Path) -> None:
    row = b'{"source": "' + b"a" * (150 * 1024**2) + b'", "target": "b"}\n'
    path = tmp_path / name
    path.write_bytes(gzip.compress(row, compresslevel=1) if name.endswith(".gz") else row)
    del row
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="line 1: longer than 32 MiB"):
            read_examples(path, SUMMARIES)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100 * 1024**2
