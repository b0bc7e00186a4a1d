"""Base models load with the right head or are refused in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from advisor.catalog.tasks import find_task
from advisor.errors import DataError, InputError
from advisor.modeling import base as base_module
from advisor.modeling.base import BaseModel, load_base_model, request_for
from advisor.spec import Architecture, Quantization
from tests.models import MAX_POSITIONS, save_tiny_base_model
from tests.training.toy import candidate

CPU = torch.device("cpu")


def load(
    folder: Path, architecture: Architecture = "encoder-only", task: str = "clone-detection", method: str = "lora"
) -> BaseModel:
    request = request_for(candidate(folder, architecture, method), find_task(task), ("no", "yes"), CPU)
    return load_base_model(request, CPU)


@pytest.mark.parametrize(
    ("architecture", "task", "model_class", "head"),
    [
        ("encoder-only", "clone-detection", "RobertaForSequenceClassification", ["classifier"]),
        ("decoder-only", "clone-detection", "LlamaForSequenceClassification", ["score"]),
        ("encoder-decoder", "clone-detection", "T5ForSequenceClassification", ["classification_head"]),
        ("decoder-only", "code-summarization", "LlamaForCausalLM", []),
        ("encoder-decoder", "code-summarization", "T5ForConditionalGeneration", []),
    ],
)
def test_each_task_gets_its_head(
    architecture: Architecture, task: str, model_class: str, head: list[str], base_folder: Callable[..., Path]
) -> None:
    base = load(base_folder(architecture), architecture, task)
    assert type(base.model).__name__ == model_class
    assert list(base.head_modules) == head
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training
    if head:
        assert base.model.config.id2label == {0: "no", 1: "yes"}


def test_positions_are_those_that_can_be_used(base_folder: Callable[..., Path]) -> None:
    # The RoBERTa table has two entries more than it can use, T5 has no table.
    assert load(base_folder("encoder-only")).max_positions == MAX_POSITIONS
    assert load(base_folder("decoder-only"), "decoder-only").max_positions == MAX_POSITIONS
    assert load(base_folder("decoder-only", "gpt2"), "decoder-only").max_positions == MAX_POSITIONS
    assert load(base_folder("encoder-decoder"), "encoder-decoder").max_positions is None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_tokenizer_without_a_pad_token_pads_with_the_end_token(family: str, tmp_path: Path) -> None:
    save_tiny_base_model("decoder-only", tmp_path / "base", family=family, pad_token=False)
    base = load(tmp_path / "base", "decoder-only")
    assert base.tokenizer.pad_token == "</s>"
    assert base.model.config.pad_token_id == base.tokenizer.eos_token_id


def test_loading_does_not_move_random_numbers_and_is_repeatable(base_folder: Callable[..., Path]) -> None:
    before = torch.get_rng_state()
    first = load(base_folder("encoder-only"))
    torch.rand(3)
    second = load(base_folder("encoder-only"))
    torch.set_rng_state(before)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])


def test_a_classifier_of_other_classes_can_be_the_base_model(base_folder: Callable[..., Path], tmp_path: Path) -> None:
    base = load(base_folder("encoder-only"))
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    chosen = candidate(tmp_path / "base", "encoder-only")
    request = request_for(chosen, find_task("clone-detection"), ("a", "b", "c"), CPU)
    assert load_base_model(request, CPU).model.config.num_labels == 3


def test_full_fine_tuning_keeps_float32_weights_whatever_its_arithmetic(base_folder: Callable[..., Path]) -> None:
    chosen = replace(candidate(base_folder("encoder-only"), "encoder-only", "full"), precision="bf16")
    assert request_for(chosen, find_task("clone-detection"), ("0", "1"), CPU).weights == "fp32"


def broken(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    if how == "no weights":
        weights.unlink()
    elif how == "pickle only":
        weights.unlink()
        torch.save({}, folder / "pytorch_model.bin")
    elif how == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:2000])
    elif how == "some weights left out":
        from safetensors.torch import load_file, save_file

        kept = {name: value for name, value in load_file(weights).items() if "layer.1" not in name}
        save_file(kept, weights, metadata={"format": "pt"})
    elif how == "weights of another shape":
        from safetensors.torch import load_file, save_file

        values = load_file(weights)
        name = next(name for name in values if name.endswith("intermediate.dense.weight"))
        save_file({**values, name: values[name][:-1].clone()}, weights, metadata={"format": "pt"})
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "config is no JSON":
        (folder / "config.json").write_text("{")
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
    elif how == "tokenizer of a larger vocabulary":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
        from safetensors.torch import load_file, save_file

        values = load_file(weights)
        small = {name: value[:300].clone() if len(value) > 300 else value for name, value in values.items()}
        save_file(small, weights, metadata={"format": "pt"})
    elif how == "unknown model type":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "nonsense"}))
    elif how == "an adapter":
        (folder / "adapter_config.json").write_text("{}")
    elif how == "code of its own":
        config = json.loads((folder / "config.json").read_text())
        auto_map = {"AutoConfig": "code.Config", "AutoModelForSequenceClassification": "code.Model"}
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto_map}))
        (folder / "code.py").write_text(f"open({str(folder / 'was_run')!r}, 'w')")


@pytest.mark.parametrize(
    "how",
    [
        "no weights", "pickle only", "truncated weights", "some weights left out", "weights of another shape",
        "no config", "config is no JSON",
        "no tokenizer", "tokenizer of a larger vocabulary", "unknown model type", "an adapter", "code of its own",
    ],
)  # fmt: skip
def test_a_broken_folder_is_refused_in_one_line(how: str, tmp_path: Path) -> None:
    folder = save_tiny_base_model("encoder-only", tmp_path / "base")
    broken(folder, how)
    with pytest.raises(DataError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert not (folder / "was_run").exists()


def test_an_encoder_decoder_called_a_decoder_is_refused(base_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="is an encoder-decoder, but was given as decoder-only"):
        load(base_folder("encoder-decoder"), "decoder-only")


@pytest.mark.parametrize("name", ["./nothing/here", "/nothing/here", "a/b/c"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    chosen = replace(candidate(Path("x"), "encoder-only"), base_model=name)
    with pytest.raises(DataError, match="no such folder"):
        load_base_model(request_for(chosen, find_task("clone-detection"), ("0", "1"), CPU), CPU)


def test_quantization_says_what_it_needs(base_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = replace(candidate(base_folder("decoder-only"), "decoder-only"), quantization="4bit")
    request = request_for(chosen, find_task("code-summarization"), (), CPU)
    monkeypatch.setattr(base_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'peft-advisor\[quantized\]'"):
        load_base_model(request, CPU)
    monkeypatch.setattr(base_module.importlib.util, "find_spec", lambda _: object())
    with pytest.raises(InputError, match="needs a CUDA device"):
        load_base_model(request, CPU)


@pytest.mark.parametrize(
    ("model_type", "task", "left_out"),
    [
        ("roberta", "clone-detection", ["classifier"]),
        ("modernbert", "clone-detection", ["head", "classifier"]),
        ("llama", "clone-detection", ["score"]),
        ("t5", "clone-detection", ["classification_head"]),
        ("llama", "code-summarization", None),  # transformers leaves out the output layer by itself
    ],
)
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_all_of_a_classification_head_is_left_out_of_quantization(
    model_type: str, task: str, left_out: list[str] | None, quantization: Quantization
) -> None:
    chosen = replace(candidate(Path("x"), "decoder-only"), quantization=quantization)
    request = request_for(chosen, find_task(task), ("no", "yes"), CPU)
    config = AutoConfig.for_model(model_type, num_labels=2)
    storage = base_module._quantization_config(request, config, torch.device("cuda"))["quantization_config"]
    assert storage.llm_int8_skip_modules == left_out
    assert (storage.load_in_4bit, storage.load_in_8bit) == (quantization == "4bit", quantization == "8bit")


def test_a_task_with_sets_of_labels_gets_a_decision_for_each_of_them(base_folder: Callable[..., Path]) -> None:
    several = load(base_folder("encoder-only"), task="code-comment-classification")
    assert several.model.config.problem_type == "multi_label_classification"
    one = load(base_folder("encoder-only"), task="clone-detection")
    assert one.model.config.problem_type == "single_label_classification"
    assert several.request != one.request  # the two cannot share a model


@pytest.mark.parametrize(
    ("architecture", "model_class"),
    [("encoder-only", "RobertaModel"), ("decoder-only", "LlamaModel"), ("encoder-decoder", "T5EncoderModel")],
)
def test_code_search_gets_the_model_below_all_heads(
    architecture: Architecture, model_class: str, base_folder: Callable[..., Path]
) -> None:
    base = load(base_folder(architecture), architecture, "code-search")
    assert type(base.model).__name__ == model_class
    assert base.request.head == "embedding"
    assert base.head_modules == {}
    assert not any("pooler" in name for name, _ in base.model.named_parameters())
