"""Constants of a device from measured steps: cuBLAS's workspace, and what the roofline takes as achieved."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import mean, median

from scipy.optimize import minimize

from advisor.feasibility.step_time import CONSTANTS, RooflineConstants, StepTime
from studies.step_accuracy.dry_runs import DryRun

Sample = tuple[DryRun, Mapping[str, float | None]]

LEAST_CASES = 5
DEVICE = ("half_efficiency", "fp32_efficiency", "bandwidth_efficiency", "kernel_s", "matmul_s")
HOST = ("forward_dispatch_s", "backward_dispatch_s", "update_dispatch_s", "list_tensor_s", "launch_s")
_PULL = 1e-3  # towards the old constants, of no weight where cases speak
_NOTICED = 1e-4  # change of the error by which a constant is taken to matter
_MOST_EVALUATIONS = 400


def fitted_workspace_bytes(samples: Sequence[Sample]) -> int:
    """Return the median of what was allocated beyond the dry run's bytes: memory that libraries take and keep."""
    beyond = []
    for dry, measured in samples:
        allocated, estimated = measured["allocated_bytes"], dry.with_(0, CONSTANTS)["allocated_bytes"]
        if allocated is not None and estimated is not None:
            beyond.append(allocated - estimated)
    return max(0, int(median(beyond))) if beyond else 0


def fitted_constants(samples: Sequence[Sample], start: RooflineConstants = CONSTANTS) -> RooflineConstants:
    """Return the constants with the least mean absolute error (of logarithms); what no case depends on stays.

    The device's are fitted to the time of kernels where enough cases have it; then the host's to the time of steps.

    Args:
        samples: Dry runs of training steps with what was measured.
        start: Where to begin.
    """
    profiled = [(dry, measured["kernel_s"]) for dry, measured in samples if measured.get("kernel_s")]
    timed = [(dry, measured["step_s"]) for dry, measured in samples if measured.get("step_s")]
    if len(profiled) < LEAST_CASES:
        return _fit(start, DEVICE + HOST, lambda constants: _error(timed, constants, _step))
    device = _fit(start, DEVICE, lambda constants: _error(profiled, constants, _kernels))
    return _fit(device, HOST, lambda constants: _error(timed, constants, _step))


def _step(time: StepTime) -> float:
    return time.step_time_s


def _kernels(time: StepTime) -> float:
    return time.device_s


def _error(
    samples: Sequence[tuple[DryRun, float | None]], constants: RooflineConstants, of: Callable[[StepTime], float]
) -> float:
    return mean(abs(math.log(of(dry.time(constants)) / (measured or math.nan))) for dry, measured in samples)


def _fit(
    start: RooflineConstants, names: Sequence[str], error: Callable[[RooflineConstants], float]
) -> RooflineConstants:
    """Move those of the constants that matter to the cases, as logarithms; efficiencies stay below one."""
    values = asdict(start)
    at_start = error(start)
    names = [name for name in names if abs(error(replace(start, **{name: values[name] / 2})) - at_start) > _NOTICED]
    if not names:
        return start

    def moved(logarithms: Sequence[float]) -> RooflineConstants:
        changed = {name: values[name] * math.exp(shift) for name, shift in zip(names, logarithms, strict=True)}
        return replace(start, **{
            name: min(1.0, value) if name.endswith("_efficiency") else value for name, value in changed.items()
        })  # fmt: skip

    def objective(logarithms: Sequence[float]) -> float:
        return error(moved(logarithms)) + _PULL * mean(abs(shift) for shift in logarithms)

    first = [0.0] * len(names)
    simplex = [first, *([0.3 if row == column else 0.0 for column in range(len(names))] for row in range(len(names)))]
    options = {"maxfev": _MOST_EVALUATIONS, "xatol": 1e-3, "fatol": 1e-4, "initial_simplex": simplex}
    return moved(minimize(objective, first, method="Nelder-Mead", options=options).x)
