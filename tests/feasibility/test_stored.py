"""Estimates from a stored profile, computed by hand, and what happens where none is stored."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from advisor.catalog import files
from advisor.catalog.base_models import base_model_from_folder, find_base_model
from advisor.catalog.gpus import find_gpu
from advisor.catalog.methods import METHODS
from advisor.feasibility import profiles
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.memory import Step, estimate_memory
from advisor.feasibility.profiles import FILE_NAME, Moment, StepProfile, line_of
from advisor.feasibility.stored import BASIS, estimate_step

GIB = 2**30
# At the first use of cuBLAS on GPUs other than Hopper, and CUDA itself.
WORKSPACE, CONTEXT = 2 * 4096 * 1024 + 8 * 16 * 1024, GIB // 2
MODEL = find_base_model("Qwen/Qwen2.5-Coder-0.5B")
DEFAULTS = METHODS["lora"].defaults
STEP = Step(batch_size=4, source_tokens=100)
GPU = find_gpu("rtx 4090")
PROFILE = StepProfile(
    base_model=MODEL.hf_id, head="causal-lm", method="lora", precision="bf16", quantization=None,
    gradient_checkpointing=False, weights={"1": 1e9}, adapter={"p": 1e6}, gradients={"p": 1e6},
    optimizer={"p": 2e6}, trainable={"p": 250_000.0},
    moments=(Moment(alive={"bs": 3e6, "p": 5e5}, logits={"bs": 1e6}, gradients={"p": 4e5}, workspace={"1": 7e6}),),
    overhead=0.1,
    totals={
        "half_flops": {"bs": 1e10}, "memory_bytes": {"bs": 1e6}, "launches": {"1": 1000.0}, "update_bytes": {"p": -5.0},
    },
)  # fmt: skip


@pytest.fixture(autouse=True)
def knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A knowledge folder with two profiles; what was read of the real one is forgotten before and after."""
    monkeypatch.setattr(files, "knowledge_folder", lambda: tmp_path)
    seq2seq = replace(PROFILE, base_model="Salesforce/codet5-small", head="seq2seq-lm")
    lines = (PROFILE, replace(PROFILE, gradient_checkpointing=True, weights={"1": 2e9}), seq2seq)
    (tmp_path / FILE_NAME).write_text("".join(f"{line_of(one)}\n" for one in lines), encoding="utf-8")
    profiles._lines.cache_clear()
    profiles._parsed.cache_clear()
    yield tmp_path
    profiles._lines.cache_clear()
    profiles._parsed.cache_clear()


def estimated(hyperparameters: dict[str, object] | None = None, **options: Any) -> Estimate | None:
    about = {"model": MODEL, "method": "lora", "head": "causal-lm", "step": STEP, "precision": "bf16", **options}
    return estimate_step(hyperparameters={**DEFAULTS, **(hyperparameters or {})}, **about)


def test_every_part_is_that_computed_by_hand():
    one = estimated({"r": 10})
    assert one.basis == BASIS
    assert (one.weights_bytes, one.adapter_bytes, one.optimizer_bytes) == (10**9, 10**7, 2 * 10**7)
    alive = 3_000_000 * 400 + 500_000 * 10
    logits, gradients, workspace = 1_000_000 * 400, 400_000 * 10, 7_000_000
    assert (one.logits_bytes, one.gradients_bytes) == (logits, gradients)
    assert one.workspace_bytes == workspace + WORKSPACE
    assert one.activations_bytes == alive - logits - gradients - workspace
    assert one.fragmentation_bytes == (10**7 + 2 * 10**7 + alive) // 10
    assert one.peak_allocated_bytes == 10**9 + 3 * 10**7 + alive + WORKSPACE
    assert one.peak_reserved_bytes == one.peak_allocated_bytes + one.fragmentation_bytes
    assert one.context_bytes == CONTEXT
    assert one.peak_memory_bytes == one.peak_reserved_bytes + CONTEXT == sum(one.breakdown.values())
    assert one.trainable_params == 2_500_000
    assert one.step_time_s is None


