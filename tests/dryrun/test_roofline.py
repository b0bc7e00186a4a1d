"""Time of sequences of operators: two clocks followed by hand, and published step times of PEFT's own comparison."""

import csv
from pathlib import Path

import pytest
from peft import get_peft_config

from advisor.catalog.gpus import Gpu, find_gpu
from advisor.dryrun.operators import OperatorCost
from advisor.dryrun.roofline import simulate, step_time, totals_of
from advisor.dryrun.step import run_step
from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from advisor.feasibility.step_time import OperatorTotals, RooflineConstants, time_of_totals
from advisor.modeling.meta import read_model_source
from tests.dryrun.method_configs import PUBLISHED

MS = 1e-3
# 1 GB of traffic takes 1 s, 1 Tflop 1 s; dispatching takes 10 ms forward, 1 ms backward, 5 ms in the update.
GPU = Gpu(
    name="Slow", aliases=(), vram_gb=24, vram_usable_gib=None, supports_bf16=True, vendor="nvidia",
    memory_bandwidth_gb_s=1, bf16_tflops_dense=1, fp32_tflops=0.5,
)  # fmt: skip
PLAIN = RooflineConstants(
    half_efficiency=1.0, fp32_efficiency=1.0, bandwidth_efficiency=1.0, kernel_s=0.0, matmul_s=0.0,
    forward_dispatch_s=10 * MS, backward_dispatch_s=1 * MS, update_dispatch_s=5 * MS, list_tensor_s=0.0,
    launch_s=2 * MS, transfer_bytes_per_s=1e8,
)  # fmt: skip


def mover(ms: float, *, launches: int = 1, waits: bool = False, name: str = "add") -> OperatorCost:
    """An operator whose bytes take that long."""
    return OperatorCost(name, 0, "bf16", int(ms * 1e6), 0, launches, waits)


def product(ms: float, kind: str = "bf16", nbytes: int = 0) -> OperatorCost:
    """An operator whose operations take that long in 16 bits."""
    return OperatorCost("mm", int(ms * 1e9), kind, nbytes, 0, 1)


def seconds(*costs: tuple[str, OperatorCost], accumulation: int = 1) -> float:
    return step_time(costs, GPU, accumulation=accumulation, constants=PLAIN)


def test_a_device_that_is_busy_hides_the_host():
    """Dispatched at 10, 20 and 30 ms; done at 60, 110 and 160."""
    assert seconds(*[("forward", mover(50))] * 3) == pytest.approx(160 * MS)


def test_a_device_that_is_idle_waits_for_the_host():
    """Dispatched at 10, 20 and 30 ms; done at 11, 21 and 31."""
    assert seconds(*[("forward", mover(1))] * 3) == pytest.approx(31 * MS)


def test_work_queued_in_the_backward_pass_does_not_make_up_for_a_forward_pass_that_waited():
    forward, backward = [("forward", mover(1))] * 5, [("backward", mover(4))] * 5
    # Done at 11, 21, 31, 41, 51; then dispatched faster than worked off: 55, 59, 63, 67, 71.
    assert seconds(*forward, *backward) == pytest.approx(71 * MS)


def test_the_host_waits_where_it_reads_a_result():
    """The second operator is dispatched 10 ms after the first is done at 110."""
    assert seconds(("forward", mover(100, waits=True)), ("forward", mover(5))) == pytest.approx(125 * MS)


def test_products_take_operations_or_bytes_whichever_is_longer():
    assert seconds(("forward", product(50, nbytes=20_000_000))) == pytest.approx(60 * MS)
    assert seconds(("forward", product(20, nbytes=50_000_000))) == pytest.approx(60 * MS)
    assert seconds(("forward", product(50, "fp32"))) == pytest.approx(110 * MS)


def test_further_kernels_and_transfers_take_their_time():
    assert seconds(("optimizer", mover(1, launches=4))) == pytest.approx((5 + 3 * 2 + 1) * MS)
    moved = OperatorCost("_to_copy", 0, "bf16", 0, 0, 1, True, 1_000_000)
    assert seconds(("forward", moved)) == pytest.approx((10 + 10) * MS)


def test_what_the_first_step_alone_does_is_left_out():
    state = ("optimizer", mover(1000, name="zeros_like"))
    update = ("optimizer", mover(1))
    assert seconds(state, update) == pytest.approx(seconds(update))
    assert totals_of([state, update]) == totals_of([update])


def test_device_and_host_time_are_told_apart():
    found = simulate([("forward", mover(1)), ("backward", mover(7))], GPU, constants=PLAIN)
    assert (found.device_s, found.host_s) == (pytest.approx(8 * MS), pytest.approx(11 * MS))


