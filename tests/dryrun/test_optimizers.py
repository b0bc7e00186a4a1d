"""Optimizers on meta against the same optimizers on the CPU and against sums done by hand."""

import importlib.util
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch.optim import Optimizer, optimizer
from torch.utils import _foreach_utils

from advisor.dryrun.optimizers import OPTIMIZERS, build_optimizer, cuda_kernels_on_meta, paged_tensors
from advisor.errors import UnknownNameError
from advisor.spec import OptimizerName
from tests.storages import StorageWatch

# Below 4096 numbers, above, and above 100,000; a vector; one that is no multiple of 256.
SHAPES = [(8, 16), (64, 100), (33, 333), (400, 300), (5000,)]
NUMBERS = [128, 6400, 10989, 120_000, 5000]
FP32_BYTES = 4 * sum(NUMBERS)


def parameters(device: str = "meta", dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    made = [torch.nn.Parameter(torch.ones(shape, device=device, dtype=dtype)) for shape in SHAPES]
    for parameter in made:
        parameter.grad = torch.ones_like(parameter)
    return made


def state_bytes(owner: Optimizer) -> int:
    """Bytes of all state tensors but step counters, each storage once."""
    storages = {
        value.untyped_storage()._cdata: value.untyped_storage().nbytes()
        for state in owner.state.values()
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and name not in ("step", "RMS")
    }
    return sum(storages.values())


def step_on_meta(name: str, steps: int = 1, **options: float) -> Optimizer:
    built = build_optimizer(name, parameters(), **options)
    with cuda_kernels_on_meta():
        for _ in range(steps):
            built.step()
    return built


def watched_step(built: Optimizer) -> StorageWatch:
    """Watch a step after the first, when all state is there."""
    known = [parameter for group in built.param_groups for parameter in group["params"]]
    with cuda_kernels_on_meta():
        built.step()
        known += [parameter.grad for parameter in known]
        known += [value for state in built.state.values() for value in state.values() if torch.is_tensor(value)]
        with StorageWatch(known, scalars=False) as watch:
            built.step()
    return watch


class TestState:
    """What an optimizer keeps."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("adamw", 2 * FP32_BYTES),
            ("adamw-fused", 2 * FP32_BYTES),
            ("paged-adamw-32bit", 2 * FP32_BYTES),
            ("sgd", 0),
            ("sgd-momentum", FP32_BYTES),
            # One number a row and one a column; the vector in full.
            ("adafactor", 4 * (8 + 16 + 64 + 100 + 33 + 333 + 400 + 300 + 5000)),
            # Two moments of one byte each with 25 + 43 + 469 + 20 scales, the small one in float32, and two tables.
            ("adamw-8bit", 2 * (6400 + 10989 + 120_000 + 5000 + 4 * (25 + 43 + 469 + 20) + 4 * 128 + 4 * 256)),
            ("paged-adamw-8bit", 2 * (6400 + 10989 + 120_000 + 5000 + 4 * (25 + 43 + 469 + 20) + 4 * 128 + 4 * 256)),
        ],
    )
    def test_has_the_size_counted_by_hand_and_does_not_grow(self, name: str, expected: int) -> None:
        assert state_bytes(step_on_meta(name)) == expected
        assert state_bytes(step_on_meta(name, steps=3)) == expected

    @pytest.mark.parametrize(
        ("name", "real"),
        [
            ("adamw", lambda of: torch.optim.AdamW(of)),
            ("adamw-fused", lambda of: torch.optim.AdamW(of, fused=True)),
            ("sgd", lambda of: torch.optim.SGD(of)),
            ("sgd-momentum", lambda of: torch.optim.SGD(of, momentum=0.9)),
        ],
    )
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_is_that_of_torch_on_the_cpu(
        self, name: str, real: Callable[[list[torch.nn.Parameter]], Optimizer], dtype: torch.dtype
    ) -> None:
        expected = real(parameters("cpu", dtype))
        expected.step()
        built = build_optimizer(name, parameters(dtype=dtype))
        with cuda_kernels_on_meta():
            built.step()
        assert state_bytes(built) == state_bytes(expected)

    def test_of_adafactor_is_that_of_torch_on_the_cpu(self) -> None:
        expected = torch.optim.Adafactor(parameters("cpu"))
        expected.step()
        assert state_bytes(step_on_meta("adafactor")) == state_bytes(expected)

    def test_of_large_parameters_is_paged_and_nothing_else(self) -> None:
        assert sum(tensor.nbytes for tensor in paged_tensors(step_on_meta("paged-adamw-8bit"))) == 2 * 120_000
        assert sum(tensor.nbytes for tensor in paged_tensors(step_on_meta("paged-adamw-32bit"))) == 8 * 120_000
        assert not paged_tensors(step_on_meta("adamw-8bit"))
        assert not paged_tensors(step_on_meta("adamw"))

    @pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
    @pytest.mark.parametrize("name", ["adamw-8bit", "paged-adamw-8bit", "paged-adamw-32bit"])
    def test_is_that_of_bitsandbytes_on_the_cpu(self, name: str) -> None:
        import bitsandbytes

        classes = {"adamw-8bit": "AdamW8bit", "paged-adamw-8bit": "PagedAdamW8bit", "paged-adamw-32bit": "PagedAdamW"}
        expected = getattr(bitsandbytes.optim, classes[name])(parameters("cpu"))
        for group, owner in enumerate(expected.param_groups[0]["params"]):
            expected.init_state(expected.param_groups[0], owner, 0, group)
        assert state_bytes(step_on_meta(name)) == state_bytes(expected)


class TestStep:
    """What a step allocates beside the state."""

    def test_of_adamw_holds_one_temporary_of_the_size_of_all_parameters(self) -> None:
        watch = watched_step(build_optimizer("adamw", parameters()))
        assert watch.peak_bytes == FP32_BYTES
        assert watch.live_bytes == 0
        assert "_foreach_addcdiv_" in watch.operators

    def test_of_adamw_is_that_of_torch_on_the_cpu_with_foreach(self) -> None:
        real = torch.optim.AdamW(parameters("cpu"), foreach=True)
        expected, watch = watched_step(real), watched_step(build_optimizer("adamw", parameters()))
        assert watch.operators == expected.operators
        assert watch.peak_bytes == expected.peak_bytes

    def test_of_fused_adamw_allocates_nothing(self) -> None:
        watch = watched_step(build_optimizer("adamw-fused", parameters()))
        assert watch.peak_bytes == 0
        assert "_fused_adamw_" in watch.operators

    @pytest.mark.parametrize("name", ["adamw-8bit", "paged-adamw-8bit", "paged-adamw-32bit"])
    def test_of_bitsandbytes_is_one_kernel_per_parameter_without_temporaries(self, name: str) -> None:
        watch = watched_step(build_optimizer(name, parameters()))
        assert watch.peak_bytes == 0
        assert watch.operators.count("adamw_update_") == len(SHAPES)

    def test_of_sgd_copies_gradients_only_for_weight_decay(self) -> None:
        assert watched_step(build_optimizer("sgd", parameters())).peak_bytes == 0
        assert watched_step(build_optimizer("sgd", parameters(), weight_decay=0.1)).peak_bytes == FP32_BYTES

    def test_of_adafactor_needs_no_value_and_holds_one_parameter_at_a_time(self) -> None:
        watch = watched_step(build_optimizer("adafactor", parameters()))
        # The largest matrix: its squared gradient, squared gradient plus epsilon.
        assert 2 * 4 * 120_000 <= watch.peak_bytes < 3 * 4 * 120_000

    def test_is_there_for_every_name_that_a_user_may_give(self) -> None:
        assert OPTIMIZERS.keys() == set(get_args(OptimizerName))

    def test_takes_groups_of_parameters(self) -> None:
        for name in OPTIMIZERS:
            first, *rest = parameters()
            built = build_optimizer(
                name, [{"params": [first], "weight_decay": 0.0}, {"params": rest}], weight_decay=0.1
            )
            with cuda_kernels_on_meta():
                built.step()
            assert [group["weight_decay"] for group in built.param_groups] == [0.0, 0.1]


class TestCudaKernels:
    """Which implementation is chosen."""

    def test_clipping_takes_the_foreach_path_inside_and_the_loop_outside(self) -> None:
        made = parameters()
        known: list[Any] = [*made, *(parameter.grad for parameter in made)]
        with StorageWatch(known, scalars=False) as outside:
            torch.nn.utils.clip_grad_norm_(made, 1.0)
        with cuda_kernels_on_meta(), StorageWatch(known, scalars=False) as inside:
            torch.nn.utils.clip_grad_norm_(made, 1.0)
        assert {"_foreach_norm", "_foreach_mul_"} <= set(inside.operators)
        assert not any(name.startswith("_foreach") for name in outside.operators)

    def test_the_choice_is_undone_also_after_an_error(self) -> None:
        before = (_foreach_utils._get_foreach_kernels_supported_devices, optimizer._get_fused_kernels_supported_devices)
        with pytest.raises(RuntimeError, match="inside"), cuda_kernels_on_meta():
            raise RuntimeError("inside")
        after = (_foreach_utils._get_foreach_kernels_supported_devices, optimizer._get_fused_kernels_supported_devices)
        assert after == before
        assert "meta" not in optimizer._get_foreach_kernels_supported_devices()

    def test_torch_still_refuses_fused_on_meta_without_it(self) -> None:
        with pytest.raises(RuntimeError, match="fused"):
            build_optimizer("adamw-fused", parameters()).step()


def test_an_unknown_optimizer_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="adamw-8bit"):
        build_optimizer("adamw8bit", parameters())
