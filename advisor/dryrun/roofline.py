"""Time of a training step on a GPU, operator by operator.

Two clocks run: the host's, which dispatches one operator after the other, and the device's, which works them off in
order and waits for the host where its queue is empty. Where the host reads a result it waits for the device. The rates
and constants are those of `feasibility.step_time`, which knows a coarser form of the same for stored totals. What an
optimizer does in its first step alone, making its state, is left out.

Not covered: what `feasibility.step_time` does not cover; several streams.
"""

from collections.abc import Iterable, Sequence

from advisor.catalog.gpus import Gpu
from advisor.dryrun.operators import OperatorCost
from advisor.feasibility.step_time import (
    CONSTANTS,
    INT8_SPEEDUP,
    NARROW_FLOPS_PER_BYTE,
    OperatorTotals,
    RooflineConstants,
    StepTime,
    bytes_per_s,
    flops_per_s,
)

# An operator with the phase it runs in: "forward", "backward", "clip" or "optimizer".
PhasedCost = tuple[str, OperatorCost]
# Optimizers begin with moments of zeros and make none later.
_STATE_MAKERS = ("zeros_like", "zeros")
_HALF_KINDS = ("bf16", "fp16", "int8")


def step_time(
    costs: Sequence[PhasedCost], gpu: Gpu, *, accumulation: int = 1, constants: RooflineConstants = CONSTANTS
) -> float:
    """Return the seconds of one optimizer step; see `simulate`."""
    return simulate(costs, gpu, accumulation=accumulation, constants=constants).step_time_s


def simulate(
    costs: Sequence[PhasedCost], gpu: Gpu, *, accumulation: int = 1, constants: RooflineConstants = CONSTANTS
) -> StepTime:
    """Run both clocks over the operators of a step.

    Args:
        costs: In the order of dispatch; of one pass, or of two when gradients are accumulated (the second begins where
            a forward operator follows a backward one).
        gpu: The device.
        accumulation: Passes per optimizer step; the second pass stands for all after it.
        constants: What is achieved of the GPU's peak.

    Raises:
        InputError: The catalogue lacks a figure of the GPU.
    """
    clocks = _Clocks(gpu, constants)
    starts, update = [0, *_later_passes(costs)], _update_begins(costs)
    clocks.run(costs[:update])
    for _ in range(accumulation - len(starts)):
        clocks.run(costs[starts[-1] : update])
    clocks.run(costs[update:])
    return StepTime(step_time_s=max(clocks.host_s, clocks.device_s), device_s=clocks.busy_s, host_s=clocks.calls_s)


def totals_of(costs: Sequence[PhasedCost], factors: Sequence[tuple[int, int]] = ((0, 1),)) -> dict[str, float]:
    """Add up the operators of a step with one pass, by the names of `OperatorTotals`.

    Args:
        costs: In the order of dispatch.
        factors: `(index of the first operator, times)` of each stretch, in order: layers that stand for several.
    """
    totals = dict.fromkeys(OperatorTotals().as_mapping(), 0.0)
    ends = [first for first, _ in factors[1:]] + [len(costs)]
    for (first, times), end in zip(factors, ends, strict=True):
        for phase, operator in costs[first:end]:
            if not _in_first_step_only(phase, operator):
                for name, value in _counted(phase, operator):
                    totals[name] += times * value
    return totals


class _Clocks:
    """The host's and the device's clock, in seconds since the step began.

    Attributes:
        host_s: When the host has dispatched all so far.
        device_s: When the device has done all so far.
        calls_s: Time that the host spent on dispatching.
        busy_s: Time that the device spent on work.
    """

    def __init__(self, gpu: Gpu, constants: RooflineConstants) -> None:
        self.host_s = self.device_s = self.calls_s = self.busy_s = 0.0
        self._gpu, self._constants = gpu, constants
        self._bytes_per_s = bytes_per_s(gpu, constants)
        self._flops_per_s: dict[str, float] = {}
        self._dispatch_s = {
            "forward": constants.forward_dispatch_s, "backward": constants.backward_dispatch_s,
        }  # fmt: skip

    def run(self, costs: Iterable[PhasedCost]) -> None:
        """Dispatch operators and work them off."""
        constants = self._constants
        for phase, operator in costs:
            if _in_first_step_only(phase, operator):
                continue
            call_s = self._dispatch_s.get(phase, constants.update_dispatch_s)
            call_s += (operator.launches - 1) * constants.launch_s + operator.list_tensors * constants.list_tensor_s
            self.calls_s += call_s
            self.host_s += call_s
            work_s = self._work_s(operator)
            self.busy_s += work_s
            self.device_s = max(self.device_s, self.host_s) + work_s
            if operator.synchronizes:
                self.host_s = self.device_s

    def _work_s(self, operator: OperatorCost) -> float:
        work_s = (operator.read_bytes + operator.written_bytes) / self._bytes_per_s
        work_s += operator.launches * self._constants.kernel_s
        if operator.flops:
            rate = self._flops_per_s.get(operator.kind)
            if rate is None:
                rate = self._flops_per_s[operator.kind] = flops_per_s(self._gpu, operator.kind, self._constants)
            return max(work_s, operator.flops / rate) + self._constants.matmul_s
        if operator.transferred_bytes:
            work_s += operator.transferred_bytes / self._constants.transfer_bytes_per_s
        return work_s


def _in_first_step_only(phase: str, operator: OperatorCost) -> bool:
    return phase == "optimizer" and operator.name in _STATE_MAKERS


def _later_passes(costs: Sequence[PhasedCost]) -> list[int]:
    return [
        index for index in range(1, len(costs)) if costs[index][0] == "forward" and costs[index - 1][0] == "backward"
    ]  # fmt: skip


def _update_begins(costs: Sequence[PhasedCost]) -> int:
    return next((index for index, (phase, _) in enumerate(costs) if phase in ("clip", "optimizer")), len(costs))


def _counted(phase: str, operator: OperatorCost) -> Iterable[tuple[str, float]]:
    nbytes = operator.read_bytes + operator.written_bytes
    if phase not in ("forward", "backward"):
        return (
            ("update_bytes", nbytes), ("update_launches", operator.launches), ("update_dispatches", 1),
            ("update_tensors", operator.list_tensors),
        )  # fmt: skip
    general = ((f"{phase}_dispatches", 1), ("launches", operator.launches))
    if not operator.flops:
        return *general, ("memory_bytes", nbytes), ("transferred_bytes", operator.transferred_bytes)
    group = "half" if operator.kind in _HALF_KINDS else "fp32"
    flops = operator.flops / INT8_SPEEDUP if operator.kind == "int8" else operator.flops
    if group == "half" and flops < NARROW_FLOPS_PER_BYTE * nbytes:
        return *general, ("memory_bytes", nbytes), ("matmuls", 1)
    return (
        *general, ("matmuls", 1), (f"{group}_flops", flops), (f"{group}_bytes", nbytes),
        ("forward_flops", flops if phase == "forward" else 0),
    )  # fmt: skip
