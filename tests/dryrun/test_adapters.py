"""From a method or a file to PEFT's configuration."""

import json

import pytest
from peft import LoraConfig

from advisor.catalog.methods import METHODS
from advisor.dryrun.adapters import adapter_of_file, adapter_of_method, head_of_adapter
from advisor.errors import DataError, InputError
from advisor.modeling.meta import read_model_source
from tests.model_folders import adapter_file, config_folder


@pytest.fixture
def source(tmp_path):
    return read_model_source(str(config_folder(tmp_path, "llama")))


def test_a_method_comes_with_its_defaults_and_the_users_values(source):
    config = adapter_of_method(source, "causal-lm", METHODS["lora"], {"r": 4, "target_modules": ["q_proj"]})
    assert isinstance(config, LoraConfig)
    assert (config.r, config.target_modules, config.task_type) == (4, {"q_proj"}, "CAUSAL_LM")
    assert config.lora_alpha == METHODS["lora"].defaults["lora_alpha"]


def test_full_fine_tuning_has_no_adapter(source):
    assert adapter_of_method(source, "causal-lm", METHODS["full"], {}) is None


def test_values_of_the_training_loop_change_nothing(source):
    plain = adapter_of_method(source, "causal-lm", METHODS["lora"], {})
    assert adapter_of_method(source, "causal-lm", METHODS["lora"], {"learning_rate": 1, "num_epochs": 3}) == plain


def test_lora_plus_is_dry_run_as_the_lora_adapter_that_it_is(source):
    plain = adapter_of_method(source, "causal-lm", METHODS["lora"], {"r": 4})
    assert adapter_of_method(source, "causal-lm", METHODS["lora-plus"], {"r": 4, "loraplus_lr_ratio": 8}) == plain


@pytest.mark.parametrize(
    ("method", "values", "said"),
    [
        ("lora", {"r": "abc"}, "--set r='abc': must be a whole number"),
        ("lora", {"rank": 8}, "lora has no hyperparameter 'rank'"),
        ("lora", {"task_type": "SEQ_CLS"}, "--set task_type: follows from the model"),
        ("lora", {"modules_to_save": ["lm_head"]}, "--set modules_to_save: follows from the model"),
        ("lora", {"learning_rate": "fast"}, "--set learning_rate='fast': must be a number"),
        ("lora", {"learning_rate": float("nan")}, "must be a number that is not negative"),
        ("lora", {"num_epochs": True}, "must be a number"),
        ("lora-plus", {"loraplus_lr_ratio": 0.5}, "--set loraplus_lr_ratio=0.5: must be at least 1"),
        ("ia3", {"loraplus_lr_ratio": 2}, "ia3 has no hyperparameter 'loraplus_lr_ratio'"),
        ("lora", {"init_lora_weights": "loftq"}, "loftq_config"),
        ("full", {"r": 8}, "full has no hyperparameter 'r'"),
    ],
)
def test_wrong_hyperparameters_are_named(source, method, values, said):
    with pytest.raises(InputError) as caught:
        adapter_of_method(source, "causal-lm", METHODS[method], values)
    assert said in str(caught.value)


def test_a_saved_adapter_of_peft_is_read_as_it_was_written(tmp_path):
    written = LoraConfig(r=3, target_modules=["q_proj"], task_type="CAUSAL_LM", use_dora=True)
    written.save_pretrained(str(tmp_path))
    found = adapter_of_file(tmp_path)
    assert (found.r, found.target_modules, found.use_dora) == (3, {"q_proj"}, True)
    assert found.inference_mode is False  # a saved adapter says true


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("{", DataError, "is not readable as JSON"),
        ("[]", DataError, "has no peft_type"),
        ('{"r": 3}', DataError, "has no peft_type"),
        ('{"peft_type": "XLORB"}', InputError, "nearest: XLORA"),
        ('{"peft_type": "LORA", "r": "abc"}', InputError, "r='abc': must be a whole number"),
    ],
)
def test_a_file_that_is_no_adapter_is_refused(tmp_path, text, error, said):
    path = tmp_path / "adapter_config.json"
    path.write_text(text)
    with pytest.raises(error) as caught:
        adapter_of_file(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        adapter_of_file(tmp_path / "adapter_config.json")


@pytest.mark.parametrize(
    ("task_type", "wanted", "head"),
    [
        ("SEQ_CLS", None, "sequence-classification"),
        ("SEQ_2_SEQ_LM", None, "seq2seq-lm"),
        ("CAUSAL_LM", "causal-lm", "causal-lm"),
        (None, "sequence-classification", "sequence-classification"),
        (None, None, "causal-lm"),
    ],
)
def test_the_head_is_that_of_the_adapter(tmp_path, task_type, wanted, head):
    path = adapter_file(tmp_path, peft_type="LORA", task_type=task_type)
    config = adapter_of_file(path)
    assert head_of_adapter(config, path, wanted, "causal-lm") == head
    assert json.loads(path.read_text())["task_type"] in (config.task_type, None)
    assert config.task_type is not None


@pytest.mark.parametrize(
    ("task_type", "said"),
    [("SEQ_CLS", "is an adapter for SEQ_CLS, but --head is causal-lm"), ("TOKEN_CLS", "TOKEN_CLS is not one of")],
)
def test_an_adapter_for_another_task_is_refused(tmp_path, task_type, said):
    path = adapter_file(tmp_path, peft_type="LORA", task_type=task_type)
    with pytest.raises(InputError, match=said):
        head_of_adapter(adapter_of_file(path), path, "causal-lm", "causal-lm")
