"""`export --to merged` of finished runs: the best adapter becomes weights that say what the study's answers were."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from advisor.errors import InputError
from advisor.modeling.quiet import quiet_libraries
from advisor.tuning.merging import prepare_merge
from tests.tuning.prediction.studies import Study, finished_study, pairs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["lora", pytest.param("full", marks=pytest.mark.heavy)])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp(request.param)
    return finished_study(root, "clone-detection", pairs, sizes=(16, 8, 12), methods=(request.param,))


def changed(study: Study, folder: Path, **changes: object) -> Path:
    """Copy a run, with another candidate as its best trial."""
    shutil.copytree(study.folder, folder)
    result = json.loads((folder / "result.json").read_text())
    for row in result["contenders"]:
        if row.get("candidate"):
            row["candidate"].update(changes)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_merged_weights_give_the_answers_of_the_study(study: Study, tmp_path: Path) -> None:
    summary = prepare_merge(study.folder, tmp_path / "merged").write()
    assert summary.distance <= 1e-4
    with quiet_libraries():
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    for row, own in zip(study.rows, study.own, strict=True):
        inputs = tokenizer(row["code1"], row["code2"], truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            share = model(**inputs).logits[0].double().softmax(dim=-1)[1].item()
        assert own.scores is not None
        assert share == pytest.approx(own.scores[0], abs=1e-6)
    assert model.config.id2label == {0: "0", 1: "1"}


def test_the_card_says_task_method_base_model_and_how_answers_are_made(study: Study, tmp_path: Path) -> None:
    prepare_merge(study.folder, tmp_path / "merged").write()
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "- task: Code clone detection\n" in card
    assert "- base model: `base`\n" in card
    assert "- revision of the base model: a folder, without one\n" in card
    assert "AutoModelForSequenceClassification.from_pretrained(folder" in card
    assert "import peft" not in card
    assert "from peft" not in card
    assert str(study.folder.parent) not in card


def test_what_was_trained_on_quantized_weights_is_merged_in_16_bits_and_says_so(study: Study, tmp_path: Path) -> None:
    if not (study.folder / "best_adapter" / "adapter_config.json").exists():
        pytest.skip("full fine-tuning has no quantized base model")
    run = changed(study, tmp_path / "run", quantization="4bit")
    summary = prepare_merge(run, tmp_path / "merged").write()
    assert summary.dtype == "bf16"
    (note,) = summary.notes
    assert "quantized to 4 bits" in note
    assert "answers differ from those of the study" in note
    assert "answers differ from those of the study" in (tmp_path / "merged" / "README.md").read_text()
    assert prepare_merge(run, tmp_path / "again", dtype="fp32").write().dtype == "fp32"


def test_a_method_that_cannot_be_merged_is_refused_before_anything_is_loaded(study: Study, tmp_path: Path) -> None:
    run = changed(study, tmp_path / "run", method="prefix-tuning")
    with pytest.raises(InputError, match=r"^prefix-tuning cannot be merged: .*; keep the adapter"):
        prepare_merge(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
