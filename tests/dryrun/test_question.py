"""What is refused before torch is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from advisor.catalog.methods import METHODS
from advisor.dryrun.question import Question, is_on_hub, known_model
from advisor.errors import DataError, InputError, UnknownNameError
from tests.model_folders import config_folder


def question(method: str | None = "lora", **values: object) -> Question:
    return Question(model="any", method=METHODS[method] if method else None, **values)  # type: ignore[arg-type]


def test_a_question_with_defaults_is_fine():
    assert question().batch_size == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch_size": 0}, "--batch-size: 0 is not a whole number from 1"),
        ({"batch_size": 1.5}, "--batch-size"),
        ({"batch_size": True}, "--batch-size"),
        ({"batch_size": 10**9}, "--batch-size"),
        ({"seq_length": 0}, "--seq-len"),
        ({"target_length": 0}, "--target-len"),
        ({"accumulation": -1}, "--accumulation"),
        ({"pack_size": 0}, "--pack"),
        ({"n_labels": 0}, "--labels"),
        ({"eval_batch_size": 0}, "--evaluate"),
        ({"new_tokens": -1}, "--new-tokens"),
        ({"head": "token-classification"}, "--head: 'token-classification' is not one of sequence-classification"),
        ({"precision": "fp8"}, "--precision"),
        ({"quantization": "2bit"}, "--quantization"),
        ({"optimizer": "lion"}, "--optimizer: 'lion' is not one of adamw"),
        ({"attention": "ring"}, "--attention"),
        ({"searched": "width"}, "--max"),
        ({"attention": "flash", "precision": "fp32"}, "no float32"),
        ({"method": "full", "quantization": "4bit"}, "full fine-tuning cannot change a base model stored in 4bit"),
        ({"method": "vera", "quantization": "8bit"}, "vera does not work on a base model stored in 8bit"),
        ({"method": "full", "pack_size": 2}, "--pack"),
        ({"method": "prefix-tuning", "gradient_checkpointing": True}, "gradient checkpointing"),
        ({"method": "ia3", "searched": "rank"}, "--max rank: ia3 has no rank; lora, lora-plus, rslora, dora have"),
        ({"method": None}, "either a method or an adapter_config"),
        ({"adapter_config": Path("a.json")}, "either a method or an adapter_config"),
        ({"method": None, "adapter_config": Path("a.json"), "hyperparameters": {"r": 1}}, "--set and --adapter-config"),
    ],
)
def test_what_makes_no_sense_is_refused(values, said):
    with pytest.raises(InputError) as caught:
        question(**values)
    assert said in str(caught.value)


def test_a_model_of_the_catalogue_is_known_by_its_full_name():
    assert known_model("codebert-base") == "microsoft/codebert-base"
    assert not is_on_hub("microsoft/codebert-base")


def test_a_folder_is_known_as_it_was_given(tmp_path):
    folder = config_folder(tmp_path, "llama")
    assert known_model(str(folder)) == str(folder)


def test_what_looks_like_a_hub_id_may_be_on_the_hub():
    assert known_model("someone/some-model") == "someone/some-model"
    assert is_on_hub("someone/some-model")


def test_a_folder_named_like_a_hub_id_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config_folder(tmp_path / "someone", "llama")
    assert not is_on_hub("someone/llama")


@pytest.mark.parametrize("name", ["nosuch", "a/b/c", "/a"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError):
        known_model(name)


def test_an_unknown_name_comes_with_its_neighbours():
    with pytest.raises(UnknownNameError, match="microsoft/codebert-base"):
        known_model("codebert-bas")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "not found"), ("{", "not valid JSON"), ("[1]", "one JSON object"), ("\xff", "not valid JSON")],
)
def test_a_folder_without_a_usable_config_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=said):
        known_model(str(tmp_path))


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(config_folder(tmp_path, "llama"))
    with pytest.raises(InputError, match="empty"):
        known_model(" ")
    assert known_model(".") == "."


def test_a_question_is_asked_without_torch():
    code = "import sys, advisor.dryrun.question, advisor.dryrun.api; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
