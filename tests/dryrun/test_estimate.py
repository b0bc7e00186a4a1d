"""Memory and time of a workload, against sizes counted on real modules."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from advisor.catalog.gpus import find_gpu
from advisor.dryrun.estimate import estimate_workload
from advisor.dryrun.generation import Inference
from advisor.dryrun.workload import Workload
from advisor.modeling.meta import read_model_source
from advisor.spec import GIB
from tests.model_folders import config_folder

LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return config_folder(tmp_path_factory.mktemp("models"), "llama")


@pytest.fixture(scope="module")
def workload(folder) -> Workload:
    return Workload(source=read_model_source(str(folder)), head="causal-lm", peft_config=LORA, seq_length=64)


def real_model(folder, dtype: torch.dtype):
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=dtype)


def nbytes(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_weights_and_adapter_are_those_of_real_modules(folder, workload):
    found = estimate_workload(workload).estimate
    base = real_model(folder, torch.bfloat16)
    assert found.weights_bytes == nbytes([*base.parameters(), *base.buffers()])
    adapted = get_peft_model(base, LORA)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert found.adapter_bytes == nbytes(trained)
    assert found.trainable_params == sum(parameter.numel() for parameter in trained)


def test_adamw_keeps_two_moments_of_what_is_trained(folder, workload):
    full = estimate_workload(replace(workload, peft_config=None, precision="fp32")).estimate
    size = nbytes(real_model(folder, torch.float32).parameters())
    assert full.optimizer_bytes == 2 * size
    assert full.adapter_bytes == 0


def test_the_parts_add_up_to_the_peak(workload):
    found = estimate_workload(workload).estimate
    assert sum(found.breakdown.values()) == found.peak_memory_bytes
    assert found.peak_memory_bytes == found.peak_reserved_bytes + found.context_bytes
    assert found.peak_allocated_bytes <= found.peak_reserved_bytes
    assert all(nbytes >= 0 for nbytes in found.breakdown.values())


def test_without_a_device_there_is_no_verdict_and_no_time(workload):
    run = estimate_workload(workload)
    assert (run.fits, run.margin_bytes, run.usable_bytes, run.tokens_per_s) == (None, None, None, None)
    assert (run.estimate.step_time_s, run.time_unknown) == (None, "")


def test_the_margin_is_what_is_left_of_the_device(workload):
    run = estimate_workload(workload, gpu=find_gpu("RTX 4090"))
    assert run.usable_bytes == int(find_gpu("RTX 4090").usable_gib * GIB)
    assert run.margin_bytes == run.usable_bytes - run.peak_memory_bytes
    assert run.fits is True
    assert run.estimate.step_time_s is not None
    assert run.tokens_per_s == pytest.approx(64 / run.estimate.step_time_s)


def test_given_memory_comes_before_that_of_the_gpu(workload):
    run = estimate_workload(workload, gpu=find_gpu("RTX 4090"), usable_gib=0.25)
    assert run.usable_bytes == GIB // 4
    assert run.fits is False  # the context alone takes half a GiB


def test_a_gpu_without_known_rates_has_memory_and_a_reason(workload):
    run = estimate_workload(workload, gpu=find_gpu("M4 Max"))
    assert run.fits is True
    assert run.estimate.context_bytes == 0
    assert run.estimate.step_time_s is None
    assert "Apple M4 Max" in run.time_unknown


def test_an_evaluation_that_is_larger_than_training_decides(workload):
    small = estimate_workload(workload, inference=Inference(batch_size=1, seq_length=8))
    assert small.inference_peak_bytes is not None
    assert small.peak_memory_bytes == small.estimate.peak_memory_bytes
    large = estimate_workload(workload, gpu=find_gpu("RTX 4090"), inference=Inference(batch_size=512, seq_length=64))
    assert large.inference_peak_bytes is not None
    assert large.peak_memory_bytes == large.inference_peak_bytes > large.estimate.peak_memory_bytes
    # The logits alone: 512 x 64 tokens x 400 words, in bfloat16 and as the float32 copy for the loss.
    assert large.inference_peak_bytes > 512 * 64 * 400 * (2 + 4)
