"""Making a proposal fit a budget."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.candidates import propose
from advisor.catalog.base_models import find_base_model
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.errors import UnknownNameError
from advisor.evidence.digest import read_digests
from advisor.feasibility import fit as module
from advisor.feasibility.fit import PREFERRED_BATCH, device_of, fit, step_of
from advisor.feasibility.stored import estimate_step
from advisor.spec import Budget


def proposal(hf_id: str, task: str = "code-generation", method: str = "lora"):
    model = find_base_model(hf_id)
    return propose(find_task(task), model, METHODS[method], read_digests(task)[model.architecture])


def fitted(hf_id: str, vram: float | None, task: str = "code-generation", gpu: str | None = None, method: str = "lora"):
    return fit(proposal(hf_id, task, method), find_task(task), device_of(Budget(vram_gib=vram, gpu=gpu)))


def test_a_small_model_on_a_large_gpu_needs_no_tricks():
    found = fitted("microsoft/unixcoder-base", 24, "clone-detection")
    assert (found.fits, found.quantization, found.micro_batch_size) == (True, None, PREFERRED_BATCH["encoder-only"])


def test_a_large_model_is_quantized_where_that_makes_room():
    assert fitted("deepseek-ai/deepseek-coder-6.7b-base", 16).quantization == "4bit"
    assert fitted("deepseek-ai/deepseek-coder-6.7b-base", 80).quantization is None


def test_a_method_that_does_not_work_quantized_is_never_quantized():
    assert fitted("deepseek-ai/deepseek-coder-6.7b-base", 16, method="layernorm-tuning").quantization is None


def test_what_does_not_fit_is_returned_at_its_smallest():
    found = fitted("Qwen/Qwen2.5-Coder-32B", 8)
    assert (found.fits, found.micro_batch_size) == (False, 1)


def test_without_a_budget_nothing_is_checked_and_arithmetic_is_float32():
    found = fitted("Qwen/Qwen2.5-Coder-32B", None)
    assert (found.fits, found.precision) == (True, "fp32")


@pytest.mark.parametrize(("gpu", "precision"), [("l4", "bf16"), ("t4", "fp16")])
def test_the_gpu_decides_the_type(gpu, precision):
    assert fitted("Qwen/Qwen2.5-Coder-0.5B", None, gpu=gpu).precision == precision


def test_t5_models_train_in_float32_where_there_is_no_bfloat16():
    assert fitted("Salesforce/codet5-small", None, "code-summarization", gpu="t4").precision == "fp32"


def test_a_smaller_budget_than_the_gpu_has_is_respected():
    whole, part = device_of(Budget(gpu="a100-80gb")), device_of(Budget(gpu="a100-80gb", vram_gib=20))
    assert part.usable_gib < 20 < whole.usable_gib


def test_an_unknown_gpu_is_refused():
    with pytest.raises(UnknownNameError):
        device_of(Budget(gpu="RTX 9999 Ultra"))


@settings(deadline=None)
@given(st.floats(1.0, 200.0), st.sampled_from(["Qwen/Qwen2.5-Coder-1.5B", "Salesforce/codet5-base"]))
def test_what_fits_stays_inside_the_budget_and_more_memory_never_hurts(vram, hf_id):
    found, more = fitted(hf_id, vram), fitted(hf_id, vram * 1.5)
    if found.fits:
        assert found.estimate.peak_memory_bytes <= device_of(Budget(vram_gib=vram)).usable_bytes
        assert more.fits
    assert found.micro_batch_size <= found.batch_size


@pytest.mark.parametrize("most", [None, 1, 4])
@pytest.mark.parametrize("vram", [1.0, 2.0, 2.6, 3.5, 6.0, 24.0])
def test_the_largest_power_of_two_that_fits_is_found_and_no_size_is_estimated_twice(vram, most, monkeypatch):
    estimated = []

    def counted(*args, **more):
        estimated.append((args[4], args[6], more["gradient_checkpointing"]))
        return estimate_step(*args, **more)

    monkeypatch.setattr(module, "estimate_step", counted)
    task, device, asked = (
        find_task("clone-detection"),
        device_of(Budget(vram_gib=vram)),
        proposal("microsoft/unixcoder-base", "clone-detection"),
    )
    found = fit(asked, task, device, "none", most_at_once=most)
    assert len(set(estimated)) == len(estimated)
    peaks = {
        micro: estimate_step(
            asked.model, "lora", asked.hyperparameters, asked.head, step_of(asked, task, micro), "bf16", None,
            gradient_checkpointing=found.gradient_checkpointing, accumulation=32 // micro,
        ).peak_memory_bytes
        for micro in (1, 2, 4, 8, 16, 32) if micro <= (most or 32)
    }  # fmt: skip
    fitting = [micro for micro, peak in peaks.items() if peak <= device.usable_bytes]
    assert found.fits == bool(fitting)
    assert found.micro_batch_size == max(fitting, default=1)
    assert found.estimate.peak_memory_bytes == peaks[found.micro_batch_size]
