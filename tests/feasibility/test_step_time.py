"""Time, energy and price of a step from totals: hand-computed on a device with round figures."""

from dataclasses import replace

import pytest

from advisor.catalog.gpus import Gpu, find_gpu
from advisor.errors import InputError
from advisor.feasibility.step_time import (
    OperatorTotals,
    RooflineConstants,
    StepTime,
    bytes_per_s,
    energy_upper_bound_wh,
    flops_per_s,
    price,
    time_of_totals,
    tokens_per_s,
)

# 200 Tflop/s in 16 bits, 10 in float32, 1000 GB/s; half of each is achieved.
DEVICE = Gpu(
    name="Round", aliases=(), vram_gb=24, vram_usable_gib=None, supports_bf16=True, vendor="nvidia",
    memory_bandwidth_gb_s=1000, bf16_tflops_dense=200, fp16_tflops_dense=200, fp32_tflops=10, tdp_w=360,
)  # fmt: skip
HALF = RooflineConstants(
    half_efficiency=0.5, fp32_efficiency=0.5, bandwidth_efficiency=0.5, kernel_s=0.0, matmul_s=0.0,
    forward_dispatch_s=0.0, backward_dispatch_s=0.0, update_dispatch_s=0.0, list_tensor_s=0.0, launch_s=0.0,
    transfer_bytes_per_s=10e9,
)  # fmt: skip


def step_s(totals: OperatorTotals, constants: RooflineConstants = HALF, **options: int) -> float:
    return time_of_totals(totals, DEVICE, "bf16", constants=constants, **options).step_time_s


def test_large_products_take_their_operations():
    assert step_s(OperatorTotals(half_flops=1e12, half_bytes=1e9)) == pytest.approx(10e-3)


def test_products_with_little_to_compute_take_their_bytes():
    assert step_s(OperatorTotals(half_flops=1e10, half_bytes=1e9)) == pytest.approx(2e-3)


def test_float32_products_run_at_the_rate_without_tf32():
    assert step_s(OperatorTotals(fp32_flops=1e10, fp32_bytes=1e6)) == pytest.approx(2e-3)


def test_all_parts_of_the_device_time_add_up():
    constants = replace(HALF, kernel_s=1e-6, matmul_s=10e-6)
    totals = OperatorTotals(
        half_flops=1e12, half_bytes=1e6, memory_bytes=5e8, transferred_bytes=1e7, matmuls=100, launches=300,
        update_bytes=5e7, update_launches=20,
    )  # fmt: skip
    parts_ms = 10 + 1 + 1 + 1 + 0.3 + 0.1 + 0.02
    assert step_s(totals, constants) == pytest.approx(parts_ms * 1e-3)


def test_a_small_step_takes_as_long_as_the_host_needs_to_dispatch_it():
    constants = replace(
        HALF, forward_dispatch_s=30e-6, backward_dispatch_s=10e-6, update_dispatch_s=20e-6, list_tensor_s=1e-6,
        launch_s=5e-6,
    )  # fmt: skip
    totals = OperatorTotals(
        half_flops=1e9, forward_dispatches=1000, backward_dispatches=2000, update_dispatches=10, update_launches=14,
        update_tensors=400,
    )  # fmt: skip
    found = time_of_totals(totals, DEVICE, "bf16", constants=constants)
    assert found.host_s == pytest.approx(30e-3 + 20e-3 + 0.2e-3 + 0.4e-3 + 0.02e-3)
    assert found.step_time_s == pytest.approx(found.host_s)
    assert found.is_host_bound


def test_the_backward_pass_cannot_begin_before_the_forward_pass_is_dispatched():
    """Forward: 30 ms of dispatching hides 10 ms of work; backward: 20 ms of work hide 2 ms of dispatching."""
    constants = replace(HALF, forward_dispatch_s=30e-6, backward_dispatch_s=2e-6)
    totals = OperatorTotals(
        half_flops=3e12, half_bytes=1, forward_flops=1e12, forward_dispatches=1000, backward_dispatches=1000
    )
    assert step_s(totals, constants) == pytest.approx(50e-3)


def test_gradient_accumulation_repeats_the_passes_and_not_the_update():
    totals = OperatorTotals(half_flops=1e12, half_bytes=1e6, update_bytes=1e9)
    assert step_s(totals, accumulation=4) == pytest.approx(4 * 10e-3 + 2e-3)


def test_the_device_that_is_twice_as_fast_halves_a_step_bound_by_it():
    totals = OperatorTotals(half_flops=1e12, half_bytes=1e6, memory_bytes=1e9)
    faster = replace(DEVICE, bf16_tflops_dense=400, memory_bandwidth_gb_s=2000)
    found = time_of_totals(totals, faster, "bf16", constants=HALF).step_time_s
    assert found == pytest.approx(step_s(totals) / 2)


@pytest.mark.parametrize(
    ("kind", "expected"), [("bf16", 100e12), ("fp16", 100e12), ("fp32", 5e12), ("int8", 200e12)]
)  # fmt: skip
def test_the_achieved_rate_is_a_share_of_the_peak(kind, expected):
    assert flops_per_s(DEVICE, kind, HALF) == pytest.approx(expected)


def test_a_gpu_without_bfloat16_says_what_it_can_do_instead():
    with pytest.raises(InputError, match=r"Tesla T4.*bf16.*known for it: fp16, fp32"):
        flops_per_s(find_gpu("T4"), "bf16")


def test_a_gpu_without_bandwidth_is_named():
    with pytest.raises(InputError, match=r"Round.*bandwidth"):
        bytes_per_s(replace(DEVICE, memory_bandwidth_gb_s=None))


def test_arithmetic_that_a_step_does_not_use_need_not_be_known():
    only_half = replace(DEVICE, fp32_tflops=None)
    assert time_of_totals(OperatorTotals(half_flops=1e12), only_half, "bf16").step_time_s > 0
    with pytest.raises(InputError, match="fp32"):
        time_of_totals(OperatorTotals(fp32_flops=1e12), only_half, "bf16")


def test_energy_is_bounded_by_the_power_limit():
    assert energy_upper_bound_wh(DEVICE, 10.0) == pytest.approx(1.0)  # 360 W for 10 s are 3600 J
    with pytest.raises(InputError, match=r"GH200.*power"):
        energy_upper_bound_wh(find_gpu("GH200"), 10.0)


def test_price_and_throughput_follow_from_the_time():
    assert price(1800.0, 2.4) == pytest.approx(1.2)
    assert tokens_per_s(840, 0.12) == pytest.approx(7000)


def test_totals_survive_the_way_into_a_mapping_and_back():
    totals = OperatorTotals(half_flops=1.0, update_tensors=2.0)
    assert OperatorTotals(**totals.as_mapping()) == totals


def test_the_device_bound_step_says_so():
    assert not StepTime(step_time_s=0.2, device_s=0.19, host_s=0.1).is_host_bound
