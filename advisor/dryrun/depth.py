"""From the trace of a three-layer model to a model of any depth.

All layers of a stack allocate alike, so with N instead of 3 layers the bytes alive at any moment grow linearly in N:
by what a layer keeps for the backward pass (`kept`) from the last layer's forward pass to its backward pass, and by
what a layer leaves behind (`left`, such as gradients) from the first layer's backward pass on. Within a layer in the
middle the maximum lies at the first or the last of them, so both are looked at. The result is exact where layers are
alike (tests/dryrun/test_depth.py compares with models built in full).

Not covered: stacks whose layers differ (sliding and full attention in turn, linear attention, mixtures that begin
with dense layers beyond the first), methods whose parameters outside the layers grow with the depth (prefix tuning),
gradients that wait from an earlier pass, and temporaries of optimizers other than the fused AdamW; those are run in
full.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from advisor.dryrun.step import StepTrace
from advisor.dryrun.tracker import Block, Category, Phase
from advisor.errors import AdvisorError

BUILT_LAYERS = 3
# Parts of the bytes alive that a closed form tells apart; the rest is "activations".
GROUPS: tuple[tuple[Category, ...], ...] = (
    ("inputs", "activations", "logits", "gradients", "workspace"), ("logits",), ("gradients",), ("workspace",)
)  # fmt: skip
Curves = npt.NDArray[np.float64]


class UnevenStackError(AdvisorError):
    """The stack's layers are not alike, so its depth cannot be extrapolated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBytes:
    """Bytes alive during one step beyond what is resident (weights, adapter, optimizer state).

    Attributes:
        curves: Rows: all, logits, gradients, workspace. Columns: moments of the step, in an order that does not
            depend on batch, length or rank.
    """

    curves: Curves


def live_bytes_at_depth(trace: StepTrace, depths: Sequence[int]) -> LiveBytes:
    """Extrapolate the bytes alive to the depth of each stack.

    Args:
        trace: Of a model with `BUILT_LAYERS` layers in each stack, with regions.
        depths: Number of layers of each stack, in the order of the forward pass.

    Raises:
        UnevenStackError: The trace does not show the expected layers.
    """
    curves = group_curves(trace)
    extra_first, extra_last = np.zeros_like(curves), np.zeros_like(curves)
    for stack, depth in enumerate(depths):
        first, last = _additions(trace, curves, stack)
        extra_first += (depth - BUILT_LAYERS) * first
        extra_last += (depth - BUILT_LAYERS) * last
    differs = np.any(extra_first != extra_last, axis=0)
    return LiveBytes(curves=np.concatenate([curves + extra_first, (curves + extra_last)[:, differs]], axis=1))


def group_curves(trace: StepTrace) -> Curves:
    """Return the bytes alive after each event of the step, one row per group of `GROUPS`."""
    events = trace.events[trace.step_begins :]
    deltas = np.zeros((len(GROUPS), len(events)))
    member = {name: [row for row, group in enumerate(GROUPS) if name in group] for name in get_args(Category)}
    for column, (number, nbytes) in enumerate(events):
        block = trace.blocks[number]
        signed = block.nbytes if nbytes else -block.nbytes
        for row in member.get(block.category, ()):
            deltas[row, column] = signed
    return np.cumsum(deltas, axis=1)


def _additions(trace: StepTrace, curves: Curves, stack: int) -> tuple[Curves, Curves]:
    """Return what one more layer of a stack adds to every column, for the first and the last layer in the middle."""
    forward, backward = _starts(trace, stack, "forward"), _starts(trace, stack, "backward")
    if len(forward) != BUILT_LAYERS or len(backward) != BUILT_LAYERS:
        raise UnevenStackError(f"stack {stack}: {len(forward)} layers forward, {len(backward)} backward")
    begins, ends = _phase_begins(trace, "backward"), _phase_begins(trace, "clip")
    kept = _before(curves, forward[2]) - _before(curves, forward[1])
    # Autocast's copies of weights go at the end of the forward pass, so less may be kept from there on. What dies
    # with the backward pass of this layer is no measure: it may be the last to use what all layers share.
    still_kept = _alive_of(trace, [(forward[1], forward[2])], begins)
    left = _alive_of(trace, [(forward[1], forward[2]), (backward[1], backward[0])], ends)
    first, last = np.zeros_like(curves), np.zeros_like(curves)
    first[:, forward[2] :] = last[:, forward[1] :] = kept
    first[:, begins:] = last[:, begins:] = still_kept
    last[:, backward[1] :] = left
    first[:, backward[0] :] = left
    return first, last


def _alive_of(trace: StepTrace, spans: Sequence[tuple[int, int]], column: int) -> Curves:
    """Return the bytes alive before a column of what was allocated in spans of columns."""
    alive: dict[int, Block] = {}
    for index, (number, nbytes) in enumerate(trace.events[trace.step_begins :][:column]):
        if not nbytes:
            alive.pop(number, None)
        elif any(first <= index < last for first, last in spans):
            alive[number] = trace.blocks[number]
    return np.array([[sum(one.nbytes for one in alive.values() if one.category in group)] for group in GROUPS], float)


def _starts(trace: StepTrace, stack: int, phase: str) -> dict[int, int]:
    """Return the first column of each layer's stretch in a phase."""
    starts: dict[int, int] = {}
    for region in trace.regions:
        if region.phase == phase and region.place is not None and region.place[0] == stack:
            starts.setdefault(region.place[1], max(0, region.first_event - trace.step_begins))
    return starts


def _phase_begins(trace: StepTrace, phase: Phase) -> int:
    return next(region.first_event for region in trace.regions if region.phase == phase) - trace.step_begins


def _before(curves: Curves, column: int) -> Curves:
    return curves[:, column - 1 : column] if column else np.zeros((len(curves), 1))


def costs_at_depth(trace: StepTrace, depths: Sequence[int]) -> list[tuple[int, int]]:
    """Return how often the operators of each stretch run, as (first cost index, times) in the order of the trace."""
    factors = []
    for region in trace.regions:
        middle = region.place is not None and region.place[1] == 1
        times = depths[region.place[0]] - BUILT_LAYERS + 1 if middle and region.place is not None else 1
        factors.append((region.first_cost, times))
    return factors
