"""From a question to a workload, on configs alone."""

import pytest

from advisor.catalog.gpus import find_gpu
from advisor.catalog.methods import METHODS
from advisor.dryrun.interpretation import DEFAULT_LENGTH, DEFAULT_TARGET, workload_of
from advisor.dryrun.question import Question
from advisor.dryrun.workload import Workload
from advisor.errors import DataError, InputError
from tests.model_folders import adapter_file, config_folder


@pytest.fixture
def interpret(tmp_path):
    """Return the workload of a question about a tiny model."""

    def workload(name: str, method: str | None = "lora", gpu: str | None = None, **values: object) -> Workload:
        asked = Question(
            model=str(config_folder(tmp_path, name)), method=METHODS[method] if method else None,
            **values,  # type: ignore[arg-type]
        )  # fmt: skip
        return workload_of(asked, find_gpu(gpu) if gpu else None)

    return workload


@pytest.mark.parametrize(
    ("name", "head", "length", "target"),
    [
        ("llama", "causal-lm", 256, 0),
        ("llama-gptq", "causal-lm", 256, 0),
        ("roberta", "sequence-classification", 128, 0),  # 130 positions, two of them never used
        ("gpt2", "causal-lm", 128, 0),
        ("t5", "seq2seq-lm", DEFAULT_LENGTH, DEFAULT_TARGET),
    ],
)
def test_defaults_follow_from_the_architecture(interpret, name, head, length, target):
    workload = interpret(name)
    assert (workload.head, workload.seq_length, workload.target_length) == (head, length, target)
    assert workload.quantization is None


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("roberta", {"seq_length": 129}, "takes at most 128 tokens, not 129"),
        ("gpt2", {"seq_length": 129}, "takes at most 128 tokens, not 129"),
        ("gpt2", {"seq_length": 120, "new_tokens": 20}, "takes at most 108 tokens beside 20 others, not 120"),
        ("gpt2", {"new_tokens": 128}, "which virtual and new tokens use up"),
        ("roberta", {"method": "prompt-tuning", "seq_length": 128}, "takes at most 108 tokens beside 20 others"),
        ("llama", {"target_length": 5}, "--target-len: a causal-lm head has no target"),
        ("llama", {"head": "seq2seq-lm"}, "llama models are decoder-only: they have no seq2seq-lm head"),
        ("t5", {"head": "causal-lm"}, "t5 models are encoder-decoder: they have no causal-lm head"),
        ("roberta", {"head": "seq2seq-lm"}, "roberta models are encoder-only"),
        ("roberta", {"new_tokens": 5}, "--new-tokens: a classifier does not generate"),
        ("t5", {"head": "sequence-classification", "method": "prefix-tuning"}, "prefix-tuning does not work on"),
        ("llama", {"gpu": "T4", "precision": "bf16"}, "Tesla T4 has no bfloat16"),
        ("llama", {"gpu": "T4", "attention": "flash"}, "Tesla T4 has no flash attention"),
        ("llama", {"gpu": "M1", "attention": "flash"}, "Apple M1 has no flash attention"),
    ],
)
def test_what_does_not_go_with_the_model_is_refused(interpret, name, values, said):
    with pytest.raises(InputError) as caught:
        interpret(name, **values)
    assert said in str(caught.value)


def test_virtual_tokens_leave_less_for_the_text(interpret):
    assert interpret("roberta", method="prompt-tuning", hyperparameters={"num_virtual_tokens": 30}).seq_length == 98


def test_computed_positions_set_no_limit(interpret):
    assert interpret("llama", seq_length=1000).seq_length == 1000
    assert interpret("t5", seq_length=1000).seq_length == 1000


@pytest.mark.parametrize(("gpu", "precision"), [(None, "bf16"), ("RTX 3090", "bf16"), ("T4", "fp16"), ("M1", "bf16")])
def test_the_precision_is_what_the_gpu_has(interpret, gpu, precision):
    assert interpret("llama", gpu=gpu).precision == precision


@pytest.mark.parametrize(
    ("gpu", "flash"), [(None, True), ("T4", False), ("A100", True), ("H100", True), ("MI210", True)]
)
def test_flash_attention_begins_with_ampere(interpret, gpu, flash):
    assert interpret("llama", gpu=gpu).flash_capable is flash


def test_an_adapters_file_brings_its_head(interpret, tmp_path):
    path = adapter_file(tmp_path, peft_type="LORA", task_type="SEQ_CLS", r=2, target_modules=["q_proj"])
    workload = interpret("llama", method=None, adapter_config=path)
    assert workload.head == "sequence-classification"
    assert workload.peft_config is not None
    assert workload.peft_config.r == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "nosuch"}, "no usable config.json"),
        ({"hidden_size": "big"}, "no usable config.json"),
        ({"auto_map": {"AutoConfig": "configuration_x.X"}, "model_type": "mine"}, "no usable config.json"),
    ],
)
def test_a_config_that_transformers_refuses_is_one_line(tmp_path, changes, said):
    folder = config_folder(tmp_path, "llama", **changes)
    with pytest.raises(DataError, match=said) as caught:
        workload_of(Question(model=str(folder), method=METHODS["lora"]))
    assert "\n" not in str(caught.value)
