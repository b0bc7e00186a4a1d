"""Peaks of a training run from the trace of one step: a trace written by hand, random ones, and real ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.dryrun.peaks import live_bytes, peaks_of, two_steps
from advisor.dryrun.step import StepTrace, run_step
from advisor.dryrun.tracker import Block, Category
from tests.dryrun.tiny_workloads import workload_of

MIB = 2**20
# Every block of 512 bytes or a multiple, so that rounding plays no part.
WEIGHTS, ADAPTER, ACTIVATION, LOGITS, GRADIENT, STATE, TEMPORARY = range(7)
SIZES = {
    WEIGHTS: ("weights", 512 * 100), ADAPTER: ("adapter", 512 * 4), ACTIVATION: ("activations", 512 * 40),
    LOGITS: ("logits", 512 * 30), GRADIENT: ("gradients", 512 * 4), STATE: ("optimizer", 512 * 8),
    TEMPORARY: ("workspace", 512 * 10),
}  # fmt: skip


def trace_of(blocks: list[tuple[Any, int]], events: list[tuple[int, int]], **places: int) -> StepTrace:
    return StepTrace(
        blocks=tuple(Block(number, nbytes, category) for number, (category, nbytes) in enumerate(blocks)),
        events=tuple(events), costs=(), trainable_params=1, total_params=2, **places,
    )  # fmt: skip


def by_hand(**changes: tuple[Category, int]) -> StepTrace:
    """Forward: activation, then logits. Backward: temporary, gradient. The loop holds the logits until the end."""
    blocks = [changes.get(category, (category, nbytes)) for category, nbytes in SIZES.values()]
    of = [nbytes for _, nbytes in blocks]
    events = [
        (WEIGHTS, of[WEIGHTS]), (ADAPTER, of[ADAPTER]),
        (ACTIVATION, of[ACTIVATION]), (LOGITS, of[LOGITS]),
        (TEMPORARY, of[TEMPORARY]), (GRADIENT, of[GRADIENT]), (ACTIVATION, 0), (TEMPORARY, 0),
        (STATE, of[STATE]), (GRADIENT, 0),
        (LOGITS, 0),
    ]  # fmt: skip
    return trace_of(blocks, events, resident=2, step_begins=2, forward_ends=4, step_ends=10)


def test_the_second_step_is_the_first_without_the_optimizer_s_state():
    first, second = [*two_steps(by_hand())][:10], [*two_steps(by_hand())][10:]
    assert first == list(by_hand().events[:10])
    assert second == [
        (ACTIVATION + 7, 512 * 40), (LOGITS + 7, 512 * 30),
        (LOGITS, 0),  # those of the first step go when the second forward pass has returned
        (TEMPORARY + 7, 512 * 10), (GRADIENT + 7, 512 * 4), (ACTIVATION + 7, 0), (TEMPORARY + 7, 0), (GRADIENT + 7, 0),
    ]  # fmt: skip


def test_the_peak_is_in_the_second_forward_pass_when_both_logits_are_alive():
    # Weights, adapter, state of the first step; activation; logits of both steps.
    blocks = 100 + 4 + 8 + 40 + 30 + 30
    peaks = peaks_of(by_hand())
    assert peaks.requested_bytes == peaks.allocated_bytes == 512 * blocks
    assert {category: nbytes // 512 for category, nbytes in peaks.breakdown.items() if nbytes} == {
        "weights": 100, "adapter": 4, "optimizer": 8, "activations": 40, "logits": 60
    }  # fmt: skip


def test_the_peak_is_in_the_second_backward_pass_when_the_temporary_is_large():
    peaks = peaks_of(by_hand(workspace=("workspace", 512 * 50)))
    assert peaks.requested_bytes == 512 * (100 + 4 + 8 + 40 + 30 + 50 + 4)
    assert peaks.breakdown["gradients"] == 512 * 4
    assert peaks.breakdown["workspace"] == 512 * 50


def test_a_pack_has_that_many_adapters_gradients_and_states():
    one, three = peaks_of(by_hand()), peaks_of(by_hand(), pack_size=3)
    assert three.requested_bytes - one.requested_bytes == 2 * 512 * (4 + 8)
    for category in ("adapter", "optimizer"):
        assert three.breakdown[category] == 3 * one.breakdown[category]
    for category in ("weights", "activations", "logits"):
        assert three.breakdown[category] == one.breakdown[category]
    large = by_hand(workspace=("workspace", 512 * 50))
    assert peaks_of(large, pack_size=3).breakdown["gradients"] == 3 * 512 * 4


def test_paged_state_counts_in_no_peak():
    trace = by_hand(optimizer=("paged", 512 * 8))
    paged = peaks_of(trace)
    assert paged.requested_bytes == peaks_of(by_hand()).requested_bytes - 512 * 8
    assert (paged.paged_bytes, peaks_of(trace, pack_size=3).paged_bytes) == (512 * 8, 3 * 512 * 8)
    assert "paged" not in paged.breakdown
    assert STATE not in [number for number, _ in two_steps(trace)]
    assert peaks_of(by_hand()).paged_bytes == 0


def test_the_workspace_of_libraries_is_there_from_the_beginning():
    plain, more = peaks_of(by_hand()), peaks_of(by_hand(), workspace_bytes=8 * MIB)
    assert more.allocated_bytes == plain.allocated_bytes + 8 * MIB
    assert more.breakdown["workspace"] == plain.breakdown["workspace"] + 8 * MIB
    assert more.reserved_bytes >= more.allocated_bytes


def test_live_bytes_follow_each_event():
    assert live_bytes([(0, 5), (1, 7), (0, 0), (9, 0), (2, 0), (1, 0)]) == [5, 12, 7, 7, 7, 0]


@st.composite
def traces(draw: st.DrawFn) -> StepTrace:
    """Any order of allocations and frees, as long as nothing is freed before it is there."""
    free_categories = ("activations", "logits", "workspace", "gradients", "inputs")
    blocks: list[tuple[str, int]] = [("weights", draw(st.integers(1, 4 * MIB))), ("adapter", draw(st.integers(1, MIB)))]
    events = [(number, nbytes) for number, (_, nbytes) in enumerate(blocks)]
    alive: list[int] = []
    for _ in range(draw(st.integers(1, 25))):
        if alive and draw(st.booleans()):
            events.append((alive.pop(draw(st.integers(0, len(alive) - 1))), 0))
            continue
        category = draw(st.sampled_from((*free_categories, "optimizer", "paged")))
        blocks.append((category, draw(st.integers(1, 30 * MIB))))
        events.append((len(blocks) - 1, blocks[-1][1]))
        if category not in ("optimizer", "paged"):
            alive.append(len(blocks) - 1)
    forward_ends, step_ends = draw(st.integers(2, len(events) - 1)), len(events)
    return trace_of(
        blocks, [*events, *((number, 0) for number in alive)],
        resident=2, step_begins=2, forward_ends=forward_ends, step_ends=step_ends,
    )  # fmt: skip


@given(trace=traces(), pack_size=st.integers(1, 4), workspace=st.sampled_from([0, 1000, 8 * MIB]))
def test_parts_add_up_to_what_is_allocated_and_reserved_holds_it(trace, pack_size, workspace):
    peaks = peaks_of(trace, pack_size=pack_size, workspace_bytes=workspace)
    assert sum(peaks.breakdown.values()) == peaks.allocated_bytes
    assert all(nbytes >= 0 for nbytes in peaks.breakdown.values())
    assert peaks.reserved_bytes >= peaks.allocated_bytes >= peaks.requested_bytes
    assert peaks.reserved_bytes % (2 * MIB) == 0
    events = [*two_steps(trace, pack_size)]
    assert peaks.requested_bytes == workspace + max(live_bytes(events))


@given(trace=traces())
def test_after_two_steps_weights_adapter_state_and_the_last_outputs_are_left(trace):
    freed = {number for number, nbytes in trace.events if not nbytes}
    kept = sum(block.nbytes for block in trace.blocks if block.number not in freed and block.category != "paged")
    outputs = sum(trace.blocks[number].nbytes for number, _ in trace.events[trace.step_ends :])
    assert live_bytes(two_steps(trace))[-1] == kept + outputs


@given(trace=traces())
def test_no_block_is_allocated_twice_or_freed_before(trace):
    alive, seen = set[int](), set[int]()
    for number, nbytes in two_steps(trace):
        if nbytes:
            assert number not in seen
            alive.add(number)
            seen.add(number)
        else:
            alive.remove(number)


@pytest.mark.parametrize(
    ("family", "method", "options"),
    [
        ("llama", "lora", {}), ("llama", "full", {"autocast": True}), ("roberta", "ia3", {}),
        ("t5", "lora", {"gradient_checkpointing": True}), ("llama", "lora", {"optimizer": "paged-adamw-32bit"}),
        ("llama", "lora", {"accumulation": 2}),
    ],
)  # fmt: skip
def test_peaks_of_real_steps_are_in_order_and_add_up(family, method, options):
    trace = run_step(workload_of(family, method, **options), with_costs=False)
    peaks = peaks_of(trace, workspace_bytes=8 * MIB)
    assert sum(peaks.breakdown.values()) == peaks.allocated_bytes
    assert peaks.reserved_bytes >= peaks.allocated_bytes >= peaks.requested_bytes
    weights = sum(block.nbytes for block in trace.blocks if block.category == "weights")
    assert peaks.breakdown["weights"] == weights


def test_a_pack_of_real_adapters_grows_by_adapter_gradients_and_state_alone():
    # The second optimizer state is what a second step adds to the first, so the peak is not in the first step.
    trace = run_step(workload_of("llama", optimizer="adamw-fused"), with_costs=False)
    adapter = sum(block.nbytes for block in trace.blocks if block.category == "adapter")
    grown = peaks_of(trace, pack_size=3).requested_bytes - peaks_of(trace).requested_bytes
    state = sum(block.nbytes for block in trace.blocks if block.category == "optimizer")
    assert 2 * (adapter + state) <= grown <= 2 * (adapter + state + adapter)
    assert state == pytest.approx(2 * adapter, rel=0.01)
