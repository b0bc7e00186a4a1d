"""The memory estimate against published measurements, and its behaviour."""

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog.base_models import all_base_models, find_base_model
from advisor.catalog.files import knowledge_folder
from advisor.catalog.methods import METHODS
from advisor.feasibility.memory import ALLOCATOR_SLACK, CONTEXT_BYTES, Step, estimate_memory

METHOD_OF = {
    "LORA": "lora", "IA3": "ia3", "PROMPT_TUNING": "prompt-tuning", "PREFIX_TUNING": "prefix-tuning",
    "LN_TUNING": "layernorm-tuning",
}  # fmt: skip
# Batches are bucketed by length; 560 tokens is the longest padded batch that the runs agree on.
STEP = Step(batch_size=4, source_tokens=560)
# Other optimizers or initialisations than those of the catalogue.
OTHER = {"bdlora", "init=mica", "opt=lora-fa"}
LLAMA = find_base_model("meta-llama/Llama-3.2-3B")


def measured_runs() -> list[dict[str, str]]:
    with (knowledge_folder() / "peft_method_comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["peft_type"] in METHOD_OF and row["variant"] not in OTHER]


def estimate_of(run: dict[str, str]):
    method = "dora" if "dora" in run["variant"] else METHOD_OF[run["peft_type"]]
    return estimate_memory(LLAMA, method, json.loads(run["adapter_config"]), "causal-lm", STEP, "bf16", autocast=False)


def relative_error(run: dict[str, str]) -> float:
    # The published figure starts after the CUDA context.
    return (estimate_of(run).peak_memory_bytes - CONTEXT_BYTES) / int(run["mem_reserved_99th_bytes"]) - 1


@pytest.mark.parametrize("run", measured_runs(), ids=lambda run: run["experiment"])
def test_the_estimate_is_within_five_per_cent_of_the_published_run(run):
    assert abs(relative_error(run)) < 0.05


def test_the_mean_absolute_error_over_the_published_runs_is_under_two_per_cent():
    errors = [abs(relative_error(run)) for run in measured_runs()]
    assert len(errors) == 10
    assert sum(errors) / len(errors) < 0.02


@pytest.mark.parametrize("run", measured_runs(), ids=lambda run: run["experiment"])
def test_trained_parameters_are_counted_exactly(run):
    assert estimate_of(run).trainable_params == int(run["trainable_params"])


@settings(deadline=None)
@given(
    model=st.sampled_from(all_base_models()),
    method=st.sampled_from(sorted(METHODS)),
    batch=st.integers(1, 64),
    tokens=st.integers(8, 2048),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    quantization=st.sampled_from([None, "4bit", "8bit"]),
)
def test_the_parts_add_up_and_more_work_never_needs_less(model, method, batch, tokens, precision, quantization):
    head = {"encoder-only": "sequence-classification", "encoder-decoder": "seq2seq-lm"}.get(
        model.architecture, "causal-lm"
    )
    defaults = METHODS[method].hyperparameters(model.architecture)

    def peak(batch_size: int, length: int):
        target = length if head == "seq2seq-lm" else 0
        step = Step(batch_size=batch_size, source_tokens=length, target_tokens=target)
        return estimate_memory(model, method, defaults, head, step, precision, quantization)

    one = peak(batch, tokens)
    assert one.peak_memory_bytes == sum(one.breakdown.values())
    assert one.peak_allocated_bytes <= one.peak_reserved_bytes <= one.peak_memory_bytes
    assert all(part >= 0 for part in one.breakdown.values())
    assert peak(batch + 1, tokens).peak_memory_bytes > one.peak_memory_bytes
    assert peak(batch, tokens + 8).peak_memory_bytes > one.peak_memory_bytes


def test_four_bits_shrink_the_weights_of_a_large_model_to_about_a_third():
    model = find_base_model("codellama/CodeLlama-7b-hf")
    step = Step(batch_size=1, source_tokens=128)
    plain, small = (
        estimate_memory(model, "lora", METHODS["lora"].defaults, "causal-lm", step, "bf16", how)
        for how in (None, "4bit")
    )
    assert 0.25 < small.weights_bytes / plain.weights_bytes < 0.4


def test_full_fine_tuning_needs_sixteen_bytes_a_parameter_and_a_copy():
    model = find_base_model("microsoft/codebert-base")
    one = estimate_memory(
        model, "full", METHODS["full"].defaults, "sequence-classification", Step(batch_size=1, source_tokens=16), "bf16"
    )
    static = one.weights_bytes + one.gradients_bytes + one.optimizer_bytes
    assert static == pytest.approx(18 * model.params, rel=0.01)


def test_the_slack_of_the_allocator_is_a_share_of_what_comes_and_goes():
    one = estimate_memory(LLAMA, "lora", METHODS["lora"].defaults, "causal-lm", STEP, "bf16")
    moving = one.activations_bytes + one.logits_bytes + one.gradients_bytes + one.optimizer_bytes
    assert one.fragmentation_bytes == int(ALLOCATOR_SLACK * moving)
    assert one.context_bytes == CONTEXT_BYTES
    assert one.peak_reserved_bytes - one.peak_allocated_bytes == one.fragmentation_bytes
    assert one.peak_memory_bytes - one.peak_reserved_bytes == CONTEXT_BYTES


def test_the_adapter_has_a_part_of_its_own_and_full_fine_tuning_none():
    # Queries 3072 x 3072 and values 3072 x 1024 in 28 layers, two matrices of rank 32 each, in float32.
    hyperparameters = {**METHODS["lora"].defaults, "r": 32, "target_modules": ["q_proj", "v_proj"]}
    one = estimate_memory(LLAMA, "lora", hyperparameters, "causal-lm", STEP, "bf16")
    trained = 28 * 32 * (3072 + 3072 + 3072 + 1024)
    assert (one.adapter_bytes, one.gradients_bytes, one.optimizer_bytes) == (4 * trained, 4 * trained, 8 * trained)
    assert estimate_memory(LLAMA, "full", {}, "causal-lm", STEP, "bf16").adapter_bytes == 0


def test_a_quantized_base_holds_its_largest_matrix_once_in_16_bits():
    one = estimate_memory(LLAMA, "lora", METHODS["lora"].defaults, "causal-lm", STEP, "bf16", "4bit")
    assert one.workspace_bytes == 3072 * 8192 * 2
