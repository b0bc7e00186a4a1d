"""Time, energy and price of a training step from what its operators compute and move.

A roofline: matrix products take their operations at an achieved share of the device's peak rate, or their bytes at an
achieved share of its bandwidth, whichever is more; every other operator takes its bytes; each kernel takes a constant
on top. The host dispatches operators one after the other and does not wait for the device, so a step takes as long as
the slower of the two, within each pass.

The constants were fitted on published runs on one GPU (see `CONSTANTS`); datasheet figures carry them over to others.

Not covered: several devices, what other programs do to the host, reading and tokenizing data, power capping below the
datasheet's clocks, `torch.compile`, TF32 for float32 products (off by default in PyTorch).
"""

from dataclasses import dataclass, fields

from advisor.catalog.gpus import Gpu
from advisor.errors import InputError
from advisor.spec import Precision

JOULES_PER_WH = 3600.0
# Operations per byte below which 16-bit products are counted by their bytes: those with an adapter's rank as a side.
# Datasheets of GPUs balance at 100 to 400.
NARROW_FLOPS_PER_BYTE = 32.0
INT8_SPEEDUP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineConstants:
    """What is achieved of datasheet figures, and what each operator costs beside its work.

    Attributes:
        half_efficiency: Share of the peak rate that large 16-bit matrix products reach.
        fp32_efficiency: The same in float32, without TF32.
        bandwidth_efficiency: Share of the memory bandwidth, when every operand is counted once; small tensors that
            stay in the cache push it up.
        kernel_s: Device time of a kernel beside its work.
        matmul_s: Further device time of a matrix product: filling and draining the device, which small ones never
            fill.
        forward_dispatch_s: Host time of an operator called from Python, with its share of views and modules.
        backward_dispatch_s: The same of one that autograd calls.
        update_dispatch_s: The same of clipping and optimizer.
        list_tensor_s: Host time of each tensor in an operator on lists of tensors, with its share of the Python loops
            of clipping and optimizer.
        launch_s: Host time of each kernel after an operator's first.
        transfer_bytes_per_s: Copies between device and ordinary (not pinned) host memory.
    """

    half_efficiency: float
    fp32_efficiency: float
    bandwidth_efficiency: float
    kernel_s: float
    matmul_s: float
    forward_dispatch_s: float
    backward_dispatch_s: float
    update_dispatch_s: float
    list_tensor_s: float
    launch_s: float
    transfer_bytes_per_s: float


