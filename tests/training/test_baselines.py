"""Baselines without training."""

from pathlib import Path

import pytest

from advisor.catalog.tasks import Task
from advisor.data.examples import Example
from advisor.training.baselines import majority_class
from advisor.training.predictions import read_predictions


def test_the_majority_class_is_the_commonest_label_of_training(tmp_path: Path) -> None:
    task = Task(slug="t", title="T", kind="non-generative", form="single", metrics=("f1", "accuracy"))

    def rows(*labels: str) -> list[Example]:
        return [Example(example_id=str(n), text="x", text_pair=None, target=label) for n, label in enumerate(labels)]

    found = majority_class(task, rows("1", "1", "0"), rows("0", "1", "0"), predictions=tmp_path / "majority.jsonl")
    assert found.metrics == {"f1": 0.5, "accuracy": pytest.approx(1 / 3)}
    assert found.n_examples == 3
    assert {item.predicted for item in read_predictions(tmp_path / "majority.jsonl")} == {"1"}
    assert majority_class(task, rows("1", "0"), rows("0")).metrics["accuracy"] == 1.0  # of equals the first


def test_the_majority_of_sets_are_the_labels_of_more_than_half_of_the_rows(tmp_path: Path) -> None:
    task = Task(slug="t", title="T", kind="non-generative", form="multi-label", metrics=("micro-f1", "subset-accuracy"))

    def rows(*sets: str) -> list[Example]:
        return [
            Example(example_id=str(n), text="x", text_pair=None, target=", ".join(labels), labels=tuple(labels))
            for n, labels in enumerate(sets)
        ]

    # "a" stands on 3 of 4 rows, "b" on exactly half of them.
    found = majority_class(task, rows("ab", "ab", "a", ""), rows("a", "", "ab"), predictions=tmp_path / "m.jsonl")
    assert found.metrics == {"micro-f1": pytest.approx(2 * 2 / (3 + 3)), "subset-accuracy": pytest.approx(1 / 3)}
    assert [(item.expected, item.predicted) for item in read_predictions(tmp_path / "m.jsonl")] == [
        ('["a"]', '["a"]'), ("[]", '["a"]'), ('["a", "b"]', '["a"]')
    ]  # fmt: skip
    rare = majority_class(task, rows("a", "b", ""), rows("a", ""))
    assert {item.predicted for item in rare.predictions} == {"[]"}
    assert rare.metrics["subset-accuracy"] == 0.5
