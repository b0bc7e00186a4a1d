"""A model is scored on the split that is asked for, by itself or by what it said in a pack."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from advisor.catalog.tasks import Task, find_task, with_execution
from advisor.data.examples import Example
from advisor.execution import ProgramTests
from advisor.metrics.thresholds import class_threshold
from advisor.modeling.attachment import AttachedModel
from advisor.training import scoring
from advisor.training.evaluation import prediction_batches, prediction_inputs
from advisor.training.predictions import read_predictions
from advisor.training.programs import ProgramJudge
from advisor.training.resident import Resident
from advisor.training.scoring import Scorer
from advisor.training.thresholds import Predicted
from tests.training.toy import CLONES, SUMMARIES, candidate, splits

pytestmark = pytest.mark.slow

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
    found = scorer.score(
        attached, chosen, "valid", predicted=Predicted(texts=said), predictions=tmp_path / "said.jsonl"
    )
    assert found.n_examples == 6
    assert found.metrics["accuracy"] == pytest.approx(1 / 6)
    assert [one.predicted for one in read_predictions(tmp_path / "said.jsonl")] == said
    assert scorer.score(attached, chosen, "valid", predicted=Predicted(texts=truth)).metrics["accuracy"] == 1.0


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


def biased(attached: AttachedModel, by: float) -> None:
    """Let an untuned classifier have opinions, and move the second class's logit."""
    numbers = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in attached.base.model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(15)
        head = attached.base.model.classifier.out_proj
        head.weight.copy_(torch.randn(head.weight.shape, generator=numbers))
        head.bias.copy_(torch.tensor([0.0, by]))


def test_the_final_score_is_decided_by_the_threshold_that_is_best_on_validation_data(
    untuned: tuple[Scorer, Resident, AttachedModel], base_folder: BaseFolder, tmp_path: Path
) -> None:
    scorer, data, attached = untuned
    biased(attached, -30.0)  # every second class gets a probability of nearly nothing
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    plain = scorer.score(attached, chosen, "test")
    assert (plain.threshold, plain.metrics["f1"]) == (None, 0.0)
    found = scorer.score_finally(attached, chosen, predictions=tmp_path / "said.jsonl")
    validation = scorer.predicted(attached, chosen, "valid")
    assert validation.scores is not None
    assert found.threshold == class_threshold("f1", data.expected("valid"), validation.scores[:, 0], data.label_names)
    assert found.threshold < 0.01
    made = read_predictions(tmp_path / "said.jsonl")
    assert all(item.scores is not None and len(item.scores) == 1 for item in made)
    said = [data.label_names[int(item.scores[0] >= found.threshold)] for item in made if item.scores is not None]
    assert [item.predicted for item in made] == said
    assert "1" in said
    assert found.metrics["f1"] == pytest.approx(f1_score(data.expected("test"), said, pos_label="1"))


def test_areas_are_those_of_scikit_learn_on_the_logits(
    untuned: tuple[Scorer, Resident, AttachedModel], base_folder: BaseFolder
) -> None:
    scorer, data, attached = untuned
    biased(attached, 0.0)
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    found = scorer.score_finally(attached, chosen)
    margins = {}
    with torch.no_grad():
        for numbers, part in prediction_batches(attached, data.rows("test", chosen, attached).rows):
            logits = attached.base.model(**prediction_inputs(attached, part)).logits
            margins |= dict(zip(numbers, (logits[:, 1] - logits[:, 0]).tolist(), strict=True))
    truth = [int(label == "1") for label in data.expected("test")]
    ordered = [margins[number] for number in range(len(truth))]
    assert found.metrics["roc-auc"] == pytest.approx(roc_auc_score(truth, ordered))
    assert found.metrics["pr-auc"] == pytest.approx(average_precision_score(truth, ordered))
    # While a search runs nothing is measured but the metrics of the task.
    assert set(scorer.score(attached, chosen, "valid").metrics) == set(CLONES.metrics)


def test_a_text_is_scored_by_the_metrics_of_its_task(base_folder: BaseFolder) -> None:
    scorer, data = scorer_for(SUMMARIES)
    chosen = candidate(base_folder("decoder-only"), "decoder-only")
    base = data.base_model(chosen)
    truth = [example.target for example in data.examples("valid")]
    found = scorer.score(AttachedModel(base=base, model=base.model), chosen, "valid", predicted=Predicted(texts=truth))
    assert set(found.metrics) == set(SUMMARIES.metrics)
    assert found.metrics["bleu"] == pytest.approx(100.0)


def test_a_program_is_scored_by_its_tests_beside_the_metrics_of_its_text(
    base_folder: BaseFolder, tmp_path: Path
) -> None:
    task = with_execution(find_task("code-generation"))
    rows = tuple(
        Example(
            example_id=str(n), text=f"Add {n}.", text_pair=None, target=f"def f(x): return x + {n}",
            tests=ProgramTests(code=f"assert f(1) == {n + 1}"),
        )
        for n in range(4)
    )  # fmt: skip
    splits = {"train": rows, "valid": rows, "test": rows}
    data = Resident(task, splits, torch.device("cpu"), seed=7, judge=ProgramJudge())
    chosen = candidate(base_folder("decoder-only"), "decoder-only")
    base = data.base_model(chosen)
    said = ["def f(y): return y", rows[1].target, "f =", "while True: pass"]
    attached, path = AttachedModel(base=base, model=base.model), tmp_path / "said.jsonl"
    found = Scorer(task, data).score(attached, chosen, "valid", predicted=Predicted(texts=said), predictions=path)
    assert list(found.metrics) == list(task.metrics)
    assert (found.metrics["pass@1"], found.metrics["exact-match"]) == (0.5, 0.25)
    written = read_predictions(path)
    assert [one.outcome for one in written] == ["passed", "passed", "failed", "timed-out"]
    assert [one.error for one in written][2:] == ["SyntaxError: invalid syntax", "used more than 3 s of processor time"]
    assert found.predictions == written
