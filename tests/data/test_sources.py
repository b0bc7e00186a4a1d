"""Datasets are found wherever they stand, and every form of storage gives the same rows."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor.data.examples import examples_of
from advisor.data.sources import Source, find_source
from advisor.errors import DataError, InputError
from tests.data.rows import CLONES, SUMMARIES, write_rows, zstd

ROWS = [{"source": f"a{i}\nb\t\u2028", "target": f'"ü"{i}'} for i in range(3)]


def texts(source: Source, split: str = "train") -> list[tuple[str, str]]:
    part = source.parts[split]  # type: ignore[index]
    found = examples_of(part.rows(), SUMMARIES, name=part.name).examples
    return [(example.text, example.target) for example in found]


def csv_of(path: Path, rows: list[dict[str, str]]) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["source", "target"])
        writer.writeheader()
        writer.writerows(rows)


WRITERS: dict[str, Callable[[Path, list[dict[str, str]]], object]] = {
    "data.jsonl": lambda path, rows: write_rows(path, *rows),
    "data.jsonl.gz": lambda path, rows: path.write_bytes(gzip.compress(lines(rows))),
    "data.jsonl.zst": lambda path, rows: zstd(path, lines(rows)),
    "data.csv": csv_of,
    "data.parquet": lambda path, rows: Dataset.from_list(rows).to_parquet(str(path)),
    "saved": lambda path, rows: Dataset.from_list(rows).save_to_disk(str(path)),
}


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


# NUL cannot stand in a line of text, and a carriage return is part of a CSV line's end.
TEXTS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])).filter(str.strip)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({"source": TEXTS, "target": TEXTS}), min_size=1, max_size=4))
def test_every_form_of_storage_gives_back_what_was_written(
    name: str, rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("data") / name
    WRITERS[name](path, rows)
    assert texts(find_source(path)) == [(row["source"], row["target"]) for row in rows]


@pytest.mark.parametrize("valid", ["valid", "validation", "val", "dev", "eval"])
def test_a_folder_has_its_splits_under_their_usual_names(valid: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", ROWS[0])
    write_rows(tmp_path / f"{valid}.jsonl", ROWS[1])
    write_rows(tmp_path / "Test.jsonl", ROWS[2])
    write_rows(tmp_path / "codebase.jsonl", {"code_id": 1, "code": "x"})
    source = find_source(tmp_path)
    assert list(source.parts) == ["train", "valid", "test"]
    assert texts(source, "valid") == [(ROWS[1]["source"], ROWS[1]["target"])]
    assert source.codebase is not None
    assert not source.is_whole


def test_two_files_for_one_split_are_refused_by_name(tmp_path: Path) -> None:
    write_rows(tmp_path / "dev.jsonl", ROWS[0])
    write_rows(tmp_path / "valid.csv", ROWS[0])
    with pytest.raises(
        DataError, match=r"dev.jsonl and valid.csv could both be the valid split; name one with --valid"
    ):
        find_source(tmp_path)


def test_a_folder_without_splits_is_refused_with_the_names_that_it_could_have(tmp_path: Path) -> None:
    write_rows(tmp_path / "other.jsonl", ROWS[0])
    with pytest.raises(DataError, match=r"no file of a split there .*train.*dev.*jsonl"):
        find_source(tmp_path)


def test_a_saved_dataset_with_splits_has_the_same(tmp_path: Path) -> None:
    splits = {
        "train": Dataset.from_list(ROWS[:2]),
        "validation": Dataset.from_list(ROWS[2:]),
        "extra": Dataset.from_list(ROWS),
    }
    DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    source = find_source(tmp_path / "saved")
    assert list(source.parts) == ["train", "valid"]
    assert source.parts["valid"].name.endswith("saved[validation]")
    assert texts(source, "valid") == [(ROWS[2]["source"], ROWS[2]["target"])]


def test_a_broken_saved_dataset_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(DataError, match="not a readable dataset folder") as caught:
        find_source(tmp_path)
    assert "\n" not in str(caught.value)


def test_lists_of_pairs_are_read_with_their_functions(tmp_path: Path) -> None:
    write_rows(tmp_path / "data.jsonl", *({"idx": str(n), "func": f"f{n}"} for n in range(3)))
    (tmp_path / "train.txt").write_text("0\t1\t1\n\n2\t0\t0\n")
    (tmp_path / "valid.txt").write_text("0 9 1\n0 1\n")
    source = find_source(tmp_path)
    train = examples_of(source.parts["train"].rows(), CLONES, name="x").examples
    assert [(row.text, row.text_pair, row.target) for row in train] == [("f0", "f1", "1"), ("f2", "f0", "0")]
    assert train[0].text is train[1].text_pair  # a function is kept once
    with pytest.raises(DataError, match=r"line 1: id '9' is not in data.jsonl; line 2: expected two ids and a label"):
        examples_of(source.parts["valid"].rows(), CLONES, name="x")
    assert texts_of_pairs(find_source(tmp_path / "train.txt")) == [("f0", "f1"), ("f2", "f0")]


def texts_of_pairs(source: Source) -> list[tuple[str, str | None]]:
    rows = examples_of(source.parts["train"].rows(), CLONES, name="x").examples
    return [(row.text, row.text_pair) for row in rows]


def test_a_list_of_pairs_without_functions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0\t1\t1\n")
    with pytest.raises(DataError, match="needs the functions in data"):
        find_source(tmp_path / "train.txt")


@pytest.mark.parametrize("place", ["nosuch", "data/nosuch.jsonl", "./no/such/folder"])
def test_a_place_that_is_not_there_is_refused(place: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_source(place)


def test_a_dataset_of_the_hub_that_cannot_be_had_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="nobody/nothing: neither a file here nor a dataset that can be had") as caught:
        find_source("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_a_dataset_of_the_hub_is_asked_for_with_its_configuration_and_without_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def load(*args: object, **options: object) -> DatasetDict:
        asked.append((*args, *options))
        return DatasetDict({"train": Dataset.from_list(ROWS)})

    monkeypatch.setattr("datasets.load_dataset", load)
    source = find_source("owner/name:python")
    assert asked == [("owner/name", "python")]  # `trust_remote_code` is not among them
    assert source.parts["train"].name == "owner/name:python[train]"
    assert len(texts(source)) == 3
