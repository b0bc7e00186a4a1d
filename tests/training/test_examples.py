"""Data files: what is fine is read exactly, what is not is refused with file, line and field."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog.tasks import Task
from advisor.errors import DataError, InputError
from advisor.training import files
from advisor.training.examples import Example, label_names, read_examples
from tests.training.toy import CLONES, SUMMARIES

SHARED = Path(__file__).parents[3] / "shared" / "data" / "malformed"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the shared data folder {SHARED}")
DEFECTS = Task(
    slug="defect-detection", title="Defects", kind="non-generative", form="single", metrics=("accuracy", "f1")
)

# file -> (task, parts that the message must have)
REFUSED: dict[str, tuple[Task, tuple[str, ...]]] = {
    "01-truncated.jsonl": (SUMMARIES, ("line 20", "not valid JSON")),
    "02-not-json-line.jsonl": (DEFECTS, ("line 6", "not valid JSON")),
    "03-wrong-types.jsonl": (
        DEFECTS,
        ("line 2: field 'code'", "found a number", "found null", "found a list", "field 'label'", "found an object"),
    ),
    "04-missing-fields.jsonl": (
        CLONES,
        ("line 3: no field 'code2'", "line 5: no field 'label'", "line 7: no field 'code1'", "expected code1, code2"),
    ),
    "05-mixed-schema.jsonl": (DEFECTS, ("line 5: no field 'code'", "found 'id', 'source', 'target'")),
    "06-empty.jsonl": (SUMMARIES, ("no rows",)),
    "07-blank-lines-only.jsonl": (SUMMARIES, ("no rows",)),
    "10-utf16.jsonl": (SUMMARIES, ("UTF-16", "UTF-8")),
    "11-latin1-bytes.jsonl": (SUMMARIES, ("line 4: not valid UTF-8",)),
    "13-null-bytes.jsonl": (DEFECTS, ("line 4: holds a NUL byte", "line 5: holds a NUL byte")),
    "16-string-labels.jsonl": (DEFECTS, ("line 7", "' 1 '")),
    "18-embedded.csv": (DEFECTS, ("row 3", "5 values for 3 columns", "row 4", "2 values", "row 6", "quote")),
    "19-fake.parquet": (SUMMARIES, ("not a readable Parquet file",)),
    "22-deep-nesting.json": (SUMMARIES, ("line 1: nested too deeply",)),
    "23-numbers.jsonl": (
        DEFECTS,
        ("line 1: NaN", "line 2: Infinity", "line 3: the number 1e999", "line 4", "line 7: field 'label' stands there"),
    ),
    "24-bomb.jsonl.gz": (SUMMARIES, ("line 1: longer than 32 MiB",)),
    "25-empty-strings.jsonl": (SUMMARIES, ("line 5: field 'target': expected text, found null",)),
}
ACCEPTED: dict[str, tuple[Task, int]] = {
    "08-utf8-bom.jsonl": (DEFECTS, 10),
    "09-crlf.jsonl": (DEFECTS, 10),
    "12-huge-line.jsonl": (SUMMARIES, 5),
    "14-duplicate-ids.jsonl": (DEFECTS, 10),
    "20-injection-strings.jsonl": (SUMMARIES, 14),
    "21-control-characters.jsonl": (SUMMARIES, 10),
}


def write_rows(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@needs_shared
@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_file_is_refused_in_one_line_that_names_the_place(name: str) -> None:
    task, parts = REFUSED[name]
    with pytest.raises(DataError) as caught:
        read_examples(SHARED / name, task)
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    assert [part for part in parts if part not in message] == []


@needs_shared
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_strange_but_sound_file_is_read_whole(name: str) -> None:
    task, n_rows = ACCEPTED[name]
    found = read_examples(SHARED / name, task).examples
    assert len(found) == n_rows
    assert not [example for example in found if "\r" in example.text and name.startswith("09")]


@needs_shared
def test_every_malformed_file_is_covered_here() -> None:
    elsewhere = {"15-one-class", "17-leakage", "README.md"}  # folders of three splits: see test_splits
    assert {path.name for path in SHARED.iterdir()} == {*REFUSED, *ACCEPTED, *elsewhere}


@needs_shared
def test_doubled_ids_are_named() -> None:
    (warning,) = read_examples(SHARED / "14-duplicate-ids.jsonl", DEFECTS).warnings
    assert "'c2'" in warning
    assert "3 rows" in warning


def test_blank_texts_and_targets_are_dropped_with_a_count(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "data.jsonl",
        {"source": "a", "target": "b"},
        {"source": " \n", "target": "b"},
        {"source": "a", "target": ""},
        {"source": "", "target": "b"},
    )
    found = read_examples(path, SUMMARIES)
    assert [example.example_id for example in found.examples] == ["line 1"]
    assert any("2 rows with blank 'source' dropped (line 2, line 4)" in line for line in found.warnings)
    assert any("1 rows with blank 'target' dropped (line 3)" in line for line in found.warnings)


def test_a_file_of_blanks_only_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "data.jsonl", {"source": "", "target": "b"})
    with pytest.raises(DataError, match="no rows left after dropping 1 blank"):
        read_examples(path, SUMMARIES)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1], ("0", "1")),
        ([10, 9, -1], ("-1", "9", "10")),
        ([True, False], ("false", "true")),
        (["vulnerable", "clean"], ("clean", "vulnerable")),
    ],
)
def test_labels_may_be_integers_booleans_or_text(
    labels: list[object], expected: tuple[str, ...], tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "data.jsonl", *({"code": "x", "label": label} for label in labels))
    found = read_examples(path, DEFECTS)
    assert label_names(found.examples) == expected
    assert found.label_counts == dict.fromkeys(expected, 1)


@pytest.mark.parametrize("labels", [(0, "0"), (1, True), ("yes", False)])
def test_mixed_kinds_of_labels_are_refused(labels: tuple[object, object], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "data.jsonl", *({"code": "x", "label": label} for label in labels))
    with pytest.raises(DataError, match=r"'label' mixes .* \(line 1\) and .* \(line 2\)"):
        read_examples(path, DEFECTS)


@pytest.mark.parametrize("label", [0.5, None, [1], {"a": 1}, "", " x"])
def test_other_labels_are_refused(label: object, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "data.jsonl", {"code": "x", "label": label})
    with pytest.raises(DataError, match="line 1: field 'label'"):
        read_examples(path, DEFECTS)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.text().filter(str.strip), st.text().filter(str.strip)), min_size=1, max_size=5))
def test_any_text_comes_back_as_it_was_written(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    path.write_text(
        "\n".join(json.dumps({"source": source, "target": target}, ensure_ascii=False) for source, target in rows),
        encoding="utf-8",
    )
    found = read_examples(path, SUMMARIES).examples
    assert [(example.text, example.target) for example in found] == rows


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_end_in_examples_or_a_data_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("data")
    for name in ("data.jsonl", "data.csv", "data.jsonl.gz"):
        (folder / name).write_bytes(data)
        with pytest.raises(DataError):
            read_examples(folder / name, SUMMARIES)


def test_csv_keeps_line_breaks_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b'\xef\xbb\xbfid,code,label\r\na,"int f()\n{ ""x"" }",yes\r\nb,=SUM(A1),no\r\n')
    found = read_examples(path, DEFECTS).examples
    assert found[0] == Example(example_id="a", text='int f()\n{ "x" }', text_pair=None, target="yes")
    assert found[1].text == "=SUM(A1)"


def test_parquet_is_read(tmp_path: Path) -> None:
    from datasets import Dataset

    path = tmp_path / "data [1].parquet"  # brackets are no pattern
    Dataset.from_list([{"code1": "a", "code2": "b", "label": 1}]).to_parquet(str(path))
    (found,) = read_examples(path, CLONES).examples
    assert found == Example(example_id="row 1", text="a", text_pair="b", target="1")


def test_gzipped_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"source": "a", "target": "b"}\n'))
    assert len(read_examples(path, SUMMARIES).examples) == 1
    path.write_bytes(gzip.compress(b'{"source": "a", "target": "b"}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be read after line"):
        read_examples(path, SUMMARIES)


def test_a_long_packed_file_is_stopped_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 10_000)
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"source": "a", "target": "b"}\n' * 1000))
    with pytest.raises(DataError, match="more than"):
        read_examples(path, SUMMARIES)


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.jsonl", "No such file"), ("data.txt", "unknown kind of file"), ("folder.jsonl", "is a folder")],
)
def test_a_path_that_is_no_data_file_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match=message):
        read_examples(tmp_path / name, SUMMARIES)


def test_a_form_that_is_not_supported_is_said_so(tmp_path: Path) -> None:
    search = Task(slug="code-search", title="Search", kind="non-generative", form="retrieval", metrics=("mrr",))
    with pytest.raises(InputError, match="retrieval"):
        read_examples(tmp_path / "data.jsonl", search)


def test_an_id_may_be_a_number_and_stands_for_the_row(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "data.jsonl", {"id": 7, "source": "a", "target": "b"}, {"id": "", "source": "a", "target": "b"}
    )
    assert [example.example_id for example in read_examples(path, SUMMARIES).examples] == ["7", "line 2"]
