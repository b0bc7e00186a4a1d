"""Which layer an allocation belongs to, on models whose layers are counted by hand."""

from itertools import groupby, pairwise
from typing import Any

import pytest
import torch

from advisor.dryrun.regions import LayerTracker, stacks_of
from advisor.dryrun.step import StepTrace, build_model, run_model_step
from tests.dryrun.tiny_workloads import FAMILIES, workload_of

LAYERS = 3


def traced(family: str = "llama", method: str = "lora", **options: Any) -> StepTrace:
    asked = workload_of(family, method, layers=LAYERS, **options)
    return run_model_step(build_model(asked), asked, by_layer=True)


def order(trace: StepTrace, phase: str) -> list[Any]:
    """Places in the order in which they come, without repeats."""
    return [place for place, _ in groupby(region.place for region in trace.regions if region.phase == phase)]


def operators(trace: StepTrace, phase: str, place: Any) -> list[str]:
    """Names of the operators that belong to a place."""
    ends = [region.first_cost for region in trace.regions[1:]] + [len(trace.costs)]
    return [
        cost.name
        for region, end in zip(trace.regions, ends, strict=True)
        if (region.phase, region.place) == (phase, place)
        for _, cost in trace.costs[region.first_cost : end]
    ]


@pytest.mark.parametrize("family", ["llama", "roberta"])
def test_layers_come_in_order_and_go_in_reverse(family):
    trace = traced(family)
    assert order(trace, "forward") == [None, (0, 0), (0, 1), (0, 2), None]
    backward = order(trace, "backward")
    assert backward[:4] == [None, (0, 2), (0, 1), (0, 0)]
    assert set(order(trace, "clip")) | set(order(trace, "optimizer")) == {None}


def test_an_encoder_decoder_model_has_two_stacks():
    trace = traced("t5")
    encoder, decoder = [(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]
    assert [place for place in order(trace, "forward") if place] == encoder + decoder
    assert [place for place in order(trace, "backward") if place] == decoder[::-1] + encoder[::-1]
    # What is outside of the layers knows how many stacks the forward pass has left behind.
    outside = [region.after for region in trace.regions if region.phase == "forward" and region.place is None]
    assert sorted(set(outside)) == [0, 1, 2]


def test_layers_computed_anew_belong_to_themselves():
    trace = traced(gradient_checkpointing=True)
    assert [place for place in order(trace, "backward") if place] == [(0, 2), (0, 1), (0, 0)]
    # Seven linear layers, forward: base, and A and B of LoRA; attention's own products are in its kernel.
    assert operators(trace, "forward", (0, 1)).count("mm") == 7 * 3
    # Backward: forward once more but for the last product, whose result nobody waits for (early stopping of
    # `torch.utils.checkpoint`); gradients of A and B and of their inputs, and of the base's input.
    assert operators(trace, "backward", (0, 1)).count("mm") == 7 * 3 - 1 + 7 * (4 + 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_layers_of_a_stack_do_the_same(family, checkpointing):
    trace = traced(family, gradient_checkpointing=checkpointing)
    for stack in range(2 if family == "t5" else 1):
        for phase in ("forward", "backward"):
            middle, last = (operators(trace, phase, (stack, layer)) for layer in (1, 2))
            assert len(middle) > 20
            assert abs(len(middle) - len(last)) <= 2  # the last is where the sum of the residual stream begins


def test_regions_follow_each_other_without_gaps():
    trace = traced("t5", gradient_checkpointing=True)
    assert trace.regions[0].first_cost == 0
    for one, other in pairwise(trace.regions):
        assert one.first_event <= other.first_event
        assert one.first_cost <= other.first_cost
        assert (one.phase, one.place, one.after) != (other.phase, other.place, other.after)
    assert trace.regions[-1].first_event <= len(trace.events)


def test_a_trace_with_layers_is_the_trace_without():
    asked = workload_of("t5", layers=LAYERS)
    plain = run_model_step(build_model(asked), asked)
    layered = run_model_step(build_model(asked), asked, by_layer=True)
    assert layered.events == plain.events
    assert [(block.nbytes, block.category) for block in layered.blocks] == [
        (block.nbytes, block.category) for block in plain.blocks
    ]
    assert plain.regions == ()


class Nested(torch.nn.Module):
    """Two stacks of three, one of which has lists of three inside, and a list of another length."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.ModuleList(torch.nn.ModuleList(torch.nn.Identity() for _ in range(3)) for _ in range(3))
        self.heads = torch.nn.ModuleList(torch.nn.Identity() for _ in range(2))
        self.second = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))


def test_stacks_are_the_outermost_lists_of_that_many_modules():
    model = Nested()
    assert stacks_of(model, 3) == [list(model.first), list(model.second)]
    assert stacks_of(model, 2) == [list(model.heads)]
    assert stacks_of(model, 5) == []


def test_hooks_are_gone_afterwards():
    model = Nested()
    tracker = LayerTracker(model, 3)
    assert tracker.n_stacks == 2
    with tracker.hooks():
        assert len(model.second[0]._forward_pre_hooks) == 1
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())