def test_further_passes_are_like_the_second():
    one = [("forward", mover(3)), ("backward", mover(20))]
    update = [("clip", mover(2)), ("optimizer", mover(2))]
    spelled_out = seconds(*one * 5, *update)
    assert seconds(*one * 2, *update, accumulation=5) == pytest.approx(spelled_out)
    assert seconds(*one * 2, *update, accumulation=2) == pytest.approx(seconds(*one * 2, *update))


def test_a_gpu_without_the_arithmetic_is_refused():
    with pytest.raises(InputError, match=r"Tesla T4.*bf16"):
        step_time([("forward", product(1))], find_gpu("T4"))
    with pytest.raises(InputError, match="fp64"):
        step_time([("forward", product(1, "fp64"))], GPU)


def test_totals_tell_apart_what_limits_operators():
    wide, narrow = product(1, nbytes=1000), product(1, nbytes=500_000_000)
    totals = OperatorTotals(**totals_of([
        ("forward", wide), ("forward", narrow), ("backward", wide), ("backward", product(2, "fp32", 77)),
        ("backward", mover(3, launches=2)), ("clip", mover(4)), ("optimizer", mover(5, launches=7)),
    ]))  # fmt: skip
    assert (totals.half_flops, totals.half_bytes) == (2e9, 2000)
    assert (totals.fp32_flops, totals.fp32_bytes, totals.forward_flops) == (2e9, 77, 1e9)
    assert (totals.memory_bytes, totals.update_bytes) == (503_000_000, 9_000_000)
    assert (totals.matmuls, totals.launches, totals.update_launches) == (4, 6, 8)
    assert (totals.forward_dispatches, totals.backward_dispatches, totals.update_dispatches) == (2, 3, 2)


def test_a_stretch_can_stand_for_several_layers():
    first, layer, last = ("forward", mover(1)), ("forward", product(1, nbytes=10)), ("backward", mover(2))
    folded = totals_of([first, layer, layer, last], [(0, 1), (1, 5), (3, 1)])
    assert folded == totals_of([first, *[layer] * 10, last])


def test_totals_give_the_time_of_the_simulation_where_the_device_is_busy():
    costs = [
        *[("forward", product(40, nbytes=1000)), ("forward", mover(30))] * 20,
        *[("backward", product(60, nbytes=1000)), ("backward", mover(20))] * 20,
        ("optimizer", mover(50)),
    ]
    coarse = time_of_totals(OperatorTotals(**totals_of(costs)), GPU, "bf16", constants=PLAIN)
    assert coarse.step_time_s == pytest.approx(step_time(costs, GPU, constants=PLAIN), rel=0.01)


_RUNS = (
    "lora/llama-3.2-3B-rank32", "lora/llama-3.2-3B-rank64", "ln_tuning/llama-3.2-3B-default",
    "ia3/llama-3.2-3B-default", "vera/llama-3.2-3B-default", "prefixtuning/llama-3.2-3B-lr_0.001",
    "prompt_tuning/llama-3.2-3B-default", "full-finetuning/llama-3.2-3B-lr_0.00001", "lora/llama-3.2-3B-rank32-dora",
    "miss/llama-3.2-3B-bat",
)  # fmt: skip
_TOKENS_PER_STEP = 4_198_051 / 5000  # the runs' `train_total_tokens` and steps


def published_step_times() -> dict[str, float]:
    file = Path(__file__).parents[2] / "knowledge" / "peft_method_comparison.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row["experiment"]: _TOKENS_PER_STEP / float(row["tokens_per_sec_mean"]) for row in rows}


@pytest.mark.slow
def test_published_steps_take_as_long_as_estimated():
    """Llama-3.2-3B on an L40S, operator by operator and by totals."""
    gpu, source, measured = find_gpu("L40S"), read_model_source("meta-llama/Llama-3.2-3B"), published_step_times()
    errors: dict[str, tuple[float, float]] = {}
    for name in _RUNS:
        settings = PUBLISHED.get(name)
        config = None if settings is None else get_peft_config(dict(settings))
        workload = Workload(source=source, head="causal-lm", peft_config=config, batch_size=4, seq_length=215)
        costs = run_step(workload).costs
        totals = OperatorTotals(**totals_of(costs))
        estimates = step_time(costs, gpu), time_of_totals(totals, gpu, "bf16").step_time_s
        errors[name] = estimates[0] / measured[name] - 1, estimates[1] / measured[name] - 1
    for found in zip(*errors.values(), strict=True):
        sizes = [abs(error) for error in found]
        assert sum(sizes) / len(sizes) < 0.06, errors
        assert max(sizes) < 0.14, errors
