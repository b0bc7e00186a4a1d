"""A step over several GPUs: sums, bounds and where layers go."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog.base_models import all_base_models, find_base_model
from advisor.catalog.shapes import Shape
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.memory import Step, estimate_memory
from advisor.feasibility.spread import LayeredStep, layered, n_gpus_needed, partition, spread
from advisor.spec import GIB

DENSE = [one for one in all_base_models() if "mixture-of-experts" not in one.traits]
HEADS = {
    "encoder-only": "sequence-classification",
    "decoder-only": "causal-lm",
    "encoder-decoder": "seq2seq-lm",
}
# 2 layers whose linear layers have 4 * 4 * 4 + 2 * 4 * 8 = 128 numbers each, and tables of 32 numbers.
SMALL = Shape(
    hidden=4, layers=2, heads=1, q_size=4, kv_size=4, ff=8, gated=False, vocab=8, tied=False, layernorm=True,
    dropout=False,
)  # fmt: skip


def estimate(**parts: int) -> Estimate:
    names = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "workspace", "fragmentation")
    sizes = {f"{name}_bytes": parts.get(name, 0) for name in (*names, "context")}
    peak = sum(sizes.values())
    reserved = peak - sizes["context_bytes"]
    return Estimate(
        peak_memory_bytes=peak, peak_reserved_bytes=reserved,
        peak_allocated_bytes=reserved - sizes["fragmentation_bytes"], basis="test", trainable_params=0, **sizes,
    )  # fmt: skip


def divided(found: Estimate, shape: Shape = SMALL, **options: object) -> LayeredStep:
    step = Step(batch_size=1, source_tokens=1)
    return layered(found, shape, **{"head": "sequence-classification", "step": step, "precision": "fp32", **options})  # type: ignore[arg-type]


@st.composite
def steps(draw: st.DrawFn) -> LayeredStep:
    model = draw(st.sampled_from(DENSE))
    method = draw(st.sampled_from(["lora", "ia3", "prompt-tuning", "full", "layer-freezing"]))
    head = HEADS[model.architecture]
    step = Step(
        batch_size=draw(st.integers(1, 16)), source_tokens=draw(st.integers(1, 2048)),
        target_tokens=draw(st.integers(1, 256)) if head == "seq2seq-lm" else 0,
    )  # fmt: skip
    quantization = None if method in ("full", "layer-freezing") else draw(st.sampled_from([None, "4bit"]))
    found = estimate_memory(model, method, {"r": 8}, head, step, "bf16", quantization)  # type: ignore[arg-type]
    return layered(
        found, model.shape, head=head, step=step, precision="bf16", quantization=quantization, method=method,
        gradient_checkpointing=draw(st.booleans()),
    )  # type: ignore[arg-type]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(steps())
def test_on_one_gpu_it_is_the_estimate(step: LayeredStep) -> None:
    (only,) = spread(step, 1).gpus
    assert only.peak_memory_bytes == step.estimate.peak_memory_bytes
    assert (only.first_layer, only.n_layers) == (0, step.layers)


@settings(deadline=None, max_examples=40)
@given(steps(), st.integers(1, 16))
def test_weights_and_layers_add_up_whatever_the_number_of_gpus(step: LayeredStep, n: int) -> None:
    gpus = spread(step, n).gpus
    assert len(gpus) == min(n, step.layers)
    assert sum(one.weights_bytes for one in gpus) == step.estimate.weights_bytes
    assert sum(one.n_layers for one in gpus) == step.layers
    assert all(one.n_layers > 0 for one in gpus)
    assert all(one.first_layer + one.n_layers == after.first_layer for one, after in pairwise(gpus))


@settings(deadline=None, max_examples=40)
@given(steps())
def test_more_gpus_never_raise_the_largest_peak(step: LayeredStep) -> None:
    peaks = [spread(step, n).peak_memory_bytes for n in range(1, 9)]
    assert peaks == sorted(peaks, reverse=True)


@settings(deadline=None, max_examples=40)
@given(steps(), st.integers(GIB, 80 * GIB))
def test_as_many_gpus_as_needed_fit_and_one_fewer_does_not(step: LayeredStep, usable: int) -> None:
    n = n_gpus_needed(step, usable)
    if n is None:
        assert spread(step, 16).peak_memory_bytes > usable
        return
    assert spread(step, n).peak_memory_bytes <= usable
    assert n == 1 or spread(step, n - 1).peak_memory_bytes > usable


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.integers(1, 9))
def test_no_other_way_to_part_layers_has_a_cheaper_most_expensive_part(sizes: list[int], n: int) -> None:
    n = min(n, len(sizes))
    parts = partition(len(sizes), n, lambda first, last: sum(sizes[first:last]))
    assert (len(parts), sum(parts)) == (n, len(sizes))

    def largest(ends: tuple[int, ...]) -> int:
        return max(sum(sizes[first:last]) for first, last in pairwise((0, *ends, len(sizes))))

    ends = tuple(sum(parts[: number + 1]) for number in range(n - 1))
    assert largest(ends) == min(map(largest, combinations(range(1, len(sizes)), n - 1)))


def test_parts_go_where_their_layers_are() -> None:
    # Weights 32 + 128 + 128 of 288: a classifier's base has one table. The adapter's gradients are as large as it is.
    found = estimate(weights=2880, adapter=100, optimizer=200, activations=600, workspace=50, context=7)
    step = replace(divided(found), passing_bytes=0)
    first, second = spread(step, 2).gpus
    assert (first.weights_bytes, second.weights_bytes) == (320 + 1280, 1280)
    # Half of adapter, optimizer and activations, the gradients of half the adapter; workspace and context whole.
    assert first.peak_memory_bytes == 1600 + 50 + 100 + 50 + 300 + 50 + 7
    assert second.peak_memory_bytes == 1280 + 50 + 100 + 50 + 300 + 50 + 7


def test_logits_are_with_the_output_head_which_may_share_the_embedding_table() -> None:
    # Two tables of 320 bytes and two layers of 1280.
    step = replace(divided(estimate(weights=3200, logits=1000), head="causal-lm"), passing_bytes=0)
    assert [one.peak_memory_bytes for one in spread(step, 2).gpus] == [320 + 1280, 1280 + 320 + 1000]
    step = divided(estimate(weights=2880, logits=1000), replace(SMALL, tied=True), head="causal-lm")
    step = replace(step, passing_bytes=0)
    assert [one.peak_memory_bytes for one in spread(step, 2).gpus] == [320 + 1280 + 1000, 1280]


def test_a_soft_prompt_is_trained_on_the_first_gpu() -> None:
    found = estimate(weights=2880, adapter=100, optimizer=200)
    step = replace(divided(found, method="prompt-tuning"), passing_bytes=0)
    assert [one.peak_memory_bytes for one in spread(step, 2).gpus] == [320 + 1280 + 100 + 100 + 200, 1280]


def test_no_gpu_takes_more_than_one_alone_would() -> None:
    found = estimate(weights=288, workspace=5000)
    assert max(one.peak_memory_bytes for one in spread(divided(found), 2).gpus) <= found.peak_memory_bytes


def test_a_32b_model_in_16_bits_needs_three_or_four_gpus_of_24_gib() -> None:
    # 32.8e9 parameters of 2 bytes are 61 GiB: more than two GPUs of 24 GiB have, and much less than four.
    model = find_base_model("Qwen/Qwen2.5-Coder-32B")
    step = Step(batch_size=1, source_tokens=512)
    found = estimate_memory(model, "lora", {"r": 8}, "causal-lm", step, "bf16")
    parted = layered(found, model.shape, head="causal-lm", step=step, precision="bf16", method="lora")
    assert n_gpus_needed(parted, 24 * GIB) in (3, 4)
    assert n_gpus_needed(parted, 80 * GIB) == 1
    assert n_gpus_needed(parted, GIB) is None


def test_no_gpu_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="0 GPUs"):
        spread(divided(estimate(weights=1)), 0)
