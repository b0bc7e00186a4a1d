"""The linear probe: features by hand, labels that the features decide, no more data than allowed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel

from advisor.catalog.tasks import Task, find_task
from advisor.data.examples import Example
from advisor.spec import Architecture
from advisor.training.linear_probe import STRENGTHS, features_of, linear_probe
from advisor.training.predictions import read_predictions
from advisor.training.runner import DeviceRunner
from tests.training.toy import candidate

pytestmark = pytest.mark.slow

SINGLE = Task(slug="t", title="T", kind="non-generative", form="single", metrics=("f1", "accuracy"))
COMMENTS = find_task("code-comment-classification")
CODE = ("print(numbers)", "for i in range(10): print(i)", "int sum(int a) { return a; }", "def add(a, b): return a + b")


def examples(n: int, first: int = 0) -> tuple[Example, ...]:
    """Make examples whose label is whether they are in a loop of Python."""
    return tuple(
        Example(
            example_id=str(i),
            text=f"{CODE[i % 4]} # {i * i}",
            text_pair=None,
            target="yes" if i % 4 == 1 else "no",
            labels=tuple(name for name, has in (("loop", i % 4 == 1), ("print", i % 4 < 2)) if has),
        )
        for i in range(first, first + n)
    )


def runner(task: Task = SINGLE, n_train: int = 48) -> DeviceRunner:
    parts = {"train": examples(n_train), "valid": examples(12, 100), "test": examples(20, 200)}
    return DeviceRunner(task, parts, seed=0, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["encoder-only", "decoder-only", "encoder-decoder"])
def test_features_are_the_mean_of_the_last_hidden_states_without_padding(
    architecture: Architecture, base_folder: object
) -> None:
    chosen, held = candidate(base_folder(architecture), architecture), runner()  # type: ignore[operator]
    attached = held.attach_saved(chosen, None, seed=0)
    rows = held.data.rows("test", chosen, attached).rows
    found = features_of(attached, rows, precision="fp32")
    model = AutoModel.from_pretrained(base_folder(architecture)).eval()  # type: ignore[operator]
    reader = model.get_encoder() if architecture == "encoder-decoder" else model
    with torch.no_grad():
        alone = [reader(input_ids=torch.tensor([row.input_ids.tolist()])).last_hidden_state[0].mean(0) for row in rows]
    assert len({len(row.input_ids) for row in rows}) > 1  # so there is padding
    np.testing.assert_allclose(found, torch.stack(alone).numpy(), atol=1e-5)


def test_the_probe_is_the_logistic_regression_that_is_best_on_validation_data(
    base_folder: object, tmp_path: Path
) -> None:
    chosen, held = candidate(base_folder("encoder-only"), "encoder-only"), runner()  # type: ignore[operator]
    found = linear_probe(held, SINGLE, chosen, most_train=48, seed=0, predictions=tmp_path / "probe.jsonl")
    attached = held.attach_saved(chosen, None, seed=0)
    known = {
        split: features_of(attached, held.data.rows(split, chosen, attached).rows, precision="fp32")  # type: ignore[arg-type]
        for split in ("train", "valid", "test")
    }
    labels = {split: np.array([one.target for one in held.data.examples(split)]) for split in known}  # type: ignore[arg-type]
    scaler = StandardScaler().fit(known["train"])
    x = {split: scaler.transform(values) for split, values in known.items()}
    fits = [LogisticRegression(C=c, max_iter=1000).fit(x["train"], labels["train"]) for c in STRENGTHS]
    values = [
        (f1_score(labels["valid"], fit.predict(x["valid"]), pos_label="yes", zero_division=0.0),
         -log_loss(labels["valid"], fit.predict_proba(x["valid"])))
        for fit in fits
    ]  # fmt: skip
    expected = fits[values.index(max(values))].predict(x["test"])
    made = read_predictions(tmp_path / "probe.jsonl")
    assert [item.predicted for item in made] == expected.tolist()
    assert found.metrics["accuracy"] == np.mean(expected == labels["test"])
    assert found.metrics["accuracy"] > 0.75  # the commonest class has three quarters
    assert (found.n_examples, found.duration_s > 0) == (20, True)
    assert found.note == "logistic regression on mean-pooled features of the untuned model, of 48 training examples"


def test_sets_of_labels_are_probed_label_by_label(base_folder: object, tmp_path: Path) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only")  # type: ignore[operator]
    held = runner(COMMENTS)
    found = linear_probe(held, COMMENTS, chosen, most_train=48, seed=0, predictions=tmp_path / "probe.jsonl")
    assert found.metrics["macro-f1"] == 1.0
    assert {item.predicted for item in read_predictions(tmp_path / "probe.jsonl")} == {
        "[]", '["loop", "print"]', '["print"]',
    }  # fmt: skip


def test_a_draw_of_training_examples_depends_on_its_seed_and_has_two_classes(base_folder: object) -> None:
    chosen, held = candidate(base_folder("encoder-only"), "encoder-only"), runner()  # type: ignore[operator]
    few = [linear_probe(held, SINGLE, chosen, most_train=3, seed=seed) for seed in (0, 0, 1, 2, 3, 4)]
    assert replace(few[0], duration_s=0) == replace(few[1], duration_s=0)
    assert len({str(one.metrics) + str(one.predictions) for one in few}) > 1


def test_the_base_model_is_as_it_was(base_folder: object) -> None:
    chosen, held = candidate(base_folder("encoder-only"), "encoder-only"), runner()  # type: ignore[operator]
    before = held.evaluate(chosen, None, "test", seed=3)
    linear_probe(held, SINGLE, chosen, most_train=48, seed=0)
    assert replace(held.evaluate(chosen, None, "test", seed=3), duration_s=before.duration_s) == before
