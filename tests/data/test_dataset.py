"""A dataset is read, cut, sampled and rid of repeated rows as asked, and says what was done."""

from pathlib import Path

import pytest

from advisor.data.dataset import Code, DataRequest, read_dataset, report_on
from advisor.data.splitting import parse_shares
from advisor.errors import DataError, InputError
from advisor.trial import Split
from tests.data.rows import DEFECTS, SEARCH, SHARED, SUMMARIES, write_rows


def rows(n: int, start: int = 0) -> list[dict[str, object]]:
    return [{"id": i, "code": f"f {i}", "label": i % 2, "project": f"p{i % 7}"} for i in range(start, start + n)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "train.jsonl", *rows(40))
    write_rows(tmp_path / "dev.jsonl", *rows(10, 35))  # 5 of them stand in train
    write_rows(tmp_path / "test.jsonl", *rows(10, 100))
    return tmp_path


def test_a_folder_gives_all_its_splits_unchanged(folder: Path) -> None:
    dataset = read_dataset(DataRequest(places={"train": folder}), DEFECTS)
    assert {split: len(file.examples) for split, file in dataset.files.items()} == {
        "train": 40,
        "valid": 10,
        "test": 10,
    }
    assert dataset.files["valid"].path == str(folder / "dev.jsonl")
    assert dataset.changes == ()
    import hashlib

    assert dataset.files["train"].sha256 == hashlib.sha256((folder / "train.jsonl").read_bytes()).hexdigest()


def test_splits_may_come_from_different_places(folder: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "more" / "other.jsonl", *rows(4, 200))
    dataset = read_dataset(DataRequest(places={"train": folder, "valid": other, "test": folder}), DEFECTS)
    assert [len(dataset.files[split].examples) for split in ("train", "valid", "test")] == [40, 4, 10]
    (folder / "test.jsonl").unlink()
    with pytest.raises(DataError, match="has no test split"):
        read_dataset(DataRequest(places={"train": folder, "test": folder}), DEFECTS)


