"""Base models without weights: from the catalogue, a folder with nothing but a config.json, or the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, RobertaConfig, T5Config

from advisor.catalog.base_models import all_base_models, find_config
from advisor.catalog.positions import FIXED_TABLES
from advisor.errors import DataError, InputError, UnknownNameError
from advisor.modeling import meta
from advisor.modeling.meta import ModelSource, build_on_meta, depth_of, hidden_size, read_model_source

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 320, "max_position_embeddings": 256,
}  # fmt: skip


def folder_with(path: Path, config: Any) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return str(path)


def tiny(kind: str = "llama", **changes: Any) -> ModelSource:
    sizes = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config, architecture = {
        "llama": (LlamaConfig(**{**LLAMA, "model_type": "llama"}), "decoder-only"),
        "roberta": (RobertaConfig(**sizes, intermediate_size=128), "encoder-only"),
        "t5": (
            T5Config(vocab_size=320, d_model=64, d_kv=16, num_heads=4, d_ff=128, num_layers=2, num_decoder_layers=3),
            "encoder-decoder",
        ),
    }[kind]
    for name, value in changes.items():
        setattr(config, name, value)
    return ModelSource(name=f"tiny-{kind}", config=config, architecture=architecture)


# Finding a config


@pytest.mark.parametrize(
    ("hf_id", "architecture", "head", "layers"),
    [
        ("microsoft/codebert-base", "encoder-only", "sequence-classification", 12),
        ("Salesforce/codet5-small", "encoder-decoder", "seq2seq-lm", 6),
        ("Qwen/Qwen2.5-Coder-0.5B", "decoder-only", "causal-lm", 24),
        ("meta-llama/Llama-3.2-3B", "decoder-only", "causal-lm", 28),
    ],
)
def test_a_catalogue_entry_needs_no_network(hf_id, architecture, head, layers):
    source = read_model_source(hf_id)
    assert (source.name, source.architecture, source.default_head) == (hf_id, architecture, head)
    assert depth_of(source.config) == layers


def test_architectures_are_those_of_the_catalogue():
    for model in all_base_models():
        assert read_model_source(model.hf_id).architecture == model.architecture, model.hf_id


def test_a_folder_with_nothing_but_a_config_is_enough(tmp_path):
    source = read_model_source(folder_with(tmp_path / "model", LLAMA))
    assert source.architecture == "decoder-only"
    assert (hidden_size(source.config), depth_of(source.config), source.max_positions) == (64, 2, 256)
    model = build_on_meta(source, "causal-lm", dtype=torch.bfloat16)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_quantized_checkpoint_is_read_as_what_it_was_made_from(tmp_path):
    source = read_model_source(
        folder_with(tmp_path / "model", {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    assert not hasattr(source.config, "quantization_config")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{ not json", "not valid JSON"),
        ({"hidden_size": 64}, r"no usable config\.json"),
        ({"model_type": "no-such-type"}, r"no usable config\.json"),
        ({**LLAMA, "num_hidden_layers": "many"}, r"no usable config\.json"),
    ],
)
def test_an_unusable_config_is_an_error_of_one_line(config, message, tmp_path):
    with pytest.raises(DataError, match=message) as error:
        read_model_source(folder_with(tmp_path / "model", config))
    assert "\n" not in str(error.value)
    assert "model" in str(error.value)


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"config\.json': not found; a model folder needs"):
        read_model_source(str(tmp_path))


@pytest.mark.parametrize("name", ["Qwen2.5-Coder-0.5", "codebert-bas"])
def test_an_unknown_name_comes_with_near_ones(name):
    with pytest.raises(UnknownNameError, match="unknown base model") as error:
        read_model_source(name)
    assert "nearest: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["/no/such", "~/model", "./model", "a/b/c", "someone/llama"])
def test_other_names_are_refused_without_asking_the_hub(name, monkeypatch):
    monkeypatch.setattr(meta.AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(InputError):
        read_model_source(name)


# Positions


def test_roberta_s_table_of_514_rows_takes_512_tokens():
    source = read_model_source("microsoft/codebert-base")
    assert (source.config.max_position_embeddings, source.position_limit) == (514, 512)
    # As transformers counts: position ids begin after the padding index, which is 1.
    model = AutoModelForCausalLM.from_config(RobertaConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=10, is_decoder=True,
    ))  # fmt: skip
    limit = tiny("roberta", max_position_embeddings=10).position_limit
    model(torch.full((1, limit), 5))
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        model(torch.full((1, limit + 1), 5))


def test_relative_and_rotary_positions_have_no_limit():
    assert tiny("t5").position_limit is None
    assert (tiny("llama").position_limit, tiny("llama").max_positions) == (None, 256)


def test_the_catalogue_s_models_have_a_limit_where_their_weights_hold_a_table_of_positions():
    of_each_type = {find_config(model.hf_id)[0]: model.hf_id for model in all_base_models()}
    for hf_id in of_each_type.values():
        source = read_model_source(hf_id)
        if source.config.model_type in FIXED_TABLES:
            continue
        rows = getattr(source.config, "max_position_embeddings", None) or -9
        model = build_on_meta(source, source.default_head, dtype=torch.bfloat16, layers=1)
        tables = [
            name
            for name, one in model.named_parameters()
            if one.ndim == 2 and one.shape[0] in (rows, rows + 2) and ("pos" in name or "wpe" in name)
        ]
        assert bool(tables) == (source.position_limit is not None), hf_id


# Building


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("llama", "causal-lm"), ("llama", "sequence-classification"), ("roberta", "sequence-classification"),
        ("t5", "seq2seq-lm"), ("t5", "sequence-classification"),
    ],
)  # fmt: skip
def test_no_weights_are_held_and_all_have_the_shapes_of_a_real_model(kind, head):
    source = tiny(kind)
    model = build_on_meta(source, head, dtype=torch.bfloat16, n_labels=3)
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    real = meta.AUTO_CLASSES[head].from_config(source.config, dtype=torch.bfloat16)
    shapes = {name: (parameter.shape, parameter.dtype) for name, parameter in model.named_parameters()}
    expected = {name: (parameter.shape, parameter.dtype) for name, parameter in real.named_parameters()}
    labels = [name for name in shapes if shapes[name] != expected.get(name)]
    # Three labels instead of two in the last layer of a classifier.
    assert len(labels) <= (2 if head == "sequence-classification" else 0)
    assert shapes.keys() == expected.keys()


def test_a_large_model_takes_no_memory():
    model = build_on_meta(read_model_source("codellama/CodeLlama-34b-hf"), "causal-lm", dtype=torch.float16, layers=2)
    assert sum(parameter.numel() for parameter in model.parameters()) > 10**9
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}


def test_the_config_is_left_as_it_was():
    source = tiny("t5")
    before = source.config.to_dict()
    build_on_meta(source, "sequence-classification", dtype=torch.float32, n_labels=7, layers=1)
    assert source.config.to_dict() == before


def test_a_cache_of_keys_and_values_is_off():
    assert build_on_meta(tiny(), "causal-lm", dtype=torch.float32).config.use_cache is False


def test_another_number_of_layers_holds_for_every_stack():
    model = build_on_meta(tiny("t5"), "seq2seq-lm", dtype=torch.float32, layers=5)
    assert (len(model.encoder.block), len(model.decoder.block)) == (5, 5)
    assert len(build_on_meta(tiny("t5"), "seq2seq-lm", dtype=torch.float32).decoder.block) == 3


def test_classes_and_a_padding_token_are_set():
    model = build_on_meta(tiny(), "sequence-classification", dtype=torch.float32, n_labels=7)
    assert model.score.weight.shape == (7, 64)
    assert isinstance(model.config.pad_token_id, int)


@pytest.mark.parametrize(("attention", "expected"), [("eager", "eager"), ("sdpa", "sdpa"), ("flash", "unmasked_sdpa")])
def test_attention_is_the_one_that_was_asked_for(attention, expected):
    model = build_on_meta(tiny(), "causal-lm", dtype=torch.bfloat16, attention=attention)
    assert model.config._attn_implementation == expected


@pytest.mark.parametrize(
    ("kind", "head", "attention", "message"),
    [
        ("llama", "seq2seq-lm", "sdpa", "'tiny-llama': cannot be built with a seq2seq-lm head"),
        ("t5", "causal-lm", "sdpa", "'tiny-t5': cannot be built with a causal-lm head"),
        ("t5", "seq2seq-lm", "flash", "'tiny-t5': t5 models have no flash attention"),
    ],
)
def test_a_head_or_attention_that_the_type_does_not_have_is_refused_in_one_line(kind, head, attention, message):
    with pytest.raises(InputError, match=message) as error:
        build_on_meta(tiny(kind), head, dtype=torch.bfloat16, attention=attention)
    assert "\n" not in str(error.value)


def test_sizes_have_many_names():
    assert [hidden_size(AutoConfig.for_model(kind)) for kind in ("llama", "t5", "gpt2")] == [4096, 512, 768]
    assert [depth_of(AutoConfig.for_model(kind)) for kind in ("llama", "t5", "gpt2", "bart")] == [32, 6, 12, 12]


def test_a_config_without_a_size_says_which_is_missing():
    config: Any = type("Config", (), {"model_type": "odd"})()
    with pytest.raises(DataError, match="odd: the config does not say how many layers there are"):
        depth_of(config)
    with pytest.raises(DataError, match="odd: the config does not say how wide the model is"):
        hidden_size(config)
