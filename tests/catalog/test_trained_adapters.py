"""Folders of trained adapters, read without loading a model."""

import hashlib
import json
from pathlib import Path

import pytest

from advisor.catalog.trained_adapters import adapter_name, read_parts, same_base_model
from advisor.errors import DataError, InputError
from tests.adapter_folders import write_adapter

BASE = "microsoft/codebert-base"


def test_an_adapter_is_read_from_its_folder_or_from_that_of_the_study_that_made_it(tmp_path):
    alone = write_adapter(tmp_path / "java", BASE, reduction_factor=8, scaling=2.0, placement="houlsby")
    write_adapter(tmp_path / "study" / "best_adapter", BASE, seed=1, placement="houlsby", non_linearity="relu")
    found = read_parts([alone, tmp_path / "study"], "--fuse")
    assert (found.base_model, found.placement, found.cross_adapter) == (BASE, "houlsby", False)
    first, second = found.adapters
    assert (first.folder, first.name) == (str(alone), "java")
    assert first.shape == {"reduction_factor": 8.0, "non_linearity": "silu", "scaling": 2.0}
    assert first.sha256 == hashlib.sha256((alone / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert (second.folder, second.name) == (str(tmp_path / "study" / "best_adapter"), "study")


def test_the_best_adapter_of_a_study_has_the_name_of_the_study():
    assert adapter_name("studies/java/best_adapter") == adapter_name("/x/java") == "java"


def test_weights_that_were_trained_anew_are_noticed(tmp_path):
    (found,) = read_parts([write_adapter(tmp_path / "a", BASE)], "--on-adapter").adapters
    found.check_unchanged()
    write_adapter(tmp_path / "a", BASE, seed=1)
    with pytest.raises(ValueError, match="is another one than when the study began"):
        found.check_unchanged()
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be read any more"):
        found.check_unchanged()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "LORA"}, "is a 'LORA' adapter; name one that was trained with adapter-houlsby"),
        ({"peft_type": "ADAPTER_STACK"}, "is a 'ADAPTER_STACK' adapter"),
        ({"peft_type": None}, "is a none adapter"),
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
        ({"placement": "nowhere"}, "has placement 'nowhere', not one of houlsby, pfeiffer, parallel"),
        ({"reduction_factor": 0}, "has reduction_factor '0', which is no such number"),
        ({"scaling": "much"}, "has scaling 'much'"),
        ({"non_linearity": None}, "has no non_linearity"),
    ],
)
def test_what_is_no_bottleneck_adapter_is_refused_with_the_reason(tmp_path, changes, said):
    with pytest.raises(DataError) as caught:
        read_parts([write_adapter(tmp_path / "a", BASE, **changes)], "--on-adapter")
    assert str(caught.value).startswith(f"--on-adapter '{tmp_path / 'a'}': ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_none_has_none_or_is_damaged_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.db").write_text("x")
    write_adapter(tmp_path / "light", BASE, weights=False)
    broken = write_adapter(tmp_path / "broken", BASE)
    (broken / "adapter_config.json").write_text("{")
    cut = write_adapter(tmp_path / "cut", BASE)
    (cut / "adapter_model.safetensors").write_bytes(b"\xff" * 20)
    other = write_adapter(tmp_path / "other", BASE)
    (other / "adapter_config.json").write_text(json.dumps([]))
    for name, said in (
        ("gone", "does not exist"),
        ("file", "is a file, not a folder"),
        ("empty", "has no adapter_config.json"),
        ("study", "the study has no best_adapter/ with an adapter yet"),
        ("light", "has no adapter_model.safetensors"),
        ("broken", "is not valid JSON"),
        ("cut", "holds no bottleneck adapter, or is damaged"),
        ("other", "is not the configuration of an adapter"),
    ):
        with pytest.raises(InputError, match=said):
            read_parts([tmp_path / name], "--fuse")


def test_adapters_that_do_not_go_together_are_refused(tmp_path):
    first = write_adapter(tmp_path / "first", BASE)
    again = write_adapter(tmp_path / "again", BASE)
    with pytest.raises(InputError, match="is there twice"):
        read_parts([first, again], "--fuse")
    with pytest.raises(
        InputError, match=r"trained on 'bert', but .*first' on 'microsoft/codebert-base'; name adapters"
    ):
        read_parts([first, write_adapter(tmp_path / "bert", "bert", seed=1)], "--fuse")
    houlsby = write_adapter(tmp_path / "houlsby", BASE, seed=1, placement="houlsby")
    with pytest.raises(InputError, match=r"has the placement houlsby, but .*first' the placement pfeiffer"):
        read_parts([first, houlsby], "--fuse")
    crossed = write_adapter(tmp_path / "crossed", BASE, seed=2, placement="houlsby", cross_adapter=True)
    with pytest.raises(InputError, match="has the placement houlsby with cross_adapter"):
        read_parts([houlsby, crossed], "--fuse")


def test_a_base_model_is_the_same_however_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert same_base_model("base", str(tmp_path / "base"))
    assert same_base_model(BASE, "codebert-base")
    assert same_base_model("nobody/knows", "nobody/knows")
    assert not same_base_model(BASE, "microsoft/unixcoder-base")
    assert not same_base_model(str(tmp_path / "base"), str(Path("elsewhere")))
