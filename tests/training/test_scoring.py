"""A model is scored on the split that is asked for, by itself or by what it said in a pack."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from advisor.catalog.tasks import Task
from advisor.modeling.attachment import AttachedModel
from advisor.training import scoring
from advisor.training.predictions import read_predictions
from advisor.training.resident import Resident
from advisor.training.scoring import Scorer
from tests.training.toy import CLONES, SUMMARIES, candidate, splits

BaseFolder = Callable[..., Path]


def scorer_for(task: Task) -> tuple[Scorer, Resident]:
    data = Resident(task, splits(task), torch.device("cpu"), seed=7)
    return Scorer(task, data), data


@pytest.fixture
def untuned(base_folder: BaseFolder) -> tuple[Scorer, Resident, AttachedModel]:
    scorer, data = scorer_for(CLONES)
    base = data.base_model(candidate(base_folder("encoder-only"), "encoder-only"))
    return scorer, data, AttachedModel(base=base, model=base.model)


def test_predictions_that_are_known_are_not_made_again(
    untuned: tuple[Scorer, Resident, AttachedModel],
    base_folder: BaseFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scorer, data, attached = untuned

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(scoring, "predict", refused)
    truth = [example.target for example in data.examples("valid")]
    said = [truth[0], *("1" if target == "0" else "0" for target in truth[1:])]  # one of six is right
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    found = scorer.score(attached, chosen, "valid", predicted=said, predictions=tmp_path / "said.jsonl")
    assert found.n_examples == 6
    assert found.metrics["accuracy"] == pytest.approx(1 / 6)
    assert [one.predicted for one in read_predictions(tmp_path / "said.jsonl")] == said
    assert scorer.score(attached, chosen, "valid", predicted=truth).metrics["accuracy"] == 1.0


def test_every_split_is_scored_by_its_own_examples(
    untuned: tuple[Scorer, Resident, AttachedModel], base_folder: BaseFolder, tmp_path: Path
) -> None:
    scorer, data, attached = untuned
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    found = scorer.score(attached, chosen, "test", predictions=tmp_path / "said.jsonl")
    said = read_predictions(tmp_path / "said.jsonl")
    assert [one.example_id for one in said] == [example.example_id for example in data.examples("test")]
    right = sum(one.expected == one.predicted for one in said)
    assert (found.n_examples, found.metrics["accuracy"]) == (12, pytest.approx(right / 12))


def test_a_text_is_scored_by_the_metrics_of_its_task(base_folder: BaseFolder) -> None:
    scorer, data = scorer_for(SUMMARIES)
    chosen = candidate(base_folder("decoder-only"), "decoder-only")
    base = data.base_model(chosen)
    truth = [example.target for example in data.examples("valid")]
    found = scorer.score(AttachedModel(base=base, model=base.model), chosen, "valid", predicted=truth)
    assert set(found.metrics) == set(SUMMARIES.metrics)
    assert found.metrics["bleu"] == pytest.approx(100.0)
