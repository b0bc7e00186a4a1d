"""Depth extrapolated from three layers, against models of the same depth that are built in full."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from peft import LoraConfig, PrefixTuningConfig

from advisor.dryrun.depth import BUILT_LAYERS, UnevenStackError, costs_at_depth, group_curves, live_bytes_at_depth
from advisor.dryrun.roofline import totals_of
from advisor.dryrun.step import StepTrace, build_model, run_model_step
from advisor.dryrun.workload import Workload
from tests.dryrun.tiny_workloads import Family, source_of, workload_of


def three_layers(asked: Workload) -> StepTrace:
    asked = replace(asked, layers=BUILT_LAYERS)
    return run_model_step(build_model(asked), asked, by_layer=True)


def in_full(asked: Workload) -> StepTrace:
    return run_model_step(build_model(asked), asked)


def highest(curves: Any) -> list[float]:
    """Most bytes of each group, and of all groups when all of them together are highest."""
    top = int(np.argmax(curves[0]))
    return [*curves.max(axis=1).tolist(), *curves[:, top].tolist()]


@pytest.mark.parametrize(("checkpointing", "depth"), [(False, 5), (True, 7)], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
@pytest.mark.parametrize("family", ["llama", "roberta"])
def test_any_depth_is_exact(family: Family, method: Literal["lora", "ia3", "full"], checkpointing: bool, depth: int):
    asked = workload_of(family, method, layers=depth, gradient_checkpointing=checkpointing)
    short, full = three_layers(asked), in_full(asked)
    assert highest(live_bytes_at_depth(short, (depth,)).curves) == highest(group_curves(full))
    assert totals_of(short.costs, costs_at_depth(short, (depth,))) == pytest.approx(totals_of(full.costs))


@pytest.mark.parametrize(("checkpointing", "depths"), [(False, (5, 7)), (True, (7, 5))], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
def test_encoder_and_decoder_may_differ_in_depth(method, checkpointing, depths):
    source = source_of("t5", depths[0], decoder_layers=depths[1])
    asked = workload_of("t5", method, source=source, gradient_checkpointing=checkpointing)
    short, full = three_layers(asked), in_full(asked)
    assert highest(live_bytes_at_depth(short, depths).curves) == highest(group_curves(full))
    assert totals_of(short.costs, costs_at_depth(short, depths)) == pytest.approx(totals_of(full.costs))


@pytest.mark.parametrize(
    "options",
    [
        {"autocast": True}, {"autocast": True, "gradient_checkpointing": True}, {"quantization": "4bit"},
        {"attention": "eager", "holds_outputs": False},
        # Long enough for a layer's scores to be more than the logits.
        {"attention": "eager", "seq_length": 200, "gradient_checkpointing": True}, {"head": "sequence-classification"},
    ],
)  # fmt: skip
def test_other_steps_are_exact_too(options):
    asked = workload_of("llama", "lora", layers=6, **options)
    assert highest(live_bytes_at_depth(three_layers(asked), (6,)).curves) == highest(group_curves(in_full(asked)))


def test_three_layers_are_themselves():
    trace = three_layers(workload_of())
    assert live_bytes_at_depth(trace, (BUILT_LAYERS,)).curves.tolist() == group_curves(trace).tolist()


def test_a_layer_more_keeps_what_is_counted_by_hand():
    """(IA)3 on the values alone: per layer a vector of 2 * 16 numbers in float32, and what the forward pass keeps."""
    trace = three_layers(workload_of("llama", "ia3"))
    peaks = [live_bytes_at_depth(trace, (depth,)).curves for depth in (10, 11, 12)]
    gradients = [curves[2].max() for curves in peaks]
    # Keys and values of 2 heads of 16 numbers, and the 128 inputs of the feed-forward output, in float32.
    assert gradients[1] - gradients[0] == gradients[2] - gradients[1] == (32 + 32 + 128) * 4
    growth = [curves[0].max() for curves in peaks]
    assert growth[1] - growth[0] == growth[2] - growth[1] > 0


def test_a_layer_that_takes_no_part_in_the_backward_pass_is_refused():
    config = LoraConfig(r=4, target_modules=["q_proj"], layers_to_transform=[2], task_type="CAUSAL_LM")
    trace = three_layers(workload_of("llama", peft_config=config, layers=5))
    with pytest.raises(UnevenStackError, match="stack 0: 3 layers forward, 1 backward"):
        live_bytes_at_depth(trace, (5,))


def test_a_stack_that_is_not_there_is_refused():
    trace = three_layers(workload_of("llama"))
    with pytest.raises(UnevenStackError, match="stack 1: 0 layers forward"):
        live_bytes_at_depth(trace, (5, 5))


def test_prefix_tuning_is_not_extrapolated():
    """Its parameters lie outside of the layers and grow with their number; that is why it is run in full."""
    config = PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    asked = workload_of("llama", peft_config=config, layers=6)
    short, full = live_bytes_at_depth(three_layers(asked), (6,)).curves, group_curves(in_full(asked))
    assert short[2].max() < full[2].max()
