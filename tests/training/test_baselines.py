"""Baselines without training."""

from pathlib import Path

import pytest

from advisor.catalog.tasks import Task
from advisor.training.baselines import majority_class
from advisor.training.examples import Example
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