# Fitted on 36 of the 37 runs of knowledge/peft_method_comparison.csv: Llama-3.2-3B in bfloat16 on an L40S, four
# examples padded to 215 tokens, steps of 105 to 663 ms. LoRA-FA is left out, since its own optimizer is not dry-run.
# Mean absolute error of the step time 4.0 %; of methods that the fit did not see 6.0 %; of one half of the runs by the
# other 6.1 %. `kernel_s`, `update_dispatch_s` and `launch_s` have no weight there and are assumed. The runs tell the
# sum of products and memory traffic better than either: half_efficiency of 0.60 to 0.80 with bandwidth_efficiency of
# 1.07 to 0.80 fits nearly as well; list_tensor_s rests on the one run with thousands of parameter tensors (AdaMSS).
CONSTANTS = RooflineConstants(
    half_efficiency=0.72, fp32_efficiency=0.55, bandwidth_efficiency=0.88, kernel_s=1e-6, matmul_s=14e-6,
    forward_dispatch_s=29e-6, backward_dispatch_s=15e-6, update_dispatch_s=30e-6, list_tensor_s=4.5e-6, launch_s=4e-6,
    transfer_bytes_per_s=10e9,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTotals:
    """The operators of a step by what limits them; linear in batch and length where the operators stay the same.

    A pass is one forward and backward pass; the update is clipping and optimizer.

    Attributes:
        half_flops: Operations of 16-bit products in a pass, without the narrow ones; those in int8 count half.
        half_bytes: Bytes of the same.
        fp32_flops: Operations of float32 products in a pass (and of all kinds without a rate of their own).
        fp32_bytes: Bytes of the same.
        forward_flops: Part of both in the forward pass.
        memory_bytes: Bytes of all other operators in a pass.
        transferred_bytes: Bytes between host and device in a pass.
        matmuls: Matrix products, attention and convolutions in a pass.
        launches: Kernels in a pass.
        forward_dispatches: Operators of the forward pass.
        backward_dispatches: Operators of the backward pass.
        update_bytes: Bytes of the update.
        update_launches: Kernels of the update.
        update_dispatches: Operators of the update.
        update_tensors: Tensors in its operators on lists, added up.
    """

    half_flops: float = 0.0
    half_bytes: float = 0.0
    fp32_flops: float = 0.0
    fp32_bytes: float = 0.0
    forward_flops: float = 0.0
    memory_bytes: float = 0.0
    transferred_bytes: float = 0.0
    matmuls: float = 0.0
    launches: float = 0.0
    forward_dispatches: float = 0.0
    backward_dispatches: float = 0.0
    update_bytes: float = 0.0
    update_launches: float = 0.0
    update_dispatches: float = 0.0
    update_tensors: float = 0.0

    def as_mapping(self) -> dict[str, float]:
        """Return the totals by name; `OperatorTotals(**mapping)` is the way back."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Estimated time of one optimizer step, and what its parts would take alone.

    Attributes:
        step_time_s: Of the whole step.
        device_s: Of all kernels, one after the other.
        host_s: Of dispatching all operators.
    """

    step_time_s: float
    device_s: float
    host_s: float

    @property
    def is_host_bound(self) -> bool:
        """Does the device mostly wait? Then a larger batch is nearly free."""
        return self.host_s > self.device_s


def flops_per_s(gpu: Gpu, kind: str, constants: RooflineConstants = CONSTANTS) -> float:
    """Return the rate that matrix products of a kind of arithmetic reach.

    Args:
        gpu: The device.
        kind: "bf16", "fp16", "fp32" or "int8" (twice the rate of float16 on devices with matrix units for it).
        constants: What is achieved.

    Raises:
        InputError: The catalogue has no figure.
    """
    if kind == "int8":
        return INT8_SPEEDUP * flops_per_s(gpu, "fp16", constants)
    peak = dict(_rates(gpu)).get(kind)
    if not peak:
        known = [name for name, rate in _rates(gpu) if rate]
        advice = f"known for it: {', '.join(known)}" if known else "no arithmetic rate is known for it"
        raise InputError(f"GPU {gpu.name}: time cannot be estimated, its rate in {kind} is not known; {advice}")
    return peak * 1e12 * (constants.fp32_efficiency if kind == "fp32" else constants.half_efficiency)


def bytes_per_s(gpu: Gpu, constants: RooflineConstants = CONSTANTS) -> float:
    """Return the rate at which kernels read and write.

    Raises:
        InputError: The catalogue has no bandwidth.
    """
    if not gpu.memory_bandwidth_gb_s:
        raise InputError(f"GPU {gpu.name}: time cannot be estimated, its memory bandwidth is not known; name another")
    return gpu.memory_bandwidth_gb_s * 1e9 * constants.bandwidth_efficiency


def time_of_totals(
    totals: OperatorTotals,
    gpu: Gpu,
    precision: Precision,
    *,
    accumulation: int = 1,
    constants: RooflineConstants = CONSTANTS,
) -> StepTime:
    """Return the time of a step from its totals.

    Device time is that of `dryrun.roofline` up to the products that are limited otherwise than their group; overlap of
    host and device is looked at for forward pass, backward pass and update as wholes. On the dry runs of the published
    configurations the result is within 2 to 5 % of the simulation on average (L4, L40S, RTX 4090, A100, H100); 17 to
    23 % short where the host reads results in every layer (VB-LoRA, FRoD).

    Args:
        totals: Of one pass and one update.
        gpu: The device.
        precision: Of the 16-bit products; in "fp32" there are none.
        accumulation: Passes per update.
        constants: What is achieved.

    Raises:
        InputError: The catalogue lacks a figure of the GPU.
    """
    bandwidth = bytes_per_s(gpu, constants)
    half_s = _products_s(totals.half_flops, totals.half_bytes, gpu, precision, constants)
    fp32_s = _products_s(totals.fp32_flops, totals.fp32_bytes, gpu, "fp32", constants)
    device_s = half_s + fp32_s + totals.memory_bytes / bandwidth + totals.matmuls * constants.matmul_s
    device_s += totals.launches * constants.kernel_s + totals.transferred_bytes / constants.transfer_bytes_per_s
    share = totals.forward_flops / max(1.0, totals.half_flops + totals.fp32_flops)  # of the pass, too
    forward_host_s = totals.forward_dispatches * constants.forward_dispatch_s
    host_s = forward_host_s + totals.backward_dispatches * constants.backward_dispatch_s
    first_s = max(max(forward_host_s, share * device_s) + (1 - share) * device_s, host_s)
    update_device_s = totals.update_bytes / bandwidth + totals.update_launches * constants.kernel_s
    update_host_s = _update_host_s(totals, constants)
    passes_s, passes_host_s = first_s + (accumulation - 1) * max(device_s, host_s), accumulation * host_s
    return StepTime(
        step_time_s=max(passes_s + update_device_s, passes_host_s + update_host_s),
        device_s=accumulation * device_s + update_device_s,
        host_s=passes_host_s + update_host_s,
    )


def energy_upper_bound_wh(gpu: Gpu, duration_s: float) -> float:
    """Return the energy that the GPU cannot exceed: its power limit for that long, in watt-hours.

    Raises:
        InputError: The catalogue has no power limit.
    """
    if gpu.tdp_w is None:
        raise InputError(f"GPU {gpu.name}: energy cannot be bounded, its power limit is not known; name another")
    return gpu.tdp_w * duration_s / JOULES_PER_WH


def price(duration_s: float, price_per_hour: float) -> float:
    """Return what that long costs at a rent per hour, in its currency."""
    return duration_s / 3600.0 * price_per_hour


def tokens_per_s(tokens_per_step: int, step_time_s: float) -> float:
    """Return the throughput of steps of that many tokens, padding included."""
    return tokens_per_step / step_time_s


def _update_host_s(totals: OperatorTotals, constants: RooflineConstants) -> float:
    further_kernels = max(0.0, totals.update_launches - totals.update_dispatches)
    calls_s = totals.update_dispatches * constants.update_dispatch_s + further_kernels * constants.launch_s
    return calls_s + totals.update_tensors * constants.list_tensor_s


def _products_s(flops: float, nbytes: float, gpu: Gpu, kind: str, constants: RooflineConstants) -> float:
    if not flops:
        return 0.0
    return max(flops / flops_per_s(gpu, kind, constants), nbytes / bytes_per_s(gpu, constants))


def _rates(gpu: Gpu) -> tuple[tuple[str, float | None], ...]:
    return ("bf16", gpu.bf16_tflops_dense), ("fp16", gpu.fp16_tflops_dense), ("fp32", gpu.fp32_tflops)