def test_accumulation_adds_the_gradients_that_wait():
    one, more = estimated({"r": 10}), estimated({"r": 10}, accumulation=4)
    # All of them are 10 * 1e6 bytes, of which 10 * 4e5 are there at the peak anyway.
    assert more.gradients_bytes - one.gradients_bytes == 6_000_000
    assert more.peak_allocated_bytes - one.peak_allocated_bytes == 6_000_000
    assert sum(more.breakdown.values()) == more.peak_memory_bytes
    assert estimated({"r": 10}, accumulation=2) == more


def test_without_a_rank_the_method_s_default_is_taken():
    assert estimated() == estimated({"r": DEFAULTS["r"]})
    assert estimated({"r": "many"}) == estimated()


def test_checkpointing_has_a_profile_of_its_own():
    assert estimated(gradient_checkpointing=True).weights_bytes == 2 * 10**9


def test_a_target_has_its_own_length():
    model = find_base_model("Salesforce/codet5-small")
    one = estimated(model=model, head="seq2seq-lm", step=Step(batch_size=4, source_tokens=100, target_tokens=50))
    assert one.basis == BASIS


@pytest.mark.parametrize("gpu", ["t4", "h100", "mi210", "m1 max"])
def test_what_the_device_takes_is_added(gpu):
    context = 0 if gpu == "m1 max" else CONTEXT
    workspace = {"t4": WORKSPACE, "h100": 32 * 2**20, "mi210": 32 * 2**20, "m1 max": 0}[gpu]
    one = estimated(gpu=find_gpu(gpu))
    assert (one.context_bytes, one.workspace_bytes) == (context, 7_000_000 + workspace)
    assert sum(one.breakdown.values()) == one.peak_memory_bytes


def test_the_time_is_at_least_that_of_the_datasheet_and_grows_with_the_passes():
    one, four = (estimated(gpu=GPU, accumulation=count).step_time_s for count in (1, 4))
    flops, nbytes = 1e10 * 400, 1e6 * 400
    at_datasheet = flops / (GPU.bf16_tflops_dense * 1e12) + nbytes / (GPU.memory_bandwidth_gb_s * 1e9)
    assert at_datasheet < one < 3 * at_datasheet
    assert four == pytest.approx(4 * one, rel=0.05)


def test_where_the_catalogue_lacks_a_rate_there_is_no_time():
    assert estimated(gpu=replace(GPU, memory_bandwidth_gb_s=None)).step_time_s is None


@pytest.mark.parametrize(
    ("hyperparameters", "options"),
    [
        ({}, {"model": find_base_model("Qwen/Qwen2.5-Coder-1.5B")}),
        ({}, {"method": "dora"}),
        ({}, {"precision": "fp32"}),
        ({}, {"quantization": "4bit"}),
        ({}, {"head": "sequence-classification"}),
        # Other targets than those that the profile was made with are other tensors.
        ({"target_modules": ["q_proj"]}, {}),
    ],
)
def test_without_a_profile_the_formula_is_used(hyperparameters, options):
    one = estimated(hyperparameters, **options)
    about = {"model": MODEL, "method": "lora", "head": "causal-lm", "step": STEP, "precision": "bf16", **options}
    assert one == estimate_memory(hyperparameters={**DEFAULTS, **hyperparameters}, **about)
    assert one.basis != BASIS


def test_checkpointing_without_a_profile_has_no_estimate():
    assert estimated({"target_modules": ["q_proj"]}, gradient_checkpointing=True) is None
    assert estimated(model=find_base_model("Qwen/Qwen2.5-Coder-1.5B"), gradient_checkpointing=True) is None


def test_a_projected_prefix_has_no_profile():
    stored = replace(PROFILE, method="prefix-tuning")
    (files.knowledge_folder() / FILE_NAME).write_text(f"{line_of(stored)}\n", encoding="utf-8")
    defaults = METHODS["prefix-tuning"].defaults
    plain, projected = (
        estimate_step(MODEL, "prefix-tuning", {**defaults, **more}, "causal-lm", STEP, "bf16")
        for more in ({}, {"prefix_projection": True})
    )
    assert plain.basis == BASIS
    assert projected.basis != BASIS


def test_a_local_folder_has_no_profile_even_under_a_known_name(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, '
        '"intermediate_size": 128, "vocab_size": 320}'
    )
    local = replace(base_model_from_folder(folder), hf_id=MODEL.hf_id)
    assert estimated(model=local).basis != BASIS
