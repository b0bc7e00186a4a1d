"""Hints on what would make a step fit, from parts of memory given by hand."""

from dataclasses import replace

import pytest
from peft import LoraConfig, PrefixTuningConfig

from advisor.dryrun.estimate import DryRun
from advisor.dryrun.relief import relief, smallest_gpu_for
from advisor.dryrun.workload import Workload
from advisor.feasibility.estimate import Estimate
from advisor.modeling.meta import read_model_source
from advisor.spec import GIB
from tests.model_folders import config_folder


@pytest.fixture
def workload(tmp_path) -> Workload:
    source = read_model_source(str(config_folder(tmp_path, "llama")))
    return Workload(source=source, head="causal-lm", peft_config=LoraConfig(task_type="CAUSAL_LM"))


def run_of(usable_gib: float, inference_gib: float | None = None, **parts_gib: float) -> DryRun:
    """Return a dry run with these parts in GiB."""
    names = (
        "weights", "adapter", "gradients", "optimizer", "activations", "logits", "workspace", "fragmentation", "context"
    )  # fmt: skip
    parts = {f"{name}_bytes": int(parts_gib.get(name, 0) * GIB) for name in names}
    peak = sum(parts.values())
    return DryRun(
        estimate=Estimate(
            peak_memory_bytes=peak, peak_reserved_bytes=peak, peak_allocated_bytes=peak, basis="test",
            trainable_params=1, **parts,
        ),
        total_params=1, tokens_per_step=1, usable_bytes=int(usable_gib * GIB),
        inference_peak_bytes=None if inference_gib is None else int(inference_gib * GIB),
    )  # fmt: skip


def test_what_fits_needs_no_hint(workload):
    assert relief(workload, run_of(24, weights=10)) == ""
    assert relief(workload, replace(run_of(24, weights=30), usable_bytes=None)) == ""


def test_large_activations_ask_for_checkpointing_and_a_card_is_named(workload):
    said = relief(workload, run_of(24, weights=10, activations=20))
    assert said == "Try --gradient-checkpointing (activations 20.0 GiB), or a GPU such as the GeForce RTX 5090."


def test_large_weights_ask_for_four_bits(workload):
    assert "Try --quantization 4bit (weights 26.0 GiB)" in relief(workload, run_of(24, weights=26, activations=1))


def test_a_smaller_batch_comes_first_because_it_changes_nothing(workload):
    said = relief(replace(workload, batch_size=8), run_of(24, weights=10, activations=20))
    assert said.startswith("Try --batch-size below 8 with --accumulation,")


def test_ways_are_joined_when_one_alone_is_not_enough(workload):
    said = relief(workload, run_of(24, weights=28, activations=30))
    assert "--gradient-checkpointing (activations 30.0 GiB) and --quantization 4bit (weights 28.0 GiB)" in said


def test_when_nothing_is_enough_it_says_so(workload):
    assert relief(workload, run_of(4, weights=28, activations=30)).startswith("Hardly enough: ")
    used_up = replace(workload, gradient_checkpointing=True, quantization="4bit", optimizer="adamw-8bit")
    assert relief(used_up, run_of(4, weights=8)).startswith("Try a shorter --seq-len")


def test_full_fine_tuning_is_sent_to_a_small_optimizer_state_or_lora(workload):
    full = replace(workload, peft_config=None)
    assert "--optimizer adamw-8bit (its state 12.0 GiB)" in relief(
        full, run_of(24, weights=6, optimizer=12, gradients=6.5)
    )
    said = relief(replace(full, optimizer="sgd-momentum"), run_of(24, weights=10, optimizer=10, gradients=10))
    assert "--method lora" in said
    assert "4bit" not in said


def test_prefix_tuning_is_not_sent_to_checkpointing(workload):
    prefix = replace(workload, peft_config=PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5))
    assert "checkpointing" not in relief(prefix, run_of(24, weights=10, activations=20))


def test_an_evaluation_that_is_too_large_is_told_apart_from_training(workload):
    said = relief(workload, run_of(24, inference_gib=40, weights=10))
    assert said.startswith("Only evaluation is too large: give --evaluate fewer sequences at once")


def test_the_card_that_is_named_has_room_and_the_arithmetic():
    found = smallest_gpu_for(14 * GIB, "bf16")
    assert found is not None
    assert found.supports_bf16
    assert found.usable_gib > 14 * 1.03
    assert found.vram_gb == 16
    assert smallest_gpu_for(10_000 * GIB, "bf16") is None