def test_one_table_is_cut_and_that_is_said(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", *rows(100))
    request = DataRequest(places={"train": path}, split=parse_shares("80/10/10"), seed=3)
    dataset = read_dataset(request, DEFECTS)
    assert {split: len(file.examples) for split, file in dataset.files.items()} == {
        "train": 80,
        "valid": 10,
        "test": 10,
    }
    assert dataset.files["valid"].label_counts == {"0": 5, "1": 5}
    assert dataset.files["test"].path == f"{path}[test]"
    assert len({file.sha256 for file in dataset.files.values()}) == 3
    assert dataset.changes == (f"{path} cut by label into train 80, valid 10, test 10 (seed 3)",)
    again = read_dataset(request, DEFECTS)
    assert [file.sha256 for file in again.files.values()] == [file.sha256 for file in dataset.files.values()]


def test_groups_do_not_cross_splits(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", *rows(100))
    request = DataRequest(places={"train": path}, split=parse_shares("60/20/20"), group_by="project")
    files = read_dataset(request, DEFECTS).files
    groups = [{example.group for example in file.examples} for file in files.values()]
    assert sum(map(len, groups)) == 7
    assert groups[0] | groups[1] | groups[2] == {f"p{i}" for i in range(7)}


def test_groups_that_cross_given_splits_are_reported(folder: Path) -> None:
    dataset = read_dataset(DataRequest(places={"train": folder}, group_by="project"), DEFECTS)
    warnings = report_on(dataset, DEFECTS).messages("warning")
    # Ten rows of every split have all of seven projects.
    assert "7 of 7 groups of the test split stand in the train split too (10 of 10 rows)" in warnings


def test_a_test_split_of_its_own_is_left_alone(folder: Path) -> None:
    (folder / "dev.jsonl").unlink()
    dataset = read_dataset(DataRequest(places={"train": folder}, split=parse_shares("90/10")), DEFECTS)
    assert {split: len(file.examples) for split, file in dataset.files.items()} == {"train": 36, "valid": 4, "test": 10}
    assert dataset.files["test"].path == str(folder / "test.jsonl")


@pytest.mark.parametrize(
    ("places", "shares", "message"),
    [
        (("train.jsonl", "dev.jsonl"), "80/10/10", "train, valid are there already"),
        (("train.jsonl",), "90/10", "give three shares"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(
    places: tuple[str, ...], shares: str, message: str, folder: Path
) -> None:
    splits: tuple[Split, ...] = ("train", "valid")
    named = {split: folder / place for split, place in zip(splits, places, strict=False)}
    with pytest.raises(InputError, match=message):
        read_dataset(DataRequest(places=named, split=parse_shares(shares)), DEFECTS)


def test_repeated_rows_are_dropped_on_demand(folder: Path) -> None:
    dataset = read_dataset(DataRequest(places={"train": folder}, dedup="exact"), DEFECTS)
    assert len(dataset.files["train"].examples) == 35
    assert dataset.changes == ("5 train rows dropped that stand in another split",)
    assert all(overlap.n_exact == 0 for overlap in report_on(dataset, DEFECTS).overlaps)
    assert report_on(dataset, DEFECTS).changes == dataset.changes


def test_dropping_everything_or_from_nothing_is_refused(folder: Path) -> None:
    same, copy = folder / "train.jsonl", folder / "copy.jsonl"
    copy.write_bytes(same.read_bytes())
    with pytest.raises(DataError, match="leaves nothing"):
        read_dataset(DataRequest(places={"train": same, "valid": copy}, dedup="exact"), DEFECTS)
    with pytest.raises(InputError, match="--dedup drops train rows"):
        read_dataset(DataRequest(places={"train": same}, dedup="exact"), DEFECTS)


def test_one_file_for_two_splits_is_refused_however_it_is_named(folder: Path) -> None:
    again = folder / "again.jsonl"
    again.symlink_to(folder / "train.jsonl")
    for other in (folder / "train.jsonl", again):
        with pytest.raises(InputError, match=r"--test: .* is the file of --train as well; .* --split 80/10/10"):
            read_dataset(DataRequest(places={"train": folder / "train.jsonl", "test": other}), DEFECTS)
    # One folder for all is how a dataset with all splits may be named.
    assert set(read_dataset(DataRequest(places={"train": folder}), DEFECTS).files) == {"train", "valid", "test"}


def test_a_sample_is_spread_over_the_splits(folder: Path) -> None:
    dataset = read_dataset(DataRequest(places={"train": folder}, sample=30), DEFECTS)
    assert {split: len(file.examples) for split, file in dataset.files.items()} == {"train": 20, "valid": 5, "test": 5}
    assert dataset.changes == ("30 of 60 rows kept (sample by label, seed 0)",)
    assert dataset.files["train"].label_counts == {"0": 10, "1": 10}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"places": {}}, "no data"), ({"sample": 0}, "--sample")],
)
def test_requests_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DataRequest(**({"places": {"train": "x.jsonl"}} | options))  # type: ignore[arg-type]


def test_a_place_that_does_not_exist_is_named_with_its_option() -> None:
    with pytest.raises(InputError, match=r"--valid: nosuch\.jsonl does not exist"):
        read_dataset(DataRequest(places={"valid": "nosuch.jsonl"}), DEFECTS)


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.jsonl", {"instruction": "a", "input": "b", "output": "c"})
    request = DataRequest(places={"train": path}, columns={"source": "instruction"})
    (example,) = read_dataset(request, SUMMARIES).files["train"].examples
    assert (example.text, example.target) == ("a", "c")


def test_the_codebase_of_a_search_is_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", {"query": "q", "code": "x", "code_id": 1})
    write_rows(tmp_path / "codebase.jsonl", {"code_id": 1, "code": "x"}, {"code_id": 2, "code": "y"})
    dataset = read_dataset(DataRequest(places={"train": tmp_path}), SEARCH)
    assert dataset.codebase == (Code(code_id="1", code="x"), Code(code_id="2", code="y"))
    assert dataset.files["test"].examples[0].code_id == "1"
    write_rows(tmp_path / "codebase.jsonl", {"code_id": 1, "code": "x"}, {"code_id": "1", "code": "y"})
    with pytest.raises(DataError, match="line 2: code_id '1' stands there twice"):
        read_dataset(DataRequest(places={"train": tmp_path}), SEARCH)


def test_a_real_search_dataset_names_codes_of_its_codebase() -> None:
    folder = SHARED / "code-search" / "cosqa-retrieval"
    if not folder.is_dir():
        pytest.skip(f"needs the shared data folder {folder}")
    dataset = read_dataset(DataRequest(places={"train": folder}), SEARCH)
    assert len(dataset.codebase) == 6267
    codes = {entry.code_id: entry.code for entry in dataset.codebase}
    assert [len(file.examples) for file in dataset.files.values()] == [500, 500]
    assert all(codes[str(row.code_id)] == row.text_pair for row in dataset.files["test"].examples)
    assert report_on(dataset, SEARCH).messages("error") == ()
