"""What the folder of an adapter says of it, before any weight is read."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.methods import METHODS
from advisor.errors import DataError, InputError
from advisor.exports.merged import UNMERGEABLE, read_adapter

PLAIN: Mapping[str, object] = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "owner/model", "revision": "v2",
}  # fmt: skip


def adapter(folder: Path, *, classes: int | None = None, head: str = "score.weight", **changes: object) -> Path:
    """Write the folder of an adapter with one small matrix, and a head where there are classes."""
    folder.mkdir()
    settings = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    weights = {"base_model.model.layer.lora_A.weight": torch.zeros(2, 4)}
    if classes is not None:
        weights[f"base_model.model.{head}"] = torch.zeros(classes, 4)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def test_base_model_revision_and_head_are_those_of_the_config(tmp_path: Path) -> None:
    found = read_adapter(adapter(tmp_path / "a"))
    assert (found.base_model, found.revision, found.head, found.label_names) == ("owner/model", "v2", "causal-lm", ())
    assert read_adapter(adapter(tmp_path / "b", task_type="FEATURE_EXTRACTION", revision=None)).head == "embedding"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("GPT2LMHeadModel", "causal-lm"),
        ("T5ForConditionalGeneration", "seq2seq-lm"),
        ("RobertaForSequenceClassification", "sequence-classification"),
        ("RobertaModel", "embedding"),
    ],
)
def test_without_a_task_type_the_class_that_peft_saved_tells_the_head(tmp_path: Path, name: str, head: str) -> None:
    place = adapter(tmp_path / "a", classes=2, task_type=None, auto_mapping={"base_model_class": name})
    assert read_adapter(place).head == head


@pytest.mark.parametrize("head", ["classifier.out_proj.weight", "score.weight", "classifier.weight"])
def test_classes_without_names_are_counted_in_the_head(tmp_path: Path, head: str) -> None:
    place = adapter(tmp_path / "a", classes=3, head=head, task_type="SEQ_CLS")
    assert read_adapter(place).label_names == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_classes_have_the_names_and_the_order_of_config_json(tmp_path: Path) -> None:
    place = adapter(tmp_path / "a", classes=11, task_type="SEQ_CLS")
    names = {str(number): f"kind {number}" for number in reversed(range(11))}
    config = {"id2label": names, "problem_type": "multi_label_classification"}
    (place / "config.json").write_text(json.dumps(config))
    found = read_adapter(place)
    assert found.label_names == tuple(f"kind {number}" for number in range(11))
    assert found.is_multi_label


def test_every_method_that_cannot_be_merged_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for number, peft_type in enumerate(UNMERGEABLE):
        place = adapter(tmp_path / str(number), peft_type=peft_type)
        with pytest.raises(InputError, match=r"cannot be merged: .*; keep the adapter") as caught:
            read_adapter(place)
        said = str(caught.value)
        assert "\n" not in said
        assert f'PeftModel.from_pretrained(base_model, "{place}")' in said
        assert ("import advisor.modeling.tuners" in said) == (peft_type in OWN_PEFT_TYPES)
    assert {"PROMPT_TUNING", "PREFIX_TUNING", "BOTTLENECK", "COMPACTER", "MAM"} <= set(UNMERGEABLE)
    assert METHODS["lora"].peft_type not in UNMERGEABLE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_model_name_or_path": None}, "does not say base_model_name_or_path"),
        ({"peft_type": None}, "does not say peft_type"),
        ({"peft_type": 3}, "does not say peft_type"),
        ({"task_type": "TOKEN_CLS"}, r"cannot merge below this head \(task_type 'TOKEN_CLS'\); known: SEQ_CLS"),
        ({"task_type": "SEQ_CLS"}, "does not say how many classes there are"),
        ({"task_type": None}, "cannot merge below this head"),
    ],
)
def test_an_adapter_that_does_not_say_enough_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_adapter(adapter(tmp_path / "a", **changes))
    assert "\n" not in str(caught.value)


def test_folders_without_an_adapter_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither the folder of a finished `tune` \(result.json\) nor a saved adapter"):
        read_adapter(tmp_path)
    place = adapter(tmp_path / "a", classes=2, task_type="SEQ_CLS")
    (place / "adapter_model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(DataError, match="no safetensors file"):
        read_adapter(place)
    (place / "adapter_model.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no adapter_model\.safetensors"):
        read_adapter(place)
    (place / "adapter_config.json").write_text("[")
    with pytest.raises(DataError, match="cannot be read"):
        read_adapter(place)
