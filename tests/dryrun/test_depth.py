"""Depth extrapolated from three layers, against models of the same depth that are built in full."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from peft import LoraConfig, PrefixTuningConfig

from advisor.dryrun.depth import BUILT_LAYERS, UnevenStackError, costs_at_depth, group_curves, live_bytes_at_depth
from advisor.dryrun.roofline import totals_of
from advisor.dryrun.step import StepTrace, build_model, run_model_step
from advisor.dryrun.workload import Workload
from tests.dryrun.tiny_workloads import Family, source_of, workload_of

pytestmark = pytest.mark.slow


def asked_for(family: Family, method: Any = "lora", **options: Any) -> Workload:
    """With the optimizer of profiles, the only one without temporaries."""
    return workload_of(family, method, optimizer="adamw-fused", **options)


def three_layers(asked: Workload) -> StepTrace:
    asked = replace(asked, layers=BUILT_LAYERS)
    return run_model_step(build_model(asked), asked, by_layer=True)


def in_full(asked: Workload) -> StepTrace:
    return run_model_step(build_model(asked), asked)


def highest(curves: Any) -> list[float]:
    """Most bytes of each group, and the bytes of each when all of them together are highest."""
    return [*curves.max(axis=1).tolist(), *curves[:, int(np.argmax(curves[0]))].tolist()]


def work(totals: dict[str, float]) -> dict[str, float]:
    """Totals of the forward and backward pass; those of the update follow from the parameters (`profile`)."""
    return {name: value for name, value in totals.items() if not name.startswith("update")}


def check(asked: Workload, depths: tuple[int, ...]) -> None:
    short, full = three_layers(asked), in_full(asked)
    assert highest(live_bytes_at_depth(short, depths).curves) == highest(group_curves(full))
    assert work(totals_of(short.costs, costs_at_depth(short, depths))) == work(totals_of(full.costs))


@pytest.mark.parametrize(("checkpointing", "depth"), [(False, 5), (True, 7)], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
@pytest.mark.parametrize("family", ["llama", "roberta"])
def test_any_depth_is_exact(family, method, checkpointing, depth):
    check(asked_for(family, method, layers=depth, gradient_checkpointing=checkpointing), (depth,))


@pytest.mark.parametrize(("checkpointing", "depths"), [(False, (5, 7)), (True, (7, 5))], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
def test_encoder_and_decoder_may_differ_in_depth(method, checkpointing, depths):
    source = source_of("t5", depths[0], decoder_layers=depths[1])
    check(asked_for("t5", method, source=source, gradient_checkpointing=checkpointing), depths)


@pytest.mark.parametrize(
    "options",
    [
        {"autocast": True}, {"autocast": True, "gradient_checkpointing": True}, {"quantization": "4bit"},
        {"quantization": "8bit", "gradient_checkpointing": True}, {"attention": "eager", "holds_outputs": False},
        # Long enough for a layer's scores to be more than the logits.
        {"attention": "eager", "seq_length": 200, "gradient_checkpointing": True}, {"head": "sequence-classification"},
    ],
)  # fmt: skip
def test_other_steps_are_exact_too(options):
    check(asked_for("llama", "lora", layers=6, **options), (6,))


def test_three_layers_are_themselves():
    trace = three_layers(workload_of())
    assert live_bytes_at_depth(trace, (BUILT_LAYERS,)).curves.tolist() == group_curves(trace).tolist()


def test_a_layer_more_is_what_is_counted_by_hand():
    """Tuned in full in float32 with checkpointing: gradients of a layer, and its input until the backward pass."""
    trace = three_layers(workload_of("llama", "full", precision="fp32", gradient_checkpointing=True))
    curves = [live_bytes_at_depth(trace, (depth,)).curves for depth in (20, 21, 22)]
    # Queries, outputs; keys, values; three of the feed-forward part; two norms.
    parameters = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    gradients = [one[2].max() for one in curves]
    assert gradients[1] - gradients[0] == gradients[2] - gradients[1] == 4 * parameters
    inputs = 4 * 3 * 24 * 64
    before_backward = trace.forward_ends - trace.step_begins - 1
    kept = [one[0, before_backward] for one in curves]
    assert kept[1] - kept[0] == kept[2] - kept[1] == inputs


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
    asked = asked_for("llama", peft_config=config, layers=6)
    short, full = live_bytes_at_depth(three_layers(asked), (6,)).curves, group_curves(in_full(asked))
    assert short[2].max() < full[2].max()
