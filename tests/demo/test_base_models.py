"""The three demonstration base models, as they lie in the package."""

import json
from pathlib import Path
from typing import Any

import pytest

import advisor.demo.base_models as base_models
from advisor.demo import base_model_path
from advisor.errors import DataError

ARCHITECTURES = ("encoder-only", "decoder-only", "encoder-decoder")
MAX_FOLDER_BYTES = 6 * 1024**2
CODE = "def add(a, b):\n    return a + b"


def load(architecture: str) -> tuple[Any, Any]:
    """Tokenizer and model, loaded as a user would."""
    transformers = pytest.importorskip("transformers")
    folder = base_model_path(architecture)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    auto = {
        "encoder-only": transformers.AutoModelForMaskedLM,
        "decoder-only": transformers.AutoModelForCausalLM,
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    }[architecture]
    return tokenizer, auto.from_pretrained(folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_base_model_is_small_and_complete(architecture: str) -> None:
    folder = base_model_path(architecture)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_FOLDER_BYTES
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["dtype"] == "float32"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_stored_as_halves_load_as_float32(architecture: str) -> None:
    torch = pytest.importorskip("torch")
    _, model = load(architecture)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def test_all_three_share_one_vocabulary() -> None:
    pytest.importorskip("transformers")
    tokenizers = [load(architecture)[0] for architecture in ARCHITECTURES]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab() == tokenizers[2].get_vocab()
    for tokenizer in tokenizers:
        assert tokenizer.model_max_length == 512
        assert tokenizer.decode(tokenizer(CODE)["input_ids"], skip_special_tokens=True) == CODE
        ids = [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id]
        assert ids == tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<mask>"])
        assert tokenizer.unk_token_id not in tokenizer("ä → \U0001f600")["input_ids"]


def test_each_tokenizer_frames_a_text_as_its_architecture_needs() -> None:
    encoder, decoder, both = (load(architecture)[0] for architecture in ARCHITECTURES)
    assert encoder.decode(encoder("a", "b")["input_ids"]) == "<s>a</s></s>b</s>"
    assert encoder("a", "b")["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert decoder.decode(decoder("a")["input_ids"]) == "<s>a"
    assert both.decode(both("a")["input_ids"]) == "a</s>"
    assert "token_type_ids" not in {*decoder("a"), *both("a")}


def test_the_encoder_takes_a_new_classification_head() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer, _ = load("encoder-only")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        base_model_path("encoder-only"), num_labels=2
    )
    assert model(**tokenizer([CODE] * 3, [CODE] * 3, return_tensors="pt")).logits.shape == (3, 2)


@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_the_generating_models_generate_with_plain_calls(architecture: str) -> None:
    tokenizer, model = load(architecture)
    batch = tokenizer([CODE, "x = 1"], padding=True, return_tensors="pt")
    output = model.generate(**batch, max_new_tokens=5, do_sample=False)
    assert output.shape[0] == 2
    if architecture == "encoder-decoder":
        assert output[0, 0].item() == tokenizer.pad_token_id


@pytest.mark.parametrize("architecture", ["encoder-only", "decoder-only", "encoder-decoder"])
def test_the_models_have_learned_something_about_code(architecture: str) -> None:
    """Next to a model that guesses evenly, which loses log(vocabulary) nats per token."""
    torch = pytest.importorskip("torch")
    tokenizer, model = load(architecture)
    text = "    def __init__(self, name, value=None):\n        self.name = name\n        self.value = value\n"
    hidden = " self" if architecture != "decoder-only" else ""
    ids = tokenizer(text.replace(" self.value", "<mask>.value") if architecture == "encoder-only" else text)
    inputs = torch.tensor([ids["input_ids"]])
    if architecture == "decoder-only":
        loss = model(input_ids=inputs, labels=inputs).loss.item()
    elif architecture == "encoder-only":
        place = (inputs[0] == tokenizer.mask_token_id).nonzero()[0, 0]
        wanted = torch.tensor(tokenizer.convert_tokens_to_ids(tokenizer.tokenize(hidden))[:1])
        loss = torch.nn.functional.cross_entropy(model(input_ids=inputs).logits[0, place][None], wanted).item()
    else:
        source = tokenizer(text.replace(" self.value", "<extra_id_0>.value"), return_tensors="pt")
        labels = tokenizer(text_target="<extra_id_0> self", return_tensors="pt")["input_ids"]
        loss = model(**source, labels=labels).loss.item()
    assert loss < 0.75 * float(torch.log(torch.tensor(float(len(tokenizer)))))


def test_an_unknown_architecture_and_a_missing_folder_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="encoder-only"):
        base_model_path("encoder")
    monkeypatch.setattr(base_models, "__file__", str(tmp_path / "base_models.py"))
    with pytest.raises(DataError, match="not in this installation"):
        base_model_path("encoder-only")
