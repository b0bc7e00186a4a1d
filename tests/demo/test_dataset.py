"""Demonstration data, from made-up packages and, once, from the installed ones."""

import ast
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

import advisor.demo.dataset as dataset
from advisor.demo import DEFAULT_SIZES, TASKS, DemoDataset, write_dataset
from advisor.demo.clone_detection import word_overlap
from advisor.demo.rewrites.names import canonical_source
from advisor.errors import DataError
from tests.demo.source_tree import write_packages

pytestmark = pytest.mark.slow

SIZES = {"n_train": 40, "n_valid": 12, "n_test": 20}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packages(tmp_path_factory.mktemp("packages"), n_packages=12)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files(written: DemoDataset) -> list[Path]:
    return [written.train, written.valid, written.test]


@pytest.mark.parametrize("task", TASKS)
def test_the_files_hold_what_the_record_says(task: str, source: Path, tmp_path: Path) -> None:
    written = write_dataset(task, tmp_path / "data", source=source, **SIZES)
    assert [len(lines(path)) for path in files(written)] == [40, 12, 20]
    assert (written.n_train, written.n_valid, written.n_test) == (40, 12, 20)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["test.jsonl", "train.jsonl", "valid.jsonl"]
    used = [name for names in written.packages.values() for name in names]
    assert len(used) == len(set(used))
    ids = [line["id"] for path in files(written) for line in lines(path)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(task: str, source: Path, tmp_path: Path) -> None:
    one, two, three = (
        write_dataset(task, tmp_path / name, source=source, seed=seed, **SIZES)
        for name, seed in (("one", 5), ("two", 5), ("three", 6))
    )
    for first, second, third in zip(files(one), files(two), files(three), strict=True):
        assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_clone_pairs_are_balanced_parse_and_carry_no_telling_name(source: Path, tmp_path: Path) -> None:
    written = write_dataset("clone-detection", tmp_path, source=source, **SIZES)
    for path in files(written):
        rows = lines(path)
        assert all(list(row) == ["id", "code1", "code2", "label"] for row in rows)
        assert sum(row["label"] for row in rows) * 2 == len(rows)
        for row in rows:
            for code in (row["code1"], row["code2"]):
                assert ast.unparse(ast.parse(code)) == code
                assert code.startswith("def function(")


def test_no_pair_holds_two_functions_that_differ_in_names_alone_and_is_called_different(
    source: Path, tmp_path: Path
) -> None:
    written = write_dataset("clone-detection", tmp_path, source=source, **SIZES)
    for row in lines(written.train):
        if not row["label"]:
            assert canonical_source(row["code1"]) != canonical_source(row["code2"])


def test_summaries_are_sentences_that_the_source_does_not_hold(source: Path, tmp_path: Path) -> None:
    written = write_dataset("code-summarization", tmp_path, source=source, **SIZES)
    targets = []
    for path in files(written):
        for row in lines(path):
            assert list(row) == ["id", "source", "target"]
            assert row["target"] not in row["source"]
            assert 3 <= len(row["target"].split()) <= 30
            assert '"""' not in row["source"]
            targets.append(row["target"].lower())
    assert len(targets) == len(set(targets))


def test_fewer_examples_come_where_the_packages_yield_fewer(source: Path, tmp_path: Path) -> None:
    written = write_dataset("clone-detection", tmp_path, source=source, n_train=5000, n_valid=10, n_test=10)
    assert 0 < written.n_train < 5000
    assert written.n_train % 2 == 0


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_without_usable_functions_is_an_error_that_names_it(task: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no train examples") as caught:
        write_dataset(task, tmp_path / "data", source=tmp_path / "empty")
    assert str(tmp_path / "empty") in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_an_unknown_task_and_a_size_of_nothing_are_errors(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clone-detection"):
        write_dataset("defect-detection", tmp_path, source=source)
    with pytest.raises(DataError, match="at least 2"):
        write_dataset("clone-detection", tmp_path, source=source, n_train=0)


def test_nothing_half_written_stays_under_the_files_names(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset.json, "dumps", fail)
    with pytest.raises(KeyboardInterrupt):
        write_dataset("clone-detection", tmp_path, source=source, **SIZES)
    assert not list(tmp_path.glob("*.jsonl"))
    assert not list(tmp_path.iterdir())


def test_installed_packages_give_pairs_that_no_shortcut_tells_apart(tmp_path: Path) -> None:
    written = write_dataset("clone-detection", tmp_path, n_train=160, n_valid=20, n_test=160)
    rows = lines(written.train) + lines(written.test)
    assert len(rows) == 320
    labels = [row["label"] for row in rows]
    overlap = [word_overlap(row["code1"], row["code2"]) for row in rows]
    length = [-float(abs(len(row["code1"]) - len(row["code2"]))) for row in rows]
    # Which packages are installed moves this by a few points; a shortcut would give 1.
    assert best_accuracy(overlap, labels) < 0.94
    assert best_accuracy(length, labels) < 0.7
    assert "advisor" not in {name for names in written.packages.values() for name in names}


def test_usual_sizes_keep_a_demonstration_short() -> None:
    assert all(sum(sizes) <= 3000 for sizes in DEFAULT_SIZES.values())


def best_accuracy(values: list[float], labels: list[int]) -> float:
    """Accuracy of the best rule `value >= threshold means 1`."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    correct = best = sum(labels)
    for index in order:
        correct += -1 if labels[index] else 1
        best = max(best, correct)
    return best / len(values)


def test_best_accuracy_finds_the_threshold() -> None:
    rng = Random(0)
    labels = [rng.randrange(2) for _ in range(50)]
    assert best_accuracy([float(label) for label in labels], labels) == 1.0
