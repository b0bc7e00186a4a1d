"""Base models: the catalogue's and local folders."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from advisor.catalog.base_models import (
    TRAIT_NOTES,
    all_base_models,
    architecture_of,
    base_model_from_folder,
    find_base_model,
)
from advisor.catalog.files import read_rows
from advisor.errors import DataError, UnknownNameError

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}  # fmt: skip


def folder_with(tmp_path: Path, config: object) -> Path:
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return tmp_path


def build(row: dict[str, object]) -> torch.nn.Module:
    kinds = {"AutoModel": AutoModel, "AutoModelForCausalLM": AutoModelForCausalLM}
    kind = kinds.get(str(row["auto_class"]), AutoModelForSeq2SeqLM)
    with torch.device("meta"):
        return kind.from_config(AutoConfig.for_model(row["transformers_model_type"], **row["config"]))


@pytest.mark.parametrize(
    "hf_id",
    ["microsoft/unixcoder-base", "answerdotai/ModernBERT-base", "Salesforce/codet5-base", "uclanlp/plbart-base",
     "Qwen/Qwen2.5-Coder-0.5B", "bigcode/starcoder2-3b", "microsoft/CodeGPT-small-py"],
)  # fmt: skip
def test_sizes_of_the_catalogue_agree_with_transformers(hf_id):
    row = next(row for row in read_rows("models.jsonl") if row["hf_id"] == hf_id)
    model = build(row)
    model.tie_weights()
    assert sum({id(p): p.numel() for p in model.parameters()}.values()) == find_base_model(hf_id).params
    linears = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and not name.endswith(("lm_head", "dense", "pooler.dense"))
    )
    dense = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if type(module).__name__ == "Linear" and name.endswith(".dense") and "pooler" not in name
    )
    shape = find_base_model(hf_id).shape
    assert sum(one.inputs * one.outputs * count for one, count in shape.linears()) == linears + dense


def test_a_name_is_found_without_owner_and_in_any_letter_case():
    assert find_base_model("UniXcoder-base").hf_id == "microsoft/unixcoder-base"


def test_facts_that_were_not_looked_up_are_not_kept():
    rows = {row["hf_id"]: row for row in read_rows("models.jsonl")}
    for model in all_base_models():
        for name in ("licence", "released"):
            if name in rows[model.hf_id]["unverified_fields"]:
                assert getattr(model, name) is None
        assert set(model.traits) <= set(TRAIT_NOTES)


def test_an_unknown_model_names_the_nearest_and_says_that_folders_work():
    with pytest.raises(UnknownNameError, match=r"nearest: microsoft/unixcoder-base.*local folder") as caught:
        find_base_model("unixcodr-base")
    assert ".jsonl" not in str(caught.value)  # no file that whoever installed the package would have to look for


@pytest.mark.parametrize("kind", ["encoder-only", "decoder-only", "encoder-decoder"])
def test_the_demo_base_models_are_read_as_local_folders(kind):
    name = {"encoder-only": "encoder", "decoder-only": "decoder"}.get(kind, kind)
    folder = Path(__file__).parents[2] / "advisor" / "demo" / "bases" / name
    if not folder.is_dir():
        pytest.skip("the demo base models are not in this checkout")
    model = find_base_model(str(folder))
    assert (model.architecture, model.local) == (kind, True)
    assert 0.9 < model.shape.parameters / model.params < 1.1


def test_parameters_of_a_folder_come_from_the_header_of_its_weights(tmp_path):
    folder = folder_with(tmp_path, LLAMA)
    assert base_model_from_folder(folder).params == base_model_from_folder(folder).shape.parameters
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [10, 5], "data_offsets": [0, 200]}, "__metadata__": {}}
    ).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(200))
    assert base_model_from_folder(folder).params == 50


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "one JSON object"),
        ({"hidden_size": 8}, "no model_type"),
        ({**LLAMA, "hidden_size": None}, "hidden_size is missing"),
        ({**LLAMA, "num_hidden_layers": 0}, "num_hidden_layers must be a positive whole number"),
        ({**LLAMA, "vocab_size": "many"}, "vocab_size must be a positive whole number"),
    ],
)  # fmt: skip
def test_a_broken_config_is_one_line_with_the_file(tmp_path, config, said):
    with pytest.raises(DataError, match=said) as caught:
        base_model_from_folder(folder_with(tmp_path, config))
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model_type", "config", "architecture"),
    [
        ("roberta", {}, "encoder-only"), ("roberta", {"is_decoder": True}, "decoder-only"),
        ("electra", {"is_decoder": True}, "decoder-only"), ("modernbert", {"is_decoder": False}, "encoder-only"),
        ("bart", {}, "encoder-decoder"), ("pegasus", {"is_encoder_decoder": True}, "encoder-decoder"),
        ("llama", {"is_decoder": True}, "decoder-only"), ("nosuch", {}, "decoder-only"),
    ],
)  # fmt: skip
def test_an_architecture_follows_from_model_type_and_config(model_type, config, architecture):
    assert architecture_of(model_type, config) == architecture


def test_a_folder_s_context_leaves_out_positions_that_are_never_used(tmp_path):
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    for model_type, length in (("xlm-roberta", 510), ("bert", 512)):
        config = {"model_type": model_type, **sizes, "max_position_embeddings": 512, "pad_token_id": 1}
        assert base_model_from_folder(folder_with(tmp_path, config)).context_length == length


def test_a_folder_without_config_says_what_a_model_folder_needs(tmp_path):
    with pytest.raises(DataError, match=r"config\.json': not found"):
        find_base_model(str(tmp_path))


def test_a_file_is_not_a_model_folder(tmp_path):
    path = tmp_path / "model.bin"
    path.write_text("x")
    with pytest.raises(DataError, match="not a model folder"):
        find_base_model(str(path))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5000) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(LLAMA)), json_values, max_size=4))
def test_any_config_is_read_or_refused_in_one_line(tmp_path_factory, changes):
    folder = folder_with(tmp_path_factory.mktemp("model"), {**LLAMA, **changes})
    try:
        model = base_model_from_folder(folder)
    except DataError as error:
        said = str(error)
    else:
        said = ""
        assert model.params > 0
    assert "\n" not in said
