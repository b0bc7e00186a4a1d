"""From the trace of a step to the peaks of a training run, allocated and reserved, with what they consist of.

The trace of the first step is followed by that of the second: the same allocations again, without the optimizer's
state, which exists by then. Where the loop keeps the outputs of one step until it has those of the next, the logits
of both exist for a moment: hardly more is alive, but the allocator must find room for it.

The allocated peak is where most bytes are alive; the reserved peak is what the caching allocator has asked of the
device by the end, when the whole trace is replayed through it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from advisor.dryrun.allocator import replay
from advisor.dryrun.step import StepTrace
from advisor.dryrun.tracker import Category

Event = tuple[int, int]

# Of these a pack of K adapters has K, whatever the batch.
_PER_ADAPTER: frozenset[Category] = frozenset({"adapter", "gradients", "optimizer", "paged"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPeaks:
    """Peak memory of training, without the device context.

    Attributes:
        requested_bytes: Most bytes alive at once, as asked for.
        allocated_bytes: The same as rounded by the allocator, as `torch.cuda.max_memory_allocated` counts them.
        reserved_bytes: What the caching allocator held, as `torch.cuda.max_memory_reserved` counts it.
        breakdown: Bytes alive at the allocated peak by category; they add up to `allocated_bytes`.
        paged_bytes: Optimizer state in pageable memory, which counts in neither peak.
    """

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    breakdown: dict[Category, int]
    paged_bytes: int = 0


def peaks_of(trace: StepTrace, *, pack_size: int = 1, workspace_bytes: int = 0) -> TrainingPeaks:
    """Return the peaks of a training run of several steps.

    Args:
        trace: Of one step.
        pack_size: Adapters trained side by side: their weights, gradients and optimizer state count that often.
        workspace_bytes: Memory that libraries take through the allocator at the first use and keep (cuBLAS).
    """
    events = list(two_steps(trace, pack_size))
    paged = sum(block.nbytes for block in trace.blocks if block.category == "paged") * pack_size
    start: list[Event] = [(-1, workspace_bytes)] if workspace_bytes else []
    found = replay([*start, *events])
    breakdown, at_peak = _breakdown(trace, events, pack_size)
    if workspace_bytes:
        breakdown["workspace"] = breakdown.get("workspace", 0) + workspace_bytes
    breakdown["workspace"] = breakdown.get("workspace", 0) + found.allocated_bytes - at_peak - workspace_bytes
    return TrainingPeaks(
        requested_bytes=found.requested_bytes,
        allocated_bytes=found.allocated_bytes, reserved_bytes=found.reserved_bytes, breakdown=breakdown,
        paged_bytes=paged,
    )  # fmt: skip


def two_steps(trace: StepTrace, pack_size: int = 1) -> Iterator[Event]:
    """Yield the events of loading, the first step and the second; paged state is left out.

    What the loop holds on to at the end of the first step goes when the second forward pass has returned.
    """
    count = len(trace.blocks)
    sizes = [block.nbytes * (pack_size if block.category in _PER_ADAPTER else 1) for block in trace.blocks]
    paged = {block.number for block in trace.blocks if block.category == "paged"}
    once = paged | {block.number for block in trace.blocks if block.category == "optimizer"}
    for number, nbytes in trace.events[: trace.step_ends]:
        if number not in paged:
            yield number, sizes[number] if nbytes else 0
    for index in range(trace.step_begins, trace.step_ends):
        if index == trace.forward_ends:
            yield from trace.events[trace.step_ends :]
        number, nbytes = trace.events[index]
        if number not in once and number >= trace.resident:
            yield number + count, sizes[number] if nbytes else 0


def live_bytes(events: Iterable[Event]) -> list[int]:
    """Return how many bytes are alive after each event, unrounded."""
    alive, sizes, curve = 0, dict[int, int](), list[int]()
    for number, nbytes in events:
        if nbytes:
            sizes[number] = nbytes
            alive += nbytes
        else:
            alive -= sizes.pop(number, 0)
        curve.append(alive)
    return curve


def _breakdown(trace: StepTrace, events: list[Event], pack_size: int) -> tuple[dict[Category, int], int]:
    curve = live_bytes(events)
    top = max(range(len(curve)), key=curve.__getitem__)
    alive: dict[int, int] = {}
    for number, nbytes in events[: top + 1]:
        if nbytes:
            alive[number] = nbytes
        else:
            alive.pop(number, None)
    breakdown: dict[Category, int] = {}
    for number, nbytes in alive.items():
        category = trace.blocks[number % len(trace.blocks)].category
        breakdown[category] = breakdown.get(category, 0) + nbytes
    return breakdown, curve[top]
