"""Files of every kind are read exactly or refused, packed ones within bounds."""

import gzip
import random
from pathlib import Path

import pytest

from advisor.data import files
from advisor.data.examples import Example, read_examples
from advisor.errors import DataError
from tests.data.rows import CLONES, DEFECTS, SUMMARIES, zstd


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
    [("none.jsonl", "No such file"), ("data.txt", "unknown kind of file"), ("folder.jsonl", "a folder, not a file")],
)
def test_a_path_that_is_no_data_file_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match=message):
        read_examples(tmp_path / name, SUMMARIES)


def test_rows_of_a_packed_file_have_bounded_length(tmp_path: Path) -> None:
    zstd(tmp_path / "bomb.jsonl.zst", b'{"code": "' + b"a" * (33 * 1024**2) + b'", "label": 1}\n')
    with pytest.raises(DataError, match="line 1: longer than 32 MiB"):
        read_examples(tmp_path / "bomb.jsonl.zst", DEFECTS)


def test_a_cut_packed_file_is_refused(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(300_000).hex()
    zstd(tmp_path / "data.jsonl.zst", f'{{"source": "{noise}", "target": "b"}}\n'.encode() * 4)
    content = (tmp_path / "data.jsonl.zst").read_bytes()
    (tmp_path / "data.jsonl.zst").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read after line"):
        read_examples(tmp_path / "data.jsonl.zst", SUMMARIES)


def test_a_huge_value_in_parquet_is_refused(tmp_path: Path) -> None:
    from datasets import Dataset

    path = tmp_path / "data.parquet"
    Dataset.from_list([{"code": "a" * (33 * 1024**2), "label": 1}]).to_parquet(str(path))
    with pytest.raises(DataError, match="row 1: longer than 32 MiB"):
        read_examples(path, DEFECTS)
