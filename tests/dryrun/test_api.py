"""`advisor.estimate`."""

import inspect
from pathlib import Path

import pytest

import advisor
from advisor.dryrun.api import estimate
from advisor.errors import InputError, UnknownNameError
from tests.model_folders import adapter_file, config_folder


@pytest.fixture
def llama(tmp_path) -> Path:
    return config_folder(tmp_path, "llama")


def test_it_is_public():
    assert advisor.estimate is estimate


def test_model_method_and_hyperparameters_come_in_order(llama):
    found = estimate(llama, "lora", {"r": 2, "target_modules": ["q_proj"]}, seq_length=16, gpu="RTX 4090")
    # q_proj is 64 x 64 in both layers: 2 x (64 r + r 64) numbers.
    assert found.estimate.trainable_params == 2 * (64 * 2 + 2 * 64)
    assert found.fits is True


def test_memory_given_in_gib_is_shared_with_the_driver(llama):
    found = estimate(llama, vram_gib=2, seq_length=16)
    assert found.run.usable_bytes == int(2 * 0.93 * 2**30)


@pytest.mark.parametrize(("method", "quantization"), [("qlora", "4bit"), ("qdora", "4bit"), ("lora", None)])
def test_a_name_that_means_four_bits_means_four_bits(llama, method, quantization):
    assert estimate(llama, method, seq_length=16).workload.quantization == quantization


def test_an_adapters_file_stands_in_for_the_method(llama, tmp_path):
    path = adapter_file(
        tmp_path, peft_type="IA3", task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[]
    )
    found = estimate(llama, adapter_config=path, seq_length=16)
    assert (found.method, found.question.method) == ("IA3", None)


def test_the_largest_batch_is_in_the_answer(llama):
    found = estimate(llama, vram_gib=0.7, seq_length=32, largest="batch-size")
    assert found.largest is not None
    assert found.workload.batch_size == found.largest.value > 1


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"gpu": "Voodoo"}, UnknownNameError, "unknown GPU"),
        ({"vram_gib": -1}, InputError, "not a size of device memory"),
        ({"method": "nosuch"}, UnknownNameError, "unknown method"),
        ({"method": "qlora", "quantization": "8bit"}, InputError, "qlora means 4bit"),
        ({"method": "ia3", "adapter_config": "a.json"}, InputError, "exclude each other"),
        ({"hyperparameters": {"r": 1}, "adapter_config": "a.json"}, InputError, "--set and --adapter-config"),
        ({"largest": "batch-size"}, InputError, "--max needs --gpu or --vram"),
        ({"optimizer": "lion"}, InputError, "'lion' is not one of"),
    ],
)
def test_mistakes_are_input_errors(llama, options, error, said):
    with pytest.raises(error) as caught:
        estimate(llama, **options)
    assert said in str(caught.value)


def test_every_argument_is_explained():
    names = inspect.signature(estimate).parameters
    assert all(f"        {name}: " in (estimate.__doc__ or "") for name in names)
